//! Router IDs that several nodes show in one AS (RFC 6286 §2.1 wants them apart): which, on which nodes, and what to change.
//!
//! A speaker sees itself alone, and a router says it in words of its own, if it says it at all. Whoever reads all reports
//! sees both nodes. Leaves out what a router makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use api::herald::{SessionState, peer_of};

use crate::row::named;

/// One router ID of several nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Duplicate {
    router_id: String,
    asn: u32,
    /// The BGPPeers that it is shown by, by node.
    shown: BTreeMap<String, BTreeSet<String>>,
    cause: Cause,
}

/// Where it comes from, as far as a report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// Each of the nodes speaks from that very address.
    OneAddress,
    /// It is set, or two names of nodes gave one number.
    Chosen,
}

/// All duplicates among these sessions, each with the name of its node. Speakers that do not report their ID yet have none.
pub(crate) fn duplicates<'a>(
    sessions: impl Iterator<Item = (&'a str, &'a SessionState)>,
) -> BTreeSet<Duplicate> {
    let mut holders: BTreeMap<(&str, u32), Vec<(&str, &SessionState)>> = BTreeMap::new();
    for (node, session) in sessions {
        if let Some(id) = &session.local_router_id {
            holders.entry((id, session.local_asn)).or_default().push((node, session));
        }
    }
    let duplicate = |((id, asn), holders): ((&str, u32), Vec<(&str, &SessionState)>)| {
        let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (node, session) in &holders {
            shown.entry((*node).to_owned()).or_default().insert(peer_of(&session.peer).to_owned());
        }
        let is_own = |(_, session): &(&str, &SessionState)| session.local_address.as_deref() == Some(id);
        let cause = if holders.iter().all(is_own) { Cause::OneAddress } else { Cause::Chosen };
        (shown.len() > 1).then(|| Duplicate { router_id: id.to_owned(), asn, shown, cause })
    };
    holders.into_iter().filter_map(duplicate).collect()
}

