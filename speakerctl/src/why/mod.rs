//! `speakerctl why`: the chain of facts behind one Service, node by node, up to the first fact that does not hold.
//!
//! A speaker's socket has the whole chain. The API has what speakers report about themselves (`cluster`). Neither
//! evaluates a rule here. `chain` judges and prints.

mod chain;
mod cluster;

use std::path::Path;

use api::herald::WhyReport;
use api::service::ServiceKey;

use crate::args::{Document, Place, ReachArgs, Said, WhyArgs};
use crate::failure::Failure;
use crate::render::{Paint, json, yaml};
use crate::source::socket;
use crate::{Outcome, write};
use chain::Chain;

/// Prints the chains; well is a Service that each node asked about announces to each of its peers that are meant.
///
/// # Errors
/// Why there is no answer, or that it could not be written.
pub(crate) fn run(reach: &ReachArgs, said: Said, args: &WhyArgs) -> Result<Outcome, Failure> {
    let service = key(&args.service)?;
    let reports = crate::ask(reach, said, async |place| match place {
        Place::Socket(path) => from_socket(path, reach, args, &service).await.map(|report| vec![report]),
        Place::Cluster { tried } => cluster::ask(tried, reach, args.node.as_deref(), &service).await,
    })?;
    let chains: Vec<Chain> = reports
        .into_iter()
        .map(|report| Chain::new(report, args.peer.as_deref(), &service, &reach.namespace))
        .collect();
    match args.output {
        Document::Text => write(&chain::text(&chains, Paint::of_stdout()))?,
        Document::Json => write(&json(&chain::list(&chains)))?,
        Document::Yaml => write(&yaml(&chain::list(&chains)))?,
    }
    Ok(Outcome::of(chain::is_well(&chains)))
}

async fn from_socket(
    path: &Path,
    reach: &ReachArgs,
    args: &WhyArgs,
    service: &ServiceKey,
) -> Result<WhyReport, Failure> {
    let question = format!("/why?service={service}");
    let report: WhyReport = socket::ask_for(path, &question, reach.request_timeout).await?;
    match &args.node {
        Some(node) if *node != report.node => Err(Failure::OtherNode {
            path: path.to_owned(),
            here: report.node,
            asked: vec![node.clone()],
            namespace: reach.namespace.clone(),
        }),
        Some(_) | None => Ok(report),
    }
}

/// `NAME` or `NAMESPACE/NAME`, of letters that names are made of.
fn key(text: &str) -> Result<ServiceKey, Failure> {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    let is_name = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        !part.is_empty() && part.len() <= 253 && part.chars().all(fits)
    };
    if is_name(namespace) && is_name(name) {
        Ok(ServiceKey::new(namespace, name))
    } else {
        Err(Failure::NoServiceName { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_with_or_without_its_namespace() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = key(text).ok();
            assert_eq!(found, expected.map(|(namespace, name)| ServiceKey::new(namespace, name)), "{text:?}");
        };
        check("web", Some(("default", "web")));
        check("shop/web", Some(("shop", "web")));
        check("shop/web/x", None);
        check("", None);
        check("shop/", None);
        check("a b", None);
        check("a&b", None);
    }
}
