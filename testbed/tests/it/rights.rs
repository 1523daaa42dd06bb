//! The RBAC of the manifests. That nothing is missing is shown by every other story (the runner fails a story whose
//! daemons were forbidden something); here that nothing is too much.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use testbed::HERALD_NAMESPACE;
use testbed::lab::{Lab, LabPlan};

use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "the_manifests_give_no_right_without_a_use",
    plan: || LabPlan { nodes: Vec::new(), data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(no_right_without_a_use(lab)),
}];

/// Group, resource (with subresource), verbs, namespace: what neither daemon may do.
const FORBIDDEN: &[(&str, &str, &[&str], &str)] = &[
    ("", "secrets", &["get", "list", "watch", "create", "patch"], "default"),
    ("", "secrets", &["get", "list", "watch"], "kube-system"),
    ("", "secrets", &["create", "update", "patch", "delete"], HERALD_NAMESPACE),
    ("", "services", &["create", "update", "patch", "delete"], "default"),
    ("", "nodes", &["create", "update", "patch", "delete"], ""),
    ("", "nodes/status", &["update", "patch"], ""),
    ("", "pods", &["get", "list", "create", "delete"], "default"),
    ("", "pods/exec", &["create"], HERALD_NAMESPACE),
    ("", "configmaps", &["get", "list", "create", "patch"], "kube-system"),
    ("", "serviceaccounts/token", &["create"], HERALD_NAMESPACE),
    ("apps", "daemonsets", &["create", "update", "patch", "delete"], HERALD_NAMESPACE),
    ("apps", "daemonsets", &["get", "list", "watch"], "kube-system"),
    ("apps", "daemonsets", &["list", "watch"], HERALD_NAMESPACE),
    ("apps", "deployments", &["create", "update", "patch", "delete"], HERALD_NAMESPACE),
    ("apiextensions.k8s.io", "customresourcedefinitions", &["create", "update", "patch", "delete"], ""),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", &["create", "update", "patch"], ""),
    ("rbac.authorization.k8s.io", "clusterroles", &["create", "update", "patch", "bind", "escalate"], ""),
    ("discovery.k8s.io", "endpointslices", &["create", "update", "patch", "delete"], "default"),
    ("metallb.io", "ipaddresspools", &["create", "update", "patch", "delete"], HERALD_NAMESPACE),
    ("metallb.io", "bgppeers", &["create", "update", "patch", "delete"], HERALD_NAMESPACE),
    ("metallb.io", "bgpadvertisements", &["create", "update", "patch", "delete"], HERALD_NAMESPACE),
    ("metallb.io", "servicebgpstatuses", &["update", "watch"], HERALD_NAMESPACE),
    ("metallb.io", "servicebgpstatuses", &["get", "list", "create", "patch", "delete"], "default"),
    ("coordination.k8s.io", "leases", &["get", "update", "patch", "delete"], "kube-system"),
];

/// What one of the two may do and the other must not.
const ONLY_ONE: &[(&str, &str, &str, &str, &str)] = &[
    ("controller", "", "services/status", "patch", "default"),
    ("speaker", "", "secrets", "get", HERALD_NAMESPACE),
    ("speaker", "discovery.k8s.io", "endpointslices", "watch", "default"),
    ("speaker", "metallb.io", "servicebgpstatuses", "create", HERALD_NAMESPACE),
];

async fn no_right_without_a_use(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    for account in ["controller", "speaker"] {
        for (group, resource, verbs, namespace) in FORBIDDEN {
            for verb in *verbs {
                let allowed = may(lab, account, group, resource, verb, namespace).await?;
                ensure!(!allowed, "{account} may {verb} {resource}.{group} in {namespace:?}");
            }
        }
        for (owner, group, resource, verb, namespace) in ONLY_ONE {
            let allowed = may(lab, account, group, resource, verb, namespace).await?;
            ensure!(
                allowed == (*owner == account),
                "{account}: {verb} {resource}.{group} in {namespace:?}: {allowed}"
            );
        }
    }
    Ok(())
}

async fn may(
    lab: &Lab,
    account: &str,
    group: &str,
    resource: &str,
    verb: &str,
    namespace: &str,
) -> Result<bool> {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{HERALD_NAMESPACE}:{account}")),
            groups: Some(vec!["system:serviceaccounts".into(), "system:authenticated".into()]),
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer =
        Api::<SubjectAccessReview>::all(lab.cluster().client()).create(&PostParams::default(), &review).await;
    Ok(answer.context("asking for an access review")?.status.context("a review without an answer")?.allowed)
}
