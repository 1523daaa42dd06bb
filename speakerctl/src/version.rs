//! `speakerctl version`: of this program, and of the daemons that it talks to.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::args::{Document, Place, ReachArgs, Said, VersionArgs, called};
use crate::failure::Failure;
use crate::render::{json, yaml};
use crate::row::Report;
use crate::source::cluster::Cluster;
use crate::source::socket;
use crate::{Outcome, nobody_reports, notice, write};

const OWN: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: &'static str,
    /// Nodes by the version of their speaker.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    speakers: BTreeMap<String, Vec<String>>,
}

/// Prints the versions. That no speaker can be asked is a remark: this program has its version all the same.
///
/// # Errors
/// When the answer could not be written, or the flags contradict each other.
pub(crate) fn run(reach: &ReachArgs, said: Said, args: &VersionArgs) -> Result<Outcome, Failure> {
    let mut versions = Versions { client: OWN, speakers: BTreeMap::new() };
    let mut answered = true;
    if !args.client {
        match reports(reach, said) {
            Ok(reports) => {
                if reports.is_empty() {
                    notice(&nobody_reports(&reach.namespace));
                }
                for Report { node, status, .. } in reports {
                    versions.speakers.entry(status.version).or_default().push(node);
                }
            }
            Err(failure @ Failure::Usage(_)) => return Err(failure),
            Err(failure) => {
                answered = false;
                notice(&format!("speakers: {failure}"));
                if let Some(hint) = failure.hint(called(), &reach.namespace) {
                    notice(&format!("hint: {hint}"));
                }
            }
        }
    }
    match args.output {
        Document::Text => write(&text(&versions))?,
        Document::Json => write(&json(&versions))?,
        Document::Yaml => write(&yaml(&versions))?,
    }
    let skew = skew(&versions, &reach.namespace);
    if let Some(skew) = &skew {
        notice(skew);
    }
    Ok(Outcome::of(!args.check || answered && skew.is_none() && !versions.speakers.is_empty()))
}

fn reports(reach: &ReachArgs, said: Said) -> Result<Vec<Report>, Failure> {
    crate::ask(reach, said, async |place| match place {
        Place::Socket(path) => Ok(vec![socket::ask(path, reach.request_timeout).await?]),
        Place::Cluster { tried } => Cluster::connect(reach, tried.is_some(), &[]).await?.list().await,
    })
}

fn text(versions: &Versions) -> String {
    let mut text = format!("speakerctl {}\n", versions.client);
    for (version, nodes) in &versions.speakers {
        let count = nodes.len();
        let on = if count == 1 { nodes.join("") } else { format!("{count} nodes") };
        // Writing into a String cannot fail.
        writeln!(text, "speaker {version} on {on}").ok();
    }
    text
}

/// A speaker of another version may answer in words that this program does not know, or lack some that it asks for.
fn skew(versions: &Versions, home: &str) -> Option<String> {
    let others: Vec<&str> =
        versions.speakers.keys().map(String::as_str).filter(|version| *version != versions.client).collect();
    match (others.as_slice(), versions.speakers.len()) {
        ([], _) => None,
        (others, 1) => Some(format!(
            "warning: the speakers are of version {}, this program is {}; use the speakerctl of their image",
            others.join(", "),
            versions.client
        )),
        (_, _) => Some(format!(
            "warning: the speakers are of several versions; is a rollout under way? kubectl -n {home} rollout status ds/speaker"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_told_and_equal_versions_are_not() {
        let check = |speakers: &[(&str, &[&str])], expected: Option<&str>| {
            let of = |nodes: &[&str]| nodes.iter().map(|node| (*node).to_owned()).collect();
            let speakers =
                speakers.iter().map(|(version, nodes)| ((*version).to_owned(), of(nodes))).collect();
            let told = skew(&Versions { client: "0.2.0", speakers }, "lb");
            match expected {
                Some(words) => assert!(told.as_ref().is_some_and(|told| told.contains(words)), "{told:?}"),
                None => assert_eq!(told, None),
            }
        };
        check(&[], None);
        check(&[("0.2.0", &["a", "b"])], None);
        check(&[("0.1.0", &["a"])], Some("of version 0.1.0, this program is 0.2.0"));
        check(&[("0.1.0", &["a"]), ("0.2.0", &["b"])], Some("kubectl -n lb rollout status"));
    }
}
