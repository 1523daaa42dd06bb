//! One node's chain: which link broke first, and how it looks on a screen.

use std::fmt::Write as _;

use api::herald::{WhyLink, WhyReason, WhyReport};
use api::service::ServiceKey;
use serde::Serialize;

use crate::advice;
use crate::render::{Paint, Tone, printable};

/// What one node says, judged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chain {
    #[serde(flatten)]
    report: WhyReport,
    verdict: Verdict,
    /// The first link that does not hold, and what to look at next.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    /// Everything holds.
    Announced,
    /// At least one peer is told of at least one address, and something does not hold.
    Partly,
    /// Nobody is told anything.
    NotAnnounced,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Broken {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Chain {
    /// With only the links that are about this peer, if one is asked about, and those about none.
    pub(super) fn new(
        mut report: WhyReport,
        peer: Option<&str>,
        service: &ServiceKey,
        namespace: &str,
    ) -> Self {
        if let Some(wanted) = peer {
            let named = report.links.iter().any(|link| link.peer.as_deref() == Some(wanted));
            let reached = report.links.iter().any(|link| link.peer.is_some());
            report.links.retain(|link| link.peer.as_deref().is_none_or(|peer| peer == wanted));
            if reached && !named {
                let text = format!("no BGPPeer \"{wanted}\" selects this node");
                report.links.push(WhyLink::fails(WhyReason::NoPeer, text).towards(wanted));
            }
        }
        let told = report.links.iter().any(|link| link.holds && link.subject == "route");
        let first = report.links.iter().find(|link| !link.holds && !is_by_design(link));
        let broken = first.map(|link| Broken {
            reason: link.reason.clone(),
            text: link.text.clone(),
            next: link
                .reason
                .as_deref()
                .and_then(|reason| advice::next(reason, service, &report.node, namespace)),
        });
        let verdict = match (told, &broken) {
            (true, None) => Verdict::Announced,
            (true, Some(_)) => Verdict::Partly,
            (false, _) => Verdict::NotAnnounced,
        };
        Self { verdict, broken, report }
    }

    /// A node without local endpoints is not meant to announce a Service of policy Local, and where a number of nodes is
    /// bounded the others are not.
    fn is_idle_by_design(&self) -> bool {
        let reason = self.broken.as_ref().and_then(|broken| WhyReason::of_word(broken.reason.as_deref()?));
        let left_out = matches!(reason, Some(WhyReason::NoLocalEndpoints | WhyReason::NotChosen));
        self.verdict == Verdict::NotAnnounced && left_out
    }

    fn text(&self, paint: Paint) -> String {
        let WhyReport { node, service, links } = &self.report;
        let (words, tone) = match self.verdict {
            Verdict::Announced => ("announced", Tone::Good),
            Verdict::Partly => ("announced in part", Tone::Bad),
            Verdict::NotAnnounced => ("not announced", Tone::Bad),
        };
        let mut text = format!("{service} from {node}: {}\n", paint.text(words, tone));
        let subject = links.iter().map(|link| link.subject.len()).max().unwrap_or_default();
        for link in links {
            let mark = match (link.holds, is_by_design(link)) {
                (true, _) => paint.text("ok", Tone::Good),
                (false, true) => "--".to_owned(),
                (false, false) => paint.text("NO", Tone::Bad),
            };
            let about = [link.peer.as_deref(), link.address.as_deref()];
            let about: Vec<&str> = about.into_iter().flatten().collect();
            let about = if about.is_empty() { String::new() } else { format!("{}: ", about.join(" ")) };
            let reason = link.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let words = printable(&format!("{about}{}{reason}", link.text));
            // Writing into a String cannot fail.
            writeln!(text, "  {mark}  {:<subject$}  {words}", link.subject).ok();
        }
        if let Some(next) = self.broken.as_ref().and_then(|broken| broken.next.as_ref()) {
            writeln!(text, "  next: {next}").ok();
        }
        text
    }
}

/// An advertisement that names other peers is no fault of this one.
fn is_by_design(link: &WhyLink) -> bool {
    link.reason.as_deref() == Some(WhyReason::PeerNotSelected.word())
}

/// All chains, one below the other.
pub(super) fn text(chains: &[Chain], paint: Paint) -> String {
    chains.iter().map(|chain| chain.text(paint)).collect::<Vec<_>>().join("\n")
}

/// At least one node announces, and none is kept from it by anything but the place of the endpoints.
pub(super) fn is_well(chains: &[Chain]) -> bool {
    let announced = |chain: &Chain| chain.verdict == Verdict::Announced;
    chains.iter().any(announced) && chains.iter().all(|chain| announced(chain) || chain.is_idle_by_design())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WhyList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [Chain],
}

/// What `-o json` and `-o yaml` print.
pub(super) fn list(chains: &[Chain]) -> WhyList<'_> {
    WhyList { api_version: "herald-lb.io/v1beta1", kind: "WhyList", items: chains }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(node: &str, links: Vec<WhyLink>, peer: Option<&str>) -> Chain {
        let report = WhyReport { node: node.to_owned(), service: "shop/web".to_owned(), links };
        Chain::new(report, peer, &ServiceKey::new("shop", "web"), "metallb-system")
    }

    fn decided() -> Vec<WhyLink> {
        vec![
            WhyLink::holds("service", "is of type LoadBalancer and of this speaker's class"),
            WhyLink::holds("address", "has 10.0.4.1"),
        ]
    }

    fn sent(peer: &str) -> WhyLink {
        WhyLink::holds("route", "10.0.4.1/32 is sent").about(Some("10.0.4.1")).towards(peer)
    }

    fn no_local() -> WhyLink {
        let text = "externalTrafficPolicy is Local and this node has no ready IPv4 endpoint";
        WhyLink::fails(WhyReason::NoLocalEndpoints, text).about(Some("10.0.4.1"))
    }

    #[test]
    fn the_first_fact_that_does_not_hold_is_named_with_the_next_command() {
        let mut links = decided();
        links.push(no_local());
        let expected = "\
shop/web from n2: not announced
  ok  service    is of type LoadBalancer and of this speaker's class
  ok  address    has 10.0.4.1
  NO  endpoints  10.0.4.1: externalTrafficPolicy is Local and this node has no ready IPv4 endpoint (noLocalEndpoints)
  next: kubectl -n shop get endpointslices -l kubernetes.io/service-name=web -o wide
";
        assert_eq!(text(&[chain("n2", links, None)], Paint::Plain), expected);
    }

    #[test]
    fn a_peer_that_an_advertisement_leaves_out_is_shown_and_is_no_fault() {
        let mut links = decided();
        links.push(sent("tor-1"));
        let others = "the BGPAdvertisements of this Service name other peers";
        links.push(WhyLink::fails(WhyReason::PeerNotSelected, others).towards("tor-2"));
        let expected = "\
shop/web from n1: announced
  ok  service  is of type LoadBalancer and of this speaker's class
  ok  address  has 10.0.4.1
  ok  route    tor-1 10.0.4.1: 10.0.4.1/32 is sent
  --  peer     tor-2: the BGPAdvertisements of this Service name other peers (peerNotSelected)
";
        assert_eq!(text(&[chain("n1", links.clone(), None)], Paint::Plain), expected);
        assert!(is_well(&[chain("n1", links.clone(), Some("tor-1"))]));
        let of_tor_2 = chain("n1", links.clone(), Some("tor-2"));
        assert_eq!(of_tor_2.verdict, Verdict::NotAnnounced, "asked about that peer, it is the answer");
        let unknown = text(&[chain("n1", links, Some("tor-3"))], Paint::Plain);
        assert!(
            unknown.contains("NO  peer     tor-3: no BGPPeer \"tor-3\" selects this node (noPeer)"),
            "{unknown}"
        );
    }

    #[test]
    fn a_script_is_told_by_the_whole_cluster() {
        let good = || chain("n1", vec![sent("tor-1")], None);
        let idle = || chain("n2", vec![no_local()], None);
        let down = WhyLink::fails(WhyReason::SessionDown, "is Active: connection refused").towards("tor-1");
        assert!(is_well(&[good(), idle()]), "policy Local is meant to leave nodes out");
        let others = WhyLink::fails(WhyReason::NotChosen, "this node is not among the 1 of 2 nodes: n1");
        assert!(is_well(&[good(), chain("n2", vec![others], None)]), "and so is a bounded number of nodes");
        assert!(!is_well(&[idle()]), "nobody announces");
        assert!(!is_well(&[good(), chain("n3", vec![down], None)]));
        assert!(!is_well(&[]));
    }

    #[test]
    fn colour_is_only_where_it_is_asked_for() {
        let chains = [chain("n1", vec![sent("tor-1")], None)];
        assert!(!text(&chains, Paint::Plain).contains('\u{1b}'));
        assert!(text(&chains, Paint::Coloured).contains("\u{1b}[32mok\u{1b}[0m"));
    }
}
