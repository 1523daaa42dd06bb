//! What the conditions of a pool say beside whether it was accepted: overlaps, fullness, addresses that Services keep.
//!
//! Their words stay the same as long as nothing changes for people: a pool that fills does not rewrite them with each
//! address. Leaves out the writing.

use std::net::IpAddr;

use api::names::condition::ConditionType;
use api::report::{MAX_MESSAGE_CHARS, WantedCondition};
use api::service::{IpFamily, ServiceKey};

use crate::alloc::Usage;

/// Addresses that a sentence names.
const NAMED: usize = 10;

/// The sentence about a full pool; `None` while it has something left for any Service.
pub(crate) fn full_sentence(usage: &Usage) -> Option<String> {
    let families = [(IpFamily::V4, usage.available_ipv4()), (IpFamily::V6, usage.available_ipv6())];
    let part = |(family, left): (IpFamily, i64)| {
        let (capacity, used, reserved) = usage.of(family);
        let waiting =
            if reserved > 0 { format!(" and {reserved} wait for their Services") } else { String::new() };
        (capacity > 0 && left == 0)
            .then(|| format!("{used} of {capacity} {family} addresses are in use{waiting}"))
    };
    let parts: Vec<String> = families.into_iter().filter_map(part).collect();
    (!parts.is_empty())
        .then(|| format!("{}; add a range under addresses, or delete Services", parts.join(", ")))
}

/// The conditions of a pool in addition to those that every object has.
pub(crate) fn of_pool(
    generation: Option<i64>,
    usage: &Usage,
    overlaps: &[String],
    kept: &[(IpAddr, ServiceKey)],
) -> Vec<WantedCondition> {
    let condition = |type_, holds, reason, message: String| WantedCondition {
        type_,
        holds: Some(holds),
        reason,
        message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
        observed_generation: generation,
    };
    let full = full_sentence(usage);
    vec![
        if overlaps.is_empty() {
            condition(ConditionType::Overlapping, false, "Apart", "the pool touches nothing else".to_owned())
        } else {
            condition(ConditionType::Overlapping, true, "Overlap", overlaps.join("; "))
        },
        match full {
            Some(sentence) => condition(ConditionType::Exhausted, true, "PoolFull", sentence),
            None => {
                condition(ConditionType::Exhausted, false, "AddressesLeft", "addresses are left".to_owned())
            }
        },
        if kept.is_empty() {
            let message = "every address in use is one that the pool hands out".to_owned();
            condition(ConditionType::KeptAddresses, false, "NoneKept", message)
        } else {
            condition(ConditionType::KeptAddresses, true, "AddressesKept", kept_sentence(kept))
        },
    ]
}

fn kept_sentence(kept: &[(IpAddr, ServiceKey)]) -> String {
    let named: Vec<String> =
        kept.iter().take(NAMED).map(|(address, service)| format!("{address} by {service}")).collect();
    let more = match kept.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the pool would not hand out these addresses any more, and Services keep them: {}{more}; editPolicy Renumber \
         gives such Services new addresses",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(usage: &Usage, overlaps: &[String], kept: &[(IpAddr, ServiceKey)]) -> Vec<String> {
        let all = of_pool(Some(3), usage, overlaps, kept);
        all.into_iter().map(|one| format!("{}={:?} {}", one.type_.as_str(), one.holds, one.reason)).collect()
    }

    #[test]
    fn each_condition_says_yes_or_no() {
        let mut roomy = Usage::default();
        roomy.capacity_ipv4 = 4;
        assert_eq!(
            lines(&roomy, &[], &[]),
            [
                "Overlapping=Some(false) Apart",
                "Exhausted=Some(false) AddressesLeft",
                "KeptAddresses=Some(false) NoneKept"
            ]
        );
        let kept = ("10.0.0.9".parse().unwrap(), ServiceKey::new("shop", "web"));
        assert_eq!(
            lines(&roomy, &["it overlaps".to_owned()], &[kept]),
            [
                "Overlapping=Some(true) Overlap",
                "Exhausted=Some(false) AddressesLeft",
                "KeptAddresses=Some(true) AddressesKept"
            ]
        );
        assert_eq!(full_sentence(&Usage::default()), None, "a pool of the other family alone is not full");
    }

    #[test]
    fn the_sentence_about_kept_addresses_is_bounded() {
        let one = ("10.0.0.9".parse().unwrap(), ServiceKey::new("shop", "web"));
        let sentence = kept_sentence(&vec![one; 5000]);
        assert!(sentence.contains(" and 4990 more"), "{sentence}");
        assert!(sentence.len() < 600);
    }
}
