//! `ServiceKey`: namespace and name of a Service, as one text that all who keep something about it can share.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Namespace and name of a Service. A copy costs no memory: it shares the text with the original.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Box<str>", into = "Box<str>")]
pub struct ServiceKey {
    /// `namespace/name`, as in kubectl; neither part may hold a slash in Kubernetes.
    text: Arc<str>,
}

impl ServiceKey {
    /// The key of these two.
    #[must_use]
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        Self { text: format!("{namespace}/{name}").into() }
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// Namespace and name.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        self.text.split_once('/').unwrap_or(("", &self.text))
    }

    /// Whether the two are one text in memory.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }
}

impl From<Box<str>> for ServiceKey {
    fn from(text: Box<str>) -> Self {
        Self { text: text.into() }
    }
}

impl From<ServiceKey> for Box<str> {
    fn from(key: ServiceKey) -> Self {
        (*key.text).into()
    }
}

impl Default for ServiceKey {
    fn default() -> Self {
        Self::new("", "")
    }
}

/// By namespace, then by name.
impl Ord for ServiceKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_by_namespace_first() {
        let texts = [("a", "z"), ("a-b", "a"), ("a-b", "b"), ("b", "a")];
        let keys = texts.map(|(namespace, name)| ServiceKey::new(namespace, name));
        assert!(keys.is_sorted(), "{keys:?}: as text, a-b comes before a/");
        assert_eq!(keys.each_ref().map(ServiceKey::parts), texts);
        assert_eq!(
            (keys[1].to_string().as_str(), keys[1].namespace(), keys[1].name()),
            ("a-b/a", "a-b", "a")
        );
        assert_eq!(ServiceKey::default().parts(), ("", ""));
    }
}
