//! Label selectors in their checked form.
//!
//! The texts of a `LabelSelector` are checked once, here; matching cannot fail afterwards.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// One selector: all of its requirements must hold. Without any, it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selector {
    requirements: BTreeSet<Requirement>,
}

impl Selector {
    /// Checks a selector as it stands in an object.
    ///
    /// # Errors
    /// An operator that does not exist, values where none may be or none where some must be, a value twice.
    pub fn try_new(selector: &LabelSelector) -> Result<Self, SelectorFault> {
        let equal = selector.match_labels.iter().flatten().map(|(key, value)| Requirement {
            key: key.clone(),
            test: Test::In(BTreeSet::from([value.clone()])),
        });
        let mut requirements: BTreeSet<Requirement> = equal.collect();
        for expression in selector.match_expressions.iter().flatten() {
            requirements.insert(Requirement::try_new(expression)?);
        }
        Ok(Self { requirements })
    }

    /// The selector that matches everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether these labels fit.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }
}

/// A list of selectors, one of which must match. The empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selectors(Vec<Selector>);

impl Selectors {
    /// A list of checked selectors.
    #[must_use]
    pub fn new(selectors: Vec<Selector>) -> Self {
        Self(selectors)
    }

    /// Checks a list as it stands in an object.
    ///
    /// # Errors
    /// As [`Selector::try_new`], and a selector that stands twice in the list.
    pub fn try_new(selectors: &[LabelSelector]) -> Result<Self, SelectorFault> {
        try_list(selectors).map(Self)
    }

    /// Whether these labels fit one of the selectors, or there is none.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.is_empty() || self.0.iter().any(|selector| selector.matches(labels))
    }

    /// Whether the list is empty, and therefore matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Checks a list of selectors in which none may stand twice.
pub(crate) fn try_list(selectors: &[LabelSelector]) -> Result<Vec<Selector>, SelectorFault> {
    let mut seen = BTreeSet::new();
    let mut list = Vec::with_capacity(selectors.len());
    for (index, raw) in selectors.iter().enumerate() {
        let selector = Selector::try_new(raw)?;
        if !seen.insert(selector.clone()) {
            return Err(SelectorFault::Duplicate { position: index + 1 });
        }
        list.push(selector);
    }
    Ok(list)
}

/// Why a selector cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum SelectorFault {
    /// The operator is none of the four.
    #[error("invalid label selector: {operator:?} is not an operator; use In, NotIn, Exists or DoesNotExist")]
    UnknownOperator {
        /// What stands there.
        operator: String,
    },
    /// In and NotIn need values.
    #[error("invalid label selector: {operator} on key {key:?} needs at least one value")]
    MissingValues {
        /// Key of the label.
        key: String,
        /// In or NotIn.
        operator: &'static str,
    },
    /// Exists and DoesNotExist take no values.
    #[error("invalid label selector: {operator} on key {key:?} takes no values; remove them")]
    SuperfluousValues {
        /// Key of the label.
        key: String,
        /// Exists or DoesNotExist.
        operator: &'static str,
    },
    /// A value stands twice in one expression.
    #[error("duplicate definition of match expression value {value:?}")]
    DuplicateValue {
        /// The value.
        value: String,
    },
    /// The same selector stands twice in one list.
    #[error("duplicate definition of selector {position:?}; remove the one or the other")]
    Duplicate {
        /// Place in the list of the second one, counted from 1.
        position: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

impl Requirement {
    fn try_new(expression: &LabelSelectorRequirement) -> Result<Self, SelectorFault> {
        let key = expression.key.clone();
        let values = expression.values.as_deref().unwrap_or_default();
        let test = match expression.operator.as_str() {
            "In" => Test::In(some_values(&key, "In", values)?),
            "NotIn" => Test::NotIn(some_values(&key, "NotIn", values)?),
            "Exists" => no_values(&key, "Exists", values).map(|()| Test::Exists)?,
            "DoesNotExist" => no_values(&key, "DoesNotExist", values).map(|()| Test::DoesNotExist)?,
            other => return Err(SelectorFault::UnknownOperator { operator: other.to_owned() }),
        };
        Ok(Self { key, test })
    }

    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            // As in Kubernetes, a label that is absent is not in the list.
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

fn some_values(
    key: &str,
    operator: &'static str,
    values: &[String],
) -> Result<BTreeSet<String>, SelectorFault> {
    if values.is_empty() {
        return Err(SelectorFault::MissingValues { key: key.to_owned(), operator });
    }
    let mut set = BTreeSet::new();
    for value in values {
        if !set.insert(value.clone()) {
            return Err(SelectorFault::DuplicateValue { value: value.clone() });
        }
    }
    Ok(set)
}

fn no_values(key: &str, operator: &'static str, values: &[String]) -> Result<(), SelectorFault> {
    if values.is_empty() {
        Ok(())
    } else {
        Err(SelectorFault::SuperfluousValues { key: key.to_owned(), operator })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            }]),
        }
    }

    fn check(selector: &LabelSelector, on: &str, expected: Result<bool, &str>) {
        let got = Selector::try_new(selector).map(|checked| checked.matches(&labels(on)));
        assert_eq!(
            got.map_err(|fault| fault.to_string()),
            expected.map_err(str::to_owned),
            "{selector:?} on {on}"
        );
    }

    #[test]
    fn each_operator_means_what_kubernetes_says() {
        check(&LabelSelector::default(), "", Ok(true));
        check(&expression("rack", "In", &["1", "2"]), "rack=2", Ok(true));
        check(&expression("rack", "In", &["1", "2"]), "rack=3", Ok(false));
        check(&expression("rack", "In", &["1"]), "", Ok(false));
        check(&expression("rack", "NotIn", &["1"]), "rack=1", Ok(false));
        check(&expression("rack", "NotIn", &["1"]), "", Ok(true));
        check(&expression("rack", "Exists", &[]), "rack=", Ok(true));
        check(&expression("rack", "DoesNotExist", &[]), "rack=", Ok(false));
    }

    #[test]
    fn a_faulty_selector_says_what_is_wrong() {
        check(
            &expression("rack", "Is", &["1"]),
            "",
            Err("invalid label selector: \"Is\" is not an operator; use In, NotIn, Exists or DoesNotExist"),
        );
        check(
            &expression("rack", "In", &[]),
            "",
            Err("invalid label selector: In on key \"rack\" needs at least one value"),
        );
        check(
            &expression("rack", "Exists", &["1"]),
            "",
            Err("invalid label selector: Exists on key \"rack\" takes no values; remove them"),
        );
        check(
            &expression("rack", "In", &["1", "1"]),
            "",
            Err("duplicate definition of match expression value \"1\""),
        );
    }

    #[test]
    fn a_list_matches_when_one_matches_and_the_empty_list_matches_all() {
        let list = [expression("rack", "In", &["1"]), expression("zone", "Exists", &[])];
        let selectors = Selectors::try_new(&list).expect("both are sound");
        assert!(selectors.matches(&labels("rack=1")));
        assert!(selectors.matches(&labels("zone=a")));
        assert!(!selectors.matches(&labels("rack=2")));
        assert!(Selectors::default().matches(&labels("anything=1")));
    }

    #[test]
    fn the_order_of_values_does_not_hide_a_duplicate() {
        let list = [expression("rack", "In", &["1", "2"]), expression("rack", "In", &["2", "1"])];
        assert_eq!(Selectors::try_new(&list), Err(SelectorFault::Duplicate { position: 2 }));
    }
}
