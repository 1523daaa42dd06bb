//! Which change makes a new session, which only another setting, and which nothing at all.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;

use api::config::{Password, PeerRefusal, SessionKey};
use api::service::IpFamily;
use api::v1beta2::ConnectMode;
use bgp_proto::{Families, Family, Prefix};

use super::*;
use crate::peering::tests::peer;
use crate::plan::PeerPlan;

fn plan(peers: impl IntoIterator<Item = (&'static str, Peer)>) -> Arc<Plan> {
    let peers = peers
        .into_iter()
        .map(|(name, peer)| (name.to_owned(), PeerPlan { peer: Arc::new(peer), routes: Arc::default() }));
    Arc::new(Plan { peers: peers.collect(), synced: true, version: 1, ..Plan::unsynced() })
}

fn tor() -> Peer {
    peer(([127, 0, 0, 1], 179).into())
}

fn key(roster: &Roster, name: &str) -> PeerKey {
    roster.members().find(|(member, _)| *member == name).map(|(_, member)| member.key).unwrap()
}

#[test]
fn what_tcp_sees_makes_a_new_session_and_what_bgp_sees_does_not() {
    let check = |change: fn(Peer) -> Peer, restarts: bool| {
        let mut roster = Roster::new("node-1");
        let now = Instant::now();
        roster.apply(now, &plan([("tor", tor()), ("other", tor())]));
        let (before, other) = (key(&roster, "tor"), key(&roster, "other"));
        roster.apply(now, &plan([("tor", change(tor())), ("other", tor())]));
        assert_eq!(key(&roster, "tor") != before, restarts, "{:?}", change(tor()));
        assert_eq!(key(&roster, "other"), other);
    };
    check(|peer| Peer { port: 1179, ..peer }, true);
    check(|peer| Peer { router: RouterAt::Address([127, 0, 0, 2].into()), ..peer }, true);
    check(|peer| Peer { source: Some([127, 0, 0, 1].into()), ..peer }, true);
    check(|peer| Peer { key: Password::try_new(*b"herald").map(SessionKey::Md5), ..peer }, true);
    check(|peer| Peer { ttl_security: NonZeroU8::new(1), ..peer }, true);
    check(|peer| Peer { connect: ConnectMode::Both, listen_port: 1790, ..peer }, false);
    check(|peer| Peer { hold_time: Some(90), ..peer }, false);
    check(|peer| Peer { local_asn: 64_501, ..peer }, false);
    check(|peer| peer, false);
}

#[test]
fn the_router_id_is_the_configured_one_else_our_ipv4_address_else_the_nodes_own() {
    let check = |peer: Peer, expected: Ipv4Addr| {
        let mut roster = Roster::new("node-1");
        roster.apply(Instant::now(), &plan([("tor", peer)]));
        assert_eq!(roster.configs()[0].router_id.to_address(), expected);
    };
    let localhost = Ipv4Addr::LOCALHOST;
    check(tor(), localhost);
    check(Peer { router_id: Some([192, 0, 2, 9].into()), ..tor() }, [192, 0, 2, 9].into());
    let v6 = peer((std::net::Ipv6Addr::LOCALHOST, 179).into());
    check(v6, router_id::from_node_name("node-1").to_address());
}

#[test]
fn the_other_family_needs_dual_stack_and_a_next_hop() {
    let mut roster = Roster::new("node-1");
    roster.apply(Instant::now(), &plan([("tor", Peer { dual_stack: true, ..tor() })]));
    let member = roster.members.get_mut("tor").unwrap();
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    member.routes = Arc::new([(Prefix::host(v6), Arc::default())].into_iter().collect());
    assert_eq!(member.family_without_next_hop(false), Some(Family::Ipv6Unicast));
    assert_eq!(roster.configs()[0].families, Families::IPV4);

    let member = roster.members.get_mut("tor").unwrap();
    member.home.v6 = Some("2001:db8::11".parse().unwrap());
    assert_eq!(member.family_without_next_hop(false), None);
    let config = roster.configs().remove(0);
    assert_eq!((config.families, config.next_hop_v4), (Families::BOTH, None));
    assert_eq!(config.next_hop_v6, Some("2001:db8::11".parse().unwrap()));
}

#[test]
fn news_tells_withdrawals_from_announcements() {
    let mut roster = Roster::new("node-1");
    let with = |last: &[u8]| {
        let routes = last.iter().map(|last| (Prefix::host([10, 0, 4, *last].into()), Arc::default()));
        let mut plan = plan([("tor", tor())]);
        let tor = Arc::make_mut(&mut plan).peers.get_mut("tor").unwrap();
        tor.routes = Arc::new(routes.collect());
        plan
    };
    roster.apply(Instant::now(), &with(&[1, 2]));
    assert_eq!(roster.news(&with(&[1, 2])), News::Nothing);
    assert_eq!(roster.news(&with(&[1, 2, 3])), News::Announces);
    assert_eq!(roster.news(&with(&[2, 3])), News::Withdraws);
    assert!(roster.same_peers(&with(&[])));
    assert!(!roster.same_peers(&plan([])));
}

#[test]
fn an_ipv6_session_offers_ipv4_also_without_an_address_for_it() {
    let mut roster = Roster::new("node-1");
    let v6 = peer((std::net::Ipv6Addr::LOCALHOST, 179).into());
    roster.apply(Instant::now(), &plan([("tor", Peer { dual_stack: true, ..v6 })]));
    let member = roster.members.get_mut("tor").unwrap();
    let v4 = Prefix::host([10, 0, 4, 1].into());
    member.routes = Arc::new([(v4, Arc::default())].into_iter().collect());
    assert_eq!(member.family_without_next_hop(false), Some(Family::Ipv4Unicast));
    assert_eq!(member.family_without_next_hop(true), None, "the router knows RFC 8950");
    let config = roster.configs().remove(0);
    assert_eq!((config.families, config.next_hop_v4), (Families::BOTH, None));
}

fn standing_by(roster: &Roster) -> Vec<(&str, &Why)> {
    roster.standing_by().map(|(name, by)| (name, &by.why)).collect()
}

#[test]
fn peers_without_a_session_of_their_own_stand_by_and_say_why() {
    let mut roster = Roster::new("node-1");
    let at = |router: RouterAt| Peer { router, ..tor() };
    let refused = PeerRefusal::VrfUnsupported { vrf: "red".to_owned() };
    let lost = RouterAt::Interface("none-such".to_owned());
    let range = Peer { connect: ConnectMode::Passive, ..at(RouterAt::Range("10.0.0.0/8".parse().unwrap())) };
    let all = plan([
        ("lost", at(lost)),
        ("range", range),
        ("refused", Peer { refused: Some(refused), ..tor() }),
        ("tor", tor()),
    ]);
    roster.apply(Instant::now(), &all);
    assert!(roster.same_peers(&all));
    assert_eq!(roster.members().map(|(name, _)| name).collect::<Vec<_>>(), ["tor"]);
    let not_found = Why::NotFound(NotFound::NoInterface("none-such".to_owned()));
    let expected = [("lost", &not_found), ("range", &Why::Range), ("refused", &Why::Refused)];
    assert_eq!(standing_by(&roster), expected);
    assert_eq!(roster.unnumbered().into_iter().collect::<Vec<_>>(), ["none-such"]);
}

#[test]
fn a_caller_of_a_network_gets_a_place_of_its_own_until_it_has_been_gone_for_long() {
    let mut roster = Roster::new("node-1");
    let range = RouterAt::Range("10.0.0.0/8".parse().unwrap());
    let peer = Peer { router: range, connect: ConnectMode::Passive, listen_port: 1790, ..tor() };
    let now = Instant::now();
    roster.apply(now, &plan([("net", peer.clone())]));
    let local: SocketAddr = "127.0.0.1:1790".parse().unwrap();
    let from: SocketAddr = "10.0.0.7:40000".parse().unwrap();
    assert_eq!(roster.callee("192.0.2.1:40000".parse().unwrap(), local), Callee::Nobody);
    assert_eq!(roster.callee(from, "127.0.0.1:179".parse().unwrap()), Callee::Nobody, "another door");
    let Callee::Member(key) = roster.callee(from, local) else { panic!("no place") };
    assert_eq!(
        roster.callee("10.0.0.7:40001".parse().unwrap(), local),
        Callee::Member(key),
        "it calls again"
    );
    assert_eq!((roster.name(key), roster.configs()[0].delay_open), (Some("net@10.0.0.7"), true));
    assert_eq!(standing_by(&roster), [], "its row stands for the network");

    // A change that TCP does not see keeps the caller, one that it sees does not.
    roster.apply(now, &plan([("net", Peer { hold_time: Some(90), ..peer.clone() })]));
    assert!(roster.contains(key));
    let signed = Peer { key: Password::try_new(*b"herald").map(SessionKey::Md5), ..peer.clone() };
    roster.apply(now, &plan([("net", signed)]));
    assert!(!roster.contains(key));
    assert_eq!(roster.configs()[0].replaces, Some(key), "the same router is to call again");

    roster.apply(now, &plan([("net", peer)]));
    let Callee::Member(key) = roster.callee(from, local) else { panic!("no place") };
    assert!(!roster.retire(now, |_| true, RANGE_IDLE) && !roster.retire(now, |_| false, RANGE_IDLE));
    assert!(roster.contains(key));
    assert!(roster.retire(now + RANGE_IDLE, |_| false, RANGE_IDLE));
    assert!(!roster.contains(key));
    assert_eq!(standing_by(&roster), [("net", &Why::Range)]);
}

#[test]
fn callers_that_come_and_go_leave_nothing_behind() {
    let mut roster = Roster::new("node-1");
    let range = RouterAt::Range("2001:db8::/32".parse().unwrap());
    let peer = Peer { router: range, connect: ConnectMode::Passive, listen_port: 1790, ..tor() };
    let now = Instant::now();
    roster.apply(now, &plan([("net", peer)]));
    let local: SocketAddr = "[::1]:1790".parse().unwrap();
    for caller in 0..10_000u16 {
        let from = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, caller], 40_000));
        let Callee::Member(key) = roster.callee(from, local) else { panic!("no place for {from}") };
        let name = roster.name(key).map(str::to_owned);
        assert!(roster.retire(now, |_| false, Duration::ZERO));
        assert_eq!(roster.name(key).map(str::to_owned), name, "its last words are still to come");
    }
    assert!(roster.names.len() <= RANGE_MAX, "{}", roster.names.len());
}

