//! Every example of `docs/ipam.md` is carried out: what stands in a `yaml` block is applied, what stands behind `$` in a
//! `console` block is run, and the lines after it are what comes out (`…` stands for anything).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::{Tool, repository};
use testbed::process::run_to_end;
use tokio::process::Command;

use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "ipam_every_example_of_the_guide_works",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(examples(lab)),
}];

/// What an example shows comes about by itself within this time.
const SHOWN: Duration = Duration::from_secs(45);

#[derive(Debug, PartialEq, Eq)]
enum Example {
    Yaml(String),
    Command { line: String, output: String },
}

async fn examples(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        lab.start_daemon("n1", daemon).await?;
    }
    let path = repository().join("docs/ipam.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let all = parse(&text)?;
    ensure!(all.len() > 20, "the guide has only {} examples", all.len());
    let kubectl = lab.machine().tools.path(Tool::Kubectl).to_owned();
    for example in &all {
        match example {
            Example::Yaml(yaml) => {
                lab.cluster().apply(yaml).await.with_context(|| format!("applying\n{yaml}")).map(drop)?
            }
            Example::Command { line, output } => {
                let kubeconfig = lab.cluster().kubeconfig();
                eventually(SHOWN, &format!("`{line}` to show what the guide says"), async || {
                    let shown =
                        run(line, kubectl.parent().context("kubectl is in a folder")?, kubeconfig.path())
                            .await?;
                    if fits(&shown, output) { Ok(()) } else { bail!("it shows\n{shown}\nand not\n{output}") }
                })
                .await?;
            }
        }
    }
    println!("  {} examples", all.len());
    lab.check_daemons()
}

async fn run(line: &str, kubectl: &Path, kubeconfig: &Path) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .env("PATH", format!("{}:{path}", kubectl.display()))
        .env("KUBECONFIG", kubeconfig);
    let done = run_to_end(&mut command).await?;
    let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&done.stderr));
    Ok(text)
}

/// The examples in the order of the text.
fn parse(text: &str) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let kind = match line.trim() {
            "```yaml" => "yaml",
            "```console" => "console",
            _ => continue,
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        if kind == "yaml" {
            examples.push(Example::Yaml(block.join("\n")));
            continue;
        }
        for line in block {
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(line), _) => {
                    examples.push(Example::Command { line: line.to_owned(), output: String::new() });
                }
                (None, Some(Example::Command { output, .. })) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, Some(Example::Yaml(_)) | None) => bail!("output without a command: {line}"),
            }
        }
    }
    Ok(examples)
}

/// Whether a text is as expected, however it is broken into lines; `…` stands for anything.
fn fits(shown: &str, expected: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, expected) = (words(shown), words(expected));
    let mut parts = expected.split('…').map(str::trim);
    let Some(mut rest) = parts.next().and_then(|first| shown.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        open = part.is_empty();
        rest = if open { rest } else { after };
    }
    open || rest.trim().is_empty()
}
