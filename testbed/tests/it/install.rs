//! Installing as people do it: the one file, once and again, beside what is there already.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use testbed::cluster::Answer;
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::repository;

use crate::home::SOON;
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "the_one_file_applies_in_one_go_and_a_second_time_changes_nothing",
        plan: bare,
        story: |lab| Box::pin(one_file(lab)),
    },
    Test {
        name: "the_one_file_takes_over_metallbs_definitions_and_keeps_its_objects",
        plan: bare,
        story: |lab| Box::pin(over_metallb(lab)),
    },
    Test {
        name: "the_yaml_of_the_documents_is_taken_by_the_api_server",
        plan: bare,
        story: |lab| Box::pin(documents(lab)),
    },
];

fn bare() -> LabPlan {
    LabPlan { nodes: Vec::new(), data_path: false, ..LabPlan::default() }
}

async fn one_file(lab: &mut Lab) -> Result<()> {
    let (file, sample) = (path("herald.yaml")?, path("samples/home-network.yaml")?);
    speakerctl_says(
        lab,
        &["peers"],
        &["does not know speakerstates.herald-lb.io", "kubectl apply -f herald.yaml"],
    )
    .await?;
    let first = accepted(lab, &["apply", "-f", &file]).await?;
    ensure!(!first.contains("Warning"), "{first}");
    // No waiting in between, as in a script.
    accepted(lab, &["apply", "-f", &sample]).await?;
    let again = accepted(lab, &["apply", "-f", &file]).await?;
    // kubectl calls a PodDisruptionBudget "configured" whatever happens; the difference below says what did.
    let told = |line: &str| line.ends_with(" unchanged") || line.starts_with("poddisruptionbudget.policy/");
    let changed: Vec<&str> = again.lines().filter(|line| !told(line)).collect();
    ensure!(changed.is_empty(), "a second time changes {changed:?}");
    let difference = accepted(lab, &["diff", "-f", &file]).await?;
    ensure!(difference.is_empty(), "{difference}");
    let dry = accepted(lab, &["apply", "--dry-run=server", "--validate=strict", "-f", &file]).await?;
    ensure!(!dry.contains("Warning"), "{dry}");
    let nobody = ["No speaker reports in namespace nowhere", "kubectl get speakerstates -A"];
    for command in ["peers", "routes", "version"] {
        speakerctl_says(lab, &[command, "-n", "nowhere"], &nobody).await?;
    }
    speakerctl_says(lab, &["routes", "n9"], &["no speaker reports from n9", "kubectl get nodes"]).await?;
    accepted(lab, &["delete", "-f", &file, "--wait=false"]).await.map(drop)
}

/// What is asked where nothing runs yet is answered with the next command.
async fn speakerctl_says(lab: &Lab, question: &[&str], words: &[&str]) -> Result<()> {
    let answer = lab.speakerctl(question).await?;
    for word in words {
        ensure!(answer.text.contains(word), "speakerctl {}: {}", question.join(" "), answer.text);
    }
    Ok(())
}

/// What people copy: every complete object in README and documents, checked as strictly as the API server can.
async fn documents(lab: &mut Lab) -> Result<()> {
    accepted(lab, &["apply", "-f", &path("herald.yaml")?]).await?;
    let mut objects = 0;
    for (name, text) in documents_with_yaml()? {
        for (number, yaml) in blocks(&text).into_iter().enumerate() {
            let file = lab.folder().join(format!("{}-{number}.yaml", name.replace('/', "-")));
            fs::write(&file, &yaml).context("writing a block of a document")?;
            let file = file.display().to_string();
            let check = ["apply", "--dry-run=server", "--validate=strict", "-f", &file];
            // Definitions are established a moment after they were accepted.
            let (told, _) = eventually(SOON, "the API server to have an opinion", async || {
                let answer = lab.cluster().kubectl(&check).await?;
                ensure!(!answer.text.contains("no matches for kind"), "{}", answer.text);
                Ok(answer)
            })
            .await?;
            ensure!(told.accepted && !told.text.contains("Warning"), "{name}: {}\n{yaml}", told.text.trim());
            objects += told.text.lines().count();
        }
    }
    ensure!(objects >= 8, "only {objects} objects were found: the documents are read wrongly");
    Ok(())
}

