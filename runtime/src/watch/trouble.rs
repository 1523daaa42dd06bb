//! What a watch that is broken means to the person who reads the log: its class, and a sentence that says what to do.
//!
//! Leaves out retries and when it is said (`health`).

use kube::Resource;

use crate::client::CallError;

/// A kind as the API server is asked for it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Such as `BGPPeer`.
    pub(super) kind: String,
    /// Such as `bgppeers.metallb.io`, the name of a CRD.
    name: String,
    group: String,
    version: String,
}

/// Classes of trouble. Within one time of trouble each class is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Nobody answers, or the server says that it cannot now. It heals by itself.
    Away,
    /// The server does not have the kind (404).
    NotServed,
    /// We may not do this (403), or nobody knows who we are (401).
    NotAllowed,
    /// What comes cannot be understood, or is refused for another reason.
    Other,
}

impl Asked {
    pub(super) fn of<K: Resource<DynamicType: Default>>() -> Self {
        let dynamic = K::DynamicType::default();
        let group = K::group(&dynamic).into_owned();
        let plural = K::plural(&dynamic);
        Self {
            kind: K::kind(&dynamic).into_owned(),
            name: if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") },
            group,
            version: K::version(&dynamic).into_owned(),
        }
    }

    /// What is wrong and what to do, in one sentence.
    pub(super) fn sentence(&self, error: &CallError) -> String {
        match (Trouble::of(error), error) {
            (Trouble::NotServed, _) => self.not_installed(),
            (Trouble::NotAllowed, CallError::Refused(status)) if status.code == 403 => format!(
                "{} (403 Forbidden); herald.yaml gives this right: kubectl apply -f herald.yaml",
                status.message
            ),
            (Trouble::NotAllowed | Trouble::Away | Trouble::Other, error) => error.to_string(),
        }
    }

    fn not_installed(&self) -> String {
        let Self { name, version, .. } = self;
        if self.is_built_in() {
            format!(
                "the API server does not know {name} in version {version} (404): Kubernetes 1.33 or newer is needed"
            )
        } else {
            format!(
                "the CustomResourceDefinition {name} is not installed, or not with version {version} (the API server answers 404): kubectl apply -f herald.yaml"
            )
        }
    }

    /// Kubernetes' own groups have no dot, or end with this.
    fn is_built_in(&self) -> bool {
        !self.group.contains('.') || self.group.ends_with(".k8s.io")
    }
}

/// That the API server does not have the kind `K`, and what to do.
#[must_use]
pub fn not_installed<K: Resource<DynamicType: Default>>() -> String {
    Asked::of::<K>().not_installed()
}

impl Trouble {
    pub(super) fn of(error: &CallError) -> Self {
        match error {
            CallError::Unreachable(_) | CallError::TimedOut { .. } => Self::Away,
            CallError::Refused(status) => match status.code {
                404 => Self::NotServed,
                401 | 403 => Self::NotAllowed,
                429 | 500.. => Self::Away,
                _ => Self::Other,
            },
            CallError::Unreadable(_) | CallError::NotSent(_) => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use api::v1beta2::BGPPeer;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use k8s_openapi::api::networking::v1::ServiceCIDR;
    use serde_json::json;

    use super::*;

    fn refused(code: u16, message: &str) -> CallError {
        let status = json!({"code": code, "message": message, "reason": "Whatever"});
        CallError::Refused(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn each_trouble_is_said_in_words_with_what_to_do() {
        let check = |asked: Asked, error: &CallError, words: &[&str]| {
            let sentence = asked.sentence(error);
            for word in words {
                assert!(sentence.contains(word), "{word:?} is not in {sentence:?}");
            }
        };
        let no_group = refused(404, "404 page not found");
        let install = "kubectl apply -f herald.yaml";
        check(
            Asked::of::<BGPPeer>(),
            &no_group,
            &["CustomResourceDefinition bgppeers.metallb.io", "version v1beta2", install],
        );
        check(
            Asked::of::<ServiceCIDR>(),
            &no_group,
            &["servicecidrs.networking.k8s.io", "version v1", "Kubernetes 1.33"],
        );
        let forbidden = refused(
            403,
            "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:metallb-system:speaker\" cannot watch resource \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope",
        );
        check(
            Asked::of::<EndpointSlice>(),
            &forbidden,
            &["cannot watch resource \"endpointslices\"", "403 Forbidden", install],
        );
        check(Asked::of::<BGPPeer>(), &refused(401, "Unauthorized"), &["401"]);
        let away = CallError::Unreachable("connection refused".to_owned());
        check(Asked::of::<BGPPeer>(), &away, &["cannot be reached", "connection refused"]);
    }
}
