//! The fixtures of the crate `api` against the real API server: the good are accepted, the bad refused with the expected words.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use testbed::HERALD_NAMESPACE;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::repository;

use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "the_api_server_accepts_the_good_fixtures_and_refuses_the_bad",
    plan: || LabPlan { nodes: Vec::new(), data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(fixtures(lab)),
}];

/// The first lines of a bad fixture say with which words it is refused.
const EXPECT: &str = "# expect:";

async fn fixtures(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    let mut faults = Vec::new();
    for path in files("good")? {
        let text = fs::read_to_string(&path)?;
        for object in documents(&text).with_context(|| path.display().to_string())? {
            if let Err(refusal) = submit(lab, &object).await? {
                faults.push(format!("{}: refused: {refusal}", path.display()));
            }
        }
    }
    for path in files("bad")? {
        let text = fs::read_to_string(&path)?;
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(EXPECT)).map(str::trim).collect();
        ensure!(!expected.is_empty(), "{} does not say what to expect", path.display());
        let mut refusals = String::new();
        for object in documents(&text).with_context(|| path.display().to_string())? {
            match submit(lab, &object).await? {
                Ok(()) => faults.push(format!("{}: accepted", path.display())),
                Err(refusal) => refusals.push_str(&refusal),
            }
        }
        for words in expected.iter().filter(|words| !refusals.contains(*words)) {
            faults.push(format!("{}: refused, but not with {words:?}: {refusals}", path.display()));
        }
    }
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

fn files(kind: &str) -> Result<Vec<PathBuf>> {
    let folder = repository().join("api/tests/fixtures").join(kind);
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    ensure!(!paths.is_empty(), "{} holds no fixture", folder.display());
    Ok(paths)
}

fn documents(text: &str) -> Result<Vec<DynamicObject>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

/// Server-side apply as a dry run with strict validation: everything but the storing.
async fn submit(lab: &Lab, object: &DynamicObject) -> Result<Result<(), String>> {
    let client = lab.cluster().client();
    let types = object.types.as_ref().context("a fixture has apiVersion and kind")?;
    let kind = GroupVersionKind::try_from(types).context("reading apiVersion and kind")?;
    let (resource, _) = kube::discovery::pinned_kind(&client, &kind).await.with_context(|| format!("{kind:?}"))?;
    let api = Api::<DynamicObject>::namespaced_with(client, HERALD_NAMESPACE, &resource);
    let name = object.metadata.name.as_deref().context("a fixture has a name")?;
    let params = PatchParams::apply("testbed").dry_run().validation_strict();
    match api.patch(name, &params, &Patch::Apply(object)).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.code < 500 => Ok(Err(status.message)),
        Err(error) => bail!("{name}: {error}"),
    }
}
