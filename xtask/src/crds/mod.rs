//! The CRD files: what the types of `api` say, made structural, bounded, and guarded by rules.
//!
//! The derive gives the fields and their descriptions. [`shape`] turns Rust's numbers into those that Kubernetes
//! knows, [`limits`] bounds every text and list, and [`rules`] refuses what can never work with a sentence that says
//! what to write instead.

mod limits;
mod rules;
mod shape;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use api::herald::SpeakerState;
use api::v1beta1::{
    BFDProfile, BGPAdvertisement, Community, ConfigurationState, IPAddressPool, L2Advertisement,
    ServiceBGPStatus, ServiceL2Status,
};
use api::v1beta2::BGPPeer;
use kube::CustomResourceExt;
use serde_json::{Value, json};

const HEADER: &str = "# Generated from the types in api/ by `cargo xtask bless`.\n";

/// All CRDs: file name under `manifests/crds` to YAML.
///
/// # Errors
/// A type whose schema cannot be brought into Kubernetes' form, or a rule for a field that does not exist.
pub(crate) fn generate() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for crd in [
        finished::<IPAddressPool>()?,
        with_old_version(finished::<BGPPeer>()?)?,
        finished::<BGPAdvertisement>()?,
        finished::<L2Advertisement>()?,
        finished::<BFDProfile>()?,
        finished::<Community>()?,
        finished::<ConfigurationState>()?,
        finished::<ServiceBGPStatus>()?,
        finished::<ServiceL2Status>()?,
        finished::<SpeakerState>()?,
    ] {
        let names = (text(&crd, "/spec/group")?, text(&crd, "/spec/names/plural")?);
        let yaml = serde_saphyr::to_string(&crd).context("writing YAML")?;
        files.insert(format!("{}_{}.yaml", names.0, names.1), format!("{HEADER}{yaml}"));
    }
    Ok(files)
}

fn finished<K: CustomResourceExt>() -> Result<Value> {
    let mut crd = serde_json::to_value(K::crd()).context("reading the derived CRD")?;
    let kind = text(&crd, "/spec/names/kind")?;
    let schema = crd
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .with_context(|| format!("{kind} has no schema"))?;
    shape::straighten(schema);
    limits::bound(schema);
    limits::apply(&kind, schema).with_context(|| format!("bounds of {kind}"))?;
    rules::apply(&kind, schema).with_context(|| format!("rules of {kind}"))?;
    Ok(crd)
}

/// The deprecated `v1beta1` of BGPPeer: the same schema, so that reading through it drops nothing.
fn with_old_version(mut crd: Value) -> Result<Value> {
    let versions =
        crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut).context("a CRD has versions")?;
    let mut old = versions.first().context("a CRD has a version")?.clone();
    old["name"] = json!("v1beta1");
    old["storage"] = json!(false);
    old["deprecated"] = json!(true);
    old["deprecationWarning"] =
        json!("metallb.io/v1beta1 BGPPeer is deprecated; write apiVersion: metallb.io/v1beta2");
    versions.insert(0, old);
    crd["spec"]["conversion"] = json!({ "strategy": "None" });
    Ok(crd)
}

fn text(crd: &Value, pointer: &str) -> Result<String> {
    let value =
        crd.pointer(pointer).and_then(Value::as_str).with_context(|| format!("a CRD has {pointer}"))?;
    Ok(value.to_owned())
}

/// The schema at a path like `spec.addresses[]`.
fn at<'a>(schema: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    let mut here = schema;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches("[]");
        here = here
            .pointer_mut(&format!("/properties/{name}"))
            .with_context(|| format!("no field {name} in {path}"))?;
        if step.ends_with("[]") {
            here = here.get_mut("items").with_context(|| format!("{name} in {path} is no list"))?;
        }
    }
    Ok(here)
}
