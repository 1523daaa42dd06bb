//! Somebody who has `docs/install.md` and nothing else: every command of it is taken from the document and typed as it stands
//! there, until `curl` answers; then everything is removed and installed in the two other ways.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use api::names::SPEAKERS_SERVICE;
use testbed::HERALD_NAMESPACE;
use testbed::eventually::eventually;
use testbed::kubelet::RealCluster;
use testbed::machine::{Tools, repository};

use crate::administrator::{Administrator, without_remark};
use crate::document::Document;
use crate::figure::Figures;
use crate::story::{SOON, chapter, wait_for_paths};

/// Blocks that are for other machines.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "cargo xtask image",
        "`cargo xtask kubelet` has just built the image, and the test bed has imported it with ctr",
    ),
    ("skopeo copy", "no registry"),
    ("sed 's|localhost/herald:", "no registry"),
    ("- name: Herald", "Ansible; it applies the same file"),
];

pub(crate) async fn tell(tools: &Tools, cluster: &RealCluster, figures: &mut Figures) -> Result<()> {
    let guide = Document::read("install.md")?;
    let person = Administrator::prepare(tools, cluster)?;
    let start = Instant::now();
    chapter("docs/install.md, top to bottom: one YAML, router and addresses, a Service");
    person.does(guide.block("kubectl apply -f manifests/herald.yaml")?).await?;
    person.does(guide.block("kubectl apply -f - <<EOF")?).await?;
    look_at_pods(&person, &guide).await.context("what `get pods` shows")?;
    look_at_sessions(&person, &guide).await.context("the sessions")?;
    serve(&person, &guide).await.context("a Service that answers")?;
    figures.span(
        "docs/install.md, from the first command to a page by `curl` (nobody reads meanwhile)",
        start.elapsed(),
    );
    person.does(guide.command("kubectl describe service web")?).await?;
    // From the API, so it tells what the speakers have written down, which takes them a moment. It fails for "not announced".
    let why = guide.command("kubectl herald why web")?;
    eventually(SOON, "all speakers to have written that they announce", async || person.tries(why).await)
        .await?;
    person.does(why).await.map(|said| println!("{}", said.trim_end()))?;
    check_finds_all_speakers(&person).await?;
    person.does(guide.command("kubectl -n metallb-system rollout status")?).await?;

    chapter("Removed as the guide says, and installed with Helm");
    person.does(guide.block("kubectl delete -f manifests/herald.yaml")?).await?;
    wait_for_paths(cluster, &[], SOON).await?;
    still_has_its_address(&person).await?;
    person.does(guide.block("helm install")?).await?;
    person.does(guide.block("kubectl apply -f - <<EOF")?).await?;
    look_at_sessions(&person, &guide).await.context("the sessions")?;
    answers(&person).await?;

    chapter("Helm's release removed: definitions and objects stay; and everything again with kustomize");
    person.does(guide.command("helm uninstall herald")?).await?;
    wait_for_paths(cluster, &[], SOON).await?;
    let pools = person.does("kubectl -n metallb-system get ipaddresspools --output=name").await?;
    ensure!(pools.contains("ipaddresspool.metallb.io/default"), "left are {pools:?}");
    let place = cluster.folder().join("beside");
    fs::create_dir(&place).context("making a folder beside the repository")?;
    symlink(repository(), place.join("herald")).context("putting the repository there")?;
    let overlay = guide.block("apiVersion: kustomize.config.k8s.io/v1beta1")?;
    fs::write(place.join("kustomization.yaml"), overlay).context("writing the kustomization")?;
    let beside = person.at(&place);
    beside.does(guide.command("kubectl apply -k .")?).await?;
    answers(&person).await?;
    wait_for_paths(cluster, &["n1", "n2"], SOON).await?;
    let policies =
        person.does(&format!("kubectl -n {HERALD_NAMESPACE} get networkpolicies --output=name")).await?;
    ensure!(!policies.is_empty(), "the component of the kustomization is missing");
    beside.does("kubectl delete -k .").await?;
    wait_for_paths(cluster, &[], SOON).await?;
    guide.ensure_used(ELSEWHERE)
}