impl Duplicate {
    /// Whether this session is one of those that show it.
    pub(crate) fn concerns(&self, node: &str, peer: &str) -> bool {
        self.shown.get(node).is_some_and(|peers| peers.contains(peer_of(peer)))
    }
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { router_id, asn, shown, cause } = self;
        let nodes: Vec<&str> = shown.keys().map(String::as_str).collect();
        let named = named(&nodes);
        let peers: BTreeSet<&str> = shown.values().flatten().map(String::as_str).collect();
        let peers = peers.into_iter().collect::<Vec<_>>().join(", ");
        write!(
            f,
            "nodes {named} show one router ID, {router_id}, in AS {asn} (BGPPeer {peers}): a router may refuse them, or \
             take them for one machine. "
        )?;
        f.write_str(match cause {
            Cause::OneAddress => {
                "Each of them speaks from that address: give the nodes different addresses, or each a BGPPeer of its own \
                 (nodeSelectors) with another routerID"
            }
            Cause::Chosen => {
                "Leave routerID out of the BGPPeer, so that each node takes its own, or give each node a BGPPeer of its own \
                 (nodeSelectors) with another routerID"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(peer: &str, asn: u32, id: Option<&str>, address: &str) -> SessionState {
        SessionState {
            peer: peer.to_owned(),
            local_asn: asn,
            local_router_id: id.map(str::to_owned),
            local_address: Some(address.to_owned()),
            ..SessionState::default()
        }
    }

    /// Each line is a session: node, peer, AS, router ID or `-`, our address in the session.
    fn told(lines: &str) -> Vec<String> {
        let parsed: Vec<(String, SessionState)> = lines
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let &[node, peer, asn, id, address] = words.as_slice() else { panic!("{line:?}") };
                let id = Some(id).filter(|id| *id != "-");
                (node.to_owned(), session(peer, asn.parse().unwrap(), id, address))
            })
            .collect();
        let found = duplicates(parsed.iter().map(|(node, session)| (node.as_str(), session)));
        found.iter().map(ToString::to_string).collect()
    }

    fn check(lines: &str, expected: &[[&str; 4]]) {
        let found = told(lines);
        assert_eq!(found.len(), expected.len(), "{lines}\n{found:?}");
        for (found, [nodes, id, peers, cure]) in found.iter().zip(expected) {
            let begin = format!("nodes {nodes} show one router ID, {id} (BGPPeer {peers}): ");
            assert!(found.starts_with(&begin) && found.contains(cure), "{begin} … {cure} in {found:?}");
        }
    }

    const OWN: &str = "Leave routerID out";
    const ADDRESS: &str = "give the nodes different addresses";

    #[test]
    fn one_router_id_of_two_nodes_in_one_as_is_told_with_both_names_and_the_cure() {
        check(
            "n1 tor 64500 10.9.9.9 10.0.2.11\nn2 tor 64500 10.9.9.9 10.0.2.12\nn3 tor 64500 10.0.2.13 10.0.2.13",
            &[["n1, n2", "10.9.9.9, in AS 64500", "tor", OWN]],
        );
        check(
            "n1 left 64500 10.9.9.9 10.0.2.11\nn2 right 64500 10.9.9.9 10.0.2.12",
            &[["n1, n2", "10.9.9.9, in AS 64500", "left, right", OWN]],
        );
        check(
            "n1 tor 64500 10.0.2.11 10.0.2.11\nn2 tor 64500 10.0.2.11 10.0.2.11",
            &[["n1, n2", "10.0.2.11, in AS 64500", "tor", ADDRESS]],
        );
        check(
            "n1 tor 64500 10.0.2.11 10.0.2.11\nn2 tor 64500 10.0.2.11 10.0.2.12",
            &[["n1, n2", "10.0.2.11, in AS 64500", "tor", OWN]],
        );
        check(
            "n1 rack@10.0.2.1 64500 10.9.9.9 fd00::1\nn2 rack@10.0.2.1 64500 10.9.9.9 fd00::2",
            &[["n1, n2", "10.9.9.9, in AS 64500", "rack", OWN]],
        );
        check(
            "n1 a 1 10.9.9.9 ::1\nn2 a 1 10.9.9.9 ::2\nn1 b 2 10.8.8.8 ::1\nn2 b 2 10.8.8.8 ::2",
            &[["n1, n2", "10.8.8.8, in AS 2", "b", OWN], ["n1, n2", "10.9.9.9, in AS 1", "a", OWN]],
        );
    }

    #[test]
    fn one_node_with_two_routers_two_ases_and_speakers_that_do_not_say_are_no_duplicates() {
        check("n1 left 64500 10.0.2.11 10.0.2.11\nn1 right 64500 10.0.2.11 10.0.2.11", &[]);
        check("n1 tor 64500 10.9.9.9 10.0.2.11\nn2 tor 64501 10.9.9.9 10.0.2.12", &[]);
        check("n1 tor 64500 - 10.0.2.11\nn2 tor 64500 - 10.0.2.11", &[]);
        check("", &[]);
    }

    #[test]
    fn many_nodes_are_counted() {
        let lines: Vec<String> = (10..22).map(|n| format!("n{n} tor 64500 10.9.9.9 10.0.2.{n}")).collect();
        let expected = "n10, n11, n12, n13, n14, n15, n16, n17, n18, n19 and 2 more";
        check(&lines.join("\n"), &[[expected, "10.9.9.9, in AS 64500", "tor", OWN]]);
    }

    #[test]
    fn a_duplicate_concerns_the_sessions_that_show_it() {
        let (one, other) = (
            session("rack@10.0.2.1", 1, Some("10.9.9.9"), "::1"),
            session("rack", 1, Some("10.9.9.9"), "::2"),
        );
        let found = duplicates([("n1", &one), ("n2", &other)].into_iter());
        let found = found.first().unwrap();
        assert!(found.concerns("n1", "rack@10.0.2.7") && found.concerns("n2", "rack"));
        assert!(!found.concerns("n3", "rack") && !found.concerns("n1", "tor"));
    }
}