/// All but the guide to addresses, whose examples have a test of their own because they build on each other.
fn documents_with_yaml() -> Result<Vec<(String, String)>> {
    let root = repository();
    let mut names = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/guide"] {
        for entry in fs::read_dir(root.join(folder)).with_context(|| format!("reading {folder}"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") && name != "ipam.md" {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names.sort();
    let read = |name: String| {
        let text = fs::read_to_string(root.join(&name)).with_context(|| format!("reading {name}"))?;
        Ok((name, text))
    };
    names.into_iter().map(read).collect()
}

/// Groups that look like objects and are files of other programs: kustomize, the kubelet.
const FILES: [&str; 2] = ["kustomize.config.k8s.io", "kubelet.config.k8s.io"];

/// Blocks that hold complete objects of the cluster; of a shell's block what is between `<<EOF` and `EOF`.
fn blocks(text: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| Some(block.split_once('\n')?.1));
    let yaml = blocks.map(|block| match block.split_once("<<EOF\n") {
        Some((_, rest)) => rest.split("\nEOF").next().unwrap_or_default(),
        None => block,
    });
    let is_file = |yaml: &str| FILES.iter().any(|group| yaml.contains(group));
    let whole = |yaml: &&str| yaml.contains("apiVersion:") && yaml.contains("kind:") && !is_file(yaml);
    yaml.filter(whole).map(str::to_owned).collect()
}

/// MetalLB's definition of BGPPeer converts by a webhook, and an object is there.
async fn over_metallb(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply(METALLB).await?;
    accepted(lab, &["wait", "--for=condition=Established", "--timeout=20s", "crd/bgppeers.metallb.io"])
        .await?;
    lab.cluster().apply(PEER).await?;
    let file = path("herald.yaml")?;
    accepted(lab, &["apply", "-f", &file]).await?;
    let strategy = ["get", "crd", "bgppeers.metallb.io", "-o", "jsonpath={.spec.conversion.strategy}"];
    let strategy = accepted(lab, &strategy).await?;
    ensure!(strategy == "None", "conversion by {strategy:?}: nobody would answer");
    eventually(SOON, "the old object in both versions", async || {
        for version in ["v1beta1", "v1beta2"] {
            let kind = format!("bgppeers.{version}.metallb.io");
            let peer = ["get", &kind, "-n", "metallb-system", "old", "-o", "jsonpath={.spec.peerAddress}"];
            let address = accepted(lab, &peer).await?;
            // What follows is kubectl's warning about the old version.
            ensure!(address.starts_with("10.0.2.1"), "{version}: {address:?}");
        }
        Ok(())
    })
    .await
    .map(drop)
}

fn path(name: &str) -> Result<String> {
    let path = repository().join("manifests").join(name);
    Ok(path.to_str().context("a path that is text")?.to_owned())
}

async fn accepted(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let Answer { accepted, text, code: _ } = lab.cluster().kubectl(arguments).await?;
    ensure!(accepted, "kubectl {}: {}", arguments.join(" "), text.trim());
    Ok(text)
}

/// As much of MetalLB's definition as matters: two versions, and a webhook between them.
const METALLB: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bgppeers.metallb.io}
spec:
  group: metallb.io
  names: {kind: BGPPeer, listKind: BGPPeerList, plural: bgppeers, singular: bgppeer}
  scope: Namespaced
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1beta1, v1beta2]
      clientConfig:
        service: {namespace: metallb-system, name: metallb-webhook-service, path: /convert}
  versions:
  - name: v1beta1
    served: true
    storage: false
    schema: &schema
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              myASN: {type: integer, format: int32}
              peerASN: {type: integer, format: int32}
              peerAddress: {type: string}
          status: {type: object}
    subresources: {status: {}}
  - name: v1beta2
    served: true
    storage: true
    schema: *schema
    subresources: {status: {}}
";

const PEER: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: old, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 65530, peerAddress: 10.0.2.1}
";