#[test]
fn equal_link_local_addresses_on_two_links_are_two_routers() {
    let mut roster = Roster::new("node-1");
    let range = RouterAt::Range("fe80::/10".parse().unwrap());
    let peer = Peer { router: range, connect: ConnectMode::Passive, listen_port: 1790, ..tor() };
    roster.apply(Instant::now(), &plan([("net", peer)]));
    let on = |link: u32, port: u16| {
        let address = "fe80::1".parse().unwrap();
        SocketAddr::from(std::net::SocketAddrV6::new(address, port, 0, link))
    };
    let local: SocketAddr = "[fe80::9]:1790".parse().unwrap();
    let (left, right) = (roster.callee(on(2, 40_000), local), roster.callee(on(3, 40_000), local));
    let (Callee::Member(left), Callee::Member(right)) = (left, right) else { panic!("no place") };
    assert!(left != right && roster.contains(left) && roster.contains(right), "both stay");
    assert_eq!((roster.name(left), roster.name(right)), (Some("net@fe80::1%2"), Some("net@fe80::1%3")));
    assert_eq!(roster.callee(on(2, 40_001), local), Callee::Member(left), "it calls again");
    // And a process that takes such a session over finds its row.
    let mut next = Roster::new("node-1");
    next.apply(Instant::now(), &Arc::clone(&roster.plan));
    assert!(next.expect_caller("net@fe80::1%3", on(3, 40_000)));
    assert_eq!(next.members().map(|(name, _)| name).collect::<Vec<_>>(), ["net@fe80::1%3"]);
}

#[test]
fn a_gateway_that_another_peer_names_stands_by() {
    let mut roster = Roster::new("node-1");
    let gateway = Peer { router: RouterAt::Gateway(IpFamily::V4), ..tor() };
    roster.apply(Instant::now(), &plan([("gateway", gateway.clone())]));
    let found = roster.members().map(|(_, member)| member.target.remote).next();
    let Some(remote) = found else {
        // A machine without a default route: then that is what stands there.
        let missing = Why::NotFound(NotFound::NoGateway(IpFamily::V4));
        return assert_eq!(standing_by(&roster), [("gateway", &missing)]);
    };
    roster.apply(Instant::now(), &plan([("gateway", gateway), ("named", peer(remote))]));
    let why = Why::SameRouter { other: "named".to_owned(), remote };
    assert_eq!(standing_by(&roster), [("gateway", &why)]);
}