/// The example shows how it looks in the end: so many lines of each kind, all of them ready.
async fn look_at_pods(person: &Administrator<'_>, guide: &Document) -> Result<()> {
    let shown = guide.block("$ kubectl -n metallb-system get pods")?;
    let (command, example) = shown.split_once('\n').context("a command and what it shows")?;
    let command = command.trim_start_matches("$ ");
    let header: Vec<&str> = example.lines().next().context("a header")?.split_whitespace().collect();
    let controllers = example.lines().filter(|line| line.starts_with("controller-")).count();
    eventually(SOON, "the Pods to be as the guide shows them", async || {
        let said = person.tries(command).await?;
        let mut lines = said.lines();
        let first = lines.next().context("no line")?;
        ensure!(first.split_whitespace().eq(header.iter().copied()), "the header is {first:?}");
        let lines: Vec<&str> = lines.collect();
        let count = |kind: &str| lines.iter().filter(|line| line.starts_with(kind)).count();
        // The example is of a cluster with one node.
        ensure!(count("controller-") == controllers && count("speaker-") == 2, "{said}");
        for line in &lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            ensure!(words.get(1..4) == Some(&["1/1", "Running", "0"]), "{line}");
        }
        Ok(())
    })
    .await
    .map(drop)
}

/// `--check` judges the speakers by the EndpointSlices of their Service, where there are any.
async fn check_finds_all_speakers(person: &Administrator<'_>) -> Result<()> {
    let slices = format!(
        "kubectl -n {HERALD_NAMESPACE} get endpointslices -l kubernetes.io/service-name={SPEAKERS_SERVICE} \
         --output=jsonpath='{{.items[*].endpoints[?(@.conditions.ready==true)].nodeName}}'"
    );
    let nodes = person.does(&slices).await?;
    let mut nodes: Vec<&str> = nodes.split_whitespace().collect();
    nodes.sort_unstable();
    ensure!(nodes == ["n1", "n2"], "speakers are ready on {nodes:?}");
    person.does("kubectl herald peers --check").await.map(|said| println!("{}", said.trim_end()))
}

async fn look_at_sessions(person: &Administrator<'_>, guide: &Document) -> Result<()> {
    let command = guide.block("kubectl -n metallb-system exec ds/speaker -- /speakerctl peers")?;
    eventually(SOON, "an established session", async || {
        let said = person.tries(command).await?;
        ensure!(said.contains("Established"), "{said}");
        Ok(())
    })
    .await?;
    person.does(command).await.map(|said| println!("{}", said.trim_end()))
}

/// Line by line; what takes a moment is looked at again, as people do.
async fn serve(person: &Administrator<'_>, guide: &Document) -> Result<()> {
    let mut lines = guide.block("kubectl create deployment web")?.lines();
    let mut next = || lines.next().context("the block has a create, an expose, a get and a curl");
    let (create, expose, get, curl) = (next()?, next()?, next()?, next()?);
    person.does(without_remark(create)).await?;
    person.does(without_remark(expose)).await?;
    let (get, remark) = get.split_once('#').context("the remark says the address")?;
    let address = remark.split_whitespace().last().context("the remark ends with the address")?;
    eventually(SOON, "the address of the guide", async || {
        let said = person.tries(get).await?;
        ensure!(said.contains(address), "{said}");
        Ok(())
    })
    .await?;
    person.does(get).await.map(|said| println!("{}", said.trim_end()))?;
    let curl = without_remark(curl);
    eventually(SOON, "a page", async || person.tries(curl).await).await?;
    person.does(curl).await.map(|said| println!("{}", said.trim_end()))
}

async fn answers(person: &Administrator<'_>) -> Result<()> {
    eventually(SOON, "a page", async || person.tries("curl http://10.0.4.1/").await).await?;
    still_has_its_address(person).await
}

async fn still_has_its_address(person: &Administrator<'_>) -> Result<()> {
    let said = person.tries("kubectl get service web").await?;
    ensure!(said.contains("10.0.4.1"), "the Service has another address: {said}");
    Ok(())
}
