//! An object that may be unreadable and still has a name.
//!
//! Objects come as text and are read from it; a second look, for the metadata alone, is needed only after a failure.

use std::borrow::Cow;

use api::json::FromJson;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

/// An object, or the reason why it cannot be read.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>);

/// What can be said of an object that does not have the form of its kind.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What is wrong with it, for people.
    pub error: String,
    /// Whose object it is.
    pub metadata: ObjectMeta,
}

/// Whatever has a name.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl<K: FromJson> FromJson for Guarded<K> {
    fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        K::from_json(text).map(|object| Self(Ok(object))).or_else(|fault| {
            let metadata = metadata(text)?;
            Ok(Self(Err(Unreadable { error: without_place(&fault), metadata })))
        })
    }
}

fn metadata(text: &str) -> Result<ObjectMeta, serde_json::Error> {
    serde_json::from_str(text).map(|Named { metadata }| metadata)
}

/// The place in the text means nothing to people, who see the object as YAML.
fn without_place(fault: &serde_json::Error) -> String {
    let text = fault.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Pod {
        metadata: ObjectMeta,
        #[serde(rename = "spec")]
        _spec: Spec,
    }

    #[derive(Debug, Deserialize)]
    struct Spec {
        #[serde(rename = "containers")]
        _containers: Vec<String>,
    }

    api::stands_for!(Pod, k8s_openapi::api::core::v1::Pod);
    api::from_json!(Pod);

    fn read(text: &str) -> Guarded<Pod> {
        Guarded::from_json(text).expect("JSON with metadata")
    }

    #[test]
    fn what_cannot_be_read_keeps_its_name_and_says_why() {
        let guarded = read(r#"{"metadata": {"name": "a"}, "spec": {"containers": "none"}}"#);
        assert_eq!(guarded.meta().name.as_deref(), Some("a"));
        let unreadable = guarded.0.expect_err("containers are a list");
        assert!(unreadable.error.starts_with("invalid type: string \"none\""), "{}", unreadable.error);
        assert!(!unreadable.error.contains("line"), "{}", unreadable.error);
    }

    #[test]
    fn what_can_be_read_is_the_object() {
        let guarded = read(r#"{"metadata": {"name": "a"}, "spec": {"containers": []}}"#);
        assert_eq!(guarded.0.expect("a Pod").metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn what_has_not_even_a_name_is_a_failure() {
        assert!(Guarded::<Pod>::from_json(r#"{"metadata": 7}"#).is_err());
    }
}
