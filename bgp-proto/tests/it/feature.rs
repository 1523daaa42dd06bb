//! What OPENs agree on beyond the basics: roles, long messages, IPv6 next hops for IPv4, DelayOpen, LLGR.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::wire::capability::{Capability, GracefulRestart, IPV4_OVER_IPV6};
use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::notification::{ErrorCode, Notification};
use bgp_proto::wire::open::Open;
use bgp_proto::wire::update::{MpReach, Update};
use bgp_proto::*;
use bytes::{Buf, BytesMut};

use crate::pair::{KEY, Pair, config, epoch, routes};
use crate::vectors::{V4, V6, external, message, peer_open, plain, told, unhex};

fn offer(capabilities: &[Capability<'_>]) -> Vec<u8> {
    let families = Family::ALL.map(Capability::family);
    peer_open(65_530, &[&families[..], &[Capability::FourOctetAs(Asn(65_530))], capabilities].concat())
}

/// What our side answers to an OPEN: the reason when it refuses.
fn refusal(config: &PeerConfig, open: &[u8]) -> Option<(String, (u8, u8))> {
    let (now, id) = (epoch(), ConnectionId(1));
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, std::slice::from_ref(config));
    speaker.handle_event(now, Event::Connected { peer: KEY, connection: id, local: V4, remote: V4 });
    let mut out = BytesMut::new();
    assert!(speaker.poll_transmit(now, id, &mut out));
    out.clear();
    speaker.handle_input(now, id, open);
    while speaker.poll_transmit(now, id, &mut out) {}
    let (_, reason) = speaker.session(KEY)?.last_down?;
    Some((reason.to_string(), (out[19], out[20])))
}

fn with_role(role: Role, strict: bool) -> PeerConfig {
    PeerConfig { role: Some(RolePolicy { role, strict }), ..external(64_500) }
}

#[test]
fn roles_must_be_counterparts() {
    for ours in Role::ALL {
        for theirs in Role::ALL {
            let refused = refusal(&with_role(ours, false), &offer(&[Capability::Role(theirs.code())]));
            let fits = matches!(
                (ours, theirs),
                (Role::Provider, Role::Customer)
                    | (Role::Customer, Role::Provider)
                    | (Role::RouteServer, Role::RouteServerClient)
                    | (Role::RouteServerClient, Role::RouteServer)
                    | (Role::Peer, Role::Peer)
            );
            assert_eq!(
                refused.as_ref().map(|(_, code)| *code),
                (!fits).then_some((2, 11)),
                "{ours} {theirs}"
            );
        }
    }
    let words = refusal(&with_role(Role::Customer, false), &offer(&[Capability::Role(3)])).unwrap().0;
    assert_eq!(words, "router's role is customer, ours is customer: the router has to be provider");
}

#[test]
fn a_missing_role_matters_only_when_roles_are_strict() {
    assert_eq!(refusal(&with_role(Role::Customer, false), &offer(&[])), None);
    let words = "router says no role, ours is customer: it has to be provider".to_owned();
    assert_eq!(refusal(&with_role(Role::Customer, true), &offer(&[])), Some((words, (2, 11))));
    assert_eq!(refusal(&external(64_500), &offer(&[Capability::Role(0)])), None, "we have none to compare");
}

#[test]
fn two_different_roles_and_unknown_roles_are_mismatches_and_a_repeated_one_is_not() {
    let customer = with_role(Role::Customer, false);
    let refused = |roles: &[u8]| {
        let roles: Vec<_> = roles.iter().map(|role| Capability::Role(*role)).collect();
        refusal(&customer, &offer(&roles)).map(|(_, code)| code)
    };
    assert_eq!(refused(&[0, 0]), None);
    assert_eq!(refused(&[0, 3]), Some((2, 11)));
    assert_eq!(refused(&[9]), Some((2, 11)));
}

#[test]
fn a_role_is_said_on_ebgp_only_and_marks_routes_for_customers() {
    let role_of = |octets: &[u8]| {
        let role = Open::parse(&octets[19..]).unwrap().capabilities.find(|c| c.code() == 9);
        role.map(|role| if let Capability::Role(code) = role { code } else { panic!("{role:?}") })
    };
    let open = offer(&[Capability::Role(3)]);
    let provider = told(&with_role(Role::Provider, false), V4, &open, plain(&["192.0.2.10"]));
    assert_eq!(role_of(&provider.open), Some(0));
    assert!(provider.updates[0].ends_with(&unhex("c02304 0000fbf4 20c000020a")), "ONLY_TO_CUSTOMER");
    let customer =
        told(&with_role(Role::Customer, false), V4, &offer(&[Capability::Role(0)]), plain(&["192.0.2.10"]));
    assert!(customer.updates[0].ends_with(&unhex("400304 0a00000b 20c000020a")));
    let internal = PeerConfig { remote: RemoteAs::Internal, ..with_role(Role::Peer, true) };
    let internal =
        told(&internal, V4, &peer_open(64_500, &[Capability::FourOctetAs(Asn(64_500))]), plain(&[]));
    assert_eq!(role_of(&internal.open), None);
}

#[test]
fn long_messages_go_both_ways_when_both_sides_offer_them() {
    let names: Vec<String> =
        (0..20_000_u32).map(|n| std::net::Ipv4Addr::from_bits(0x0A00_0000 + n).to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let longest = |config: &PeerConfig, open: &[u8]| {
        told(config, V4, open, plain(&names)).updates.iter().map(Vec::len).max().unwrap()
    };
    let ours = external(64_500);
    let long = longest(&ours, &offer(&[Capability::ExtendedMessage]));
    assert!((32_000..=65_535).contains(&long), "{long}");
    assert!(longest(&ours, &offer(&[])) <= 4096);
    let short = PeerConfig { extended_messages: false, ..ours.clone() };
    assert!(longest(&short, &offer(&[Capability::ExtendedMessage])) <= 4096);

    let mut update = message("1770 02");
    update.extend(unhex("0000 0000"));
    update.resize(0x1770, 0);
    let state_after = |open: &[u8]| {
        let (now, id) = (epoch(), ConnectionId(1));
        let mut speaker = Speaker::new(1, false);
        speaker.set_peers(now, std::slice::from_ref(&ours));
        speaker.handle_event(now, Event::Connected { peer: KEY, connection: id, local: V4, remote: V4 });
        for octets in [open, &message("0013 04"), &update] {
            speaker.handle_input(now, id, octets);
        }
        speaker.session(KEY).unwrap().state
    };
    assert_eq!(state_after(&offer(&[Capability::ExtendedMessage])), State::Established);
    assert_eq!(state_after(&offer(&[])), State::Idle, "6000 octets were not agreed on");
}

#[test]
fn ipv4_routes_get_an_ipv6_next_hop_where_both_sides_allow_it() {
    let triple = Capability::ExtendedNextHop(&IPV4_OVER_IPV6);
    let told_v6 = told(&external(64_500), V6, &offer(&[triple]), plain(&["192.0.2.10"]));
    let update = Update::parse(&told_v6.updates[0][19..]).unwrap();
    let reach = MpReach::parse(update.attrs().next().unwrap().unwrap().value).unwrap();
    assert_eq!((reach.afi, reach.safi, update.nlri.len()), (1, 1, 0));
    assert_eq!(reach.next_hop, unhex("20010db800010000000000000000000b"));
    let routes: Vec<String> =
        Nlri::try_new(reach.nlri, Family::Ipv4Unicast).unwrap().map(|prefix| prefix.to_string()).collect();
    assert_eq!(routes, ["192.0.2.10/32"]);
    let offers = |octets: &[u8]| Open::parse(&octets[19..]).unwrap().capabilities.any(|c| c == triple);
    assert!(offers(&told_v6.open));

    let over_v4 = told(&external(64_500), V4, &offer(&[triple]), plain(&["192.0.2.10"]));
    assert!(!offers(&over_v4.open), "an IPv4 session has no IPv6 address to offer");
    assert!(!Update::parse(&over_v4.updates[0][19..]).unwrap().nlri.is_empty());
    let local: IpAddr = "fe80::1".parse().unwrap();
    assert!(!offers(&told(&external(64_500), local, &offer(&[triple]), plain(&[])).open));
    let unwilling = told(&external(64_500), V6, &offer(&[]), plain(&["192.0.2.10"]));
    assert_eq!(unwilling.updates.len(), 2, "two times End-of-RIB");
    let configured = PeerConfig { next_hop_v4: Some([10, 0, 0, 11].into()), ..external(64_500) };
    let classic = told(&configured, V6, &offer(&[triple]), plain(&["192.0.2.10"]));
    assert!(
        !Update::parse(&classic.updates[0][19..]).unwrap().nlri.is_empty(),
        "a configured one goes first"
    );
}

#[test]
fn on_an_unnumbered_link_the_link_local_address_is_the_next_hop_of_both_families() {
    let local: IpAddr = "fe80::1".parse().unwrap();
    let config = PeerConfig { link_local_next_hop: true, ..external(64_500) };
    let triple = Capability::ExtendedNextHop(&IPV4_OVER_IPV6);
    let routes = plain(&["192.0.2.10", "2001:db8::10"]);
    let next_hops = |offered: &[Capability<'_>], config: &PeerConfig| {
        let told = told(config, local, &offer(offered), routes.clone());
        let of_update = |octets: &Vec<u8>| {
            let update = Update::parse(octets.get(19..)?).ok()?;
            let first = update.attrs().next()?.ok()?;
            let reach = MpReach::parse(first.value).filter(|_| first.code == 14)?;
            Some((reach.afi, reach.next_hop.to_vec()))
        };
        told.updates.iter().filter_map(of_update).collect::<Vec<_>>()
    };
    let hop = unhex("fe800000000000000000000000000001");
    assert_eq!(next_hops(&[triple], &config), [(1, hop.clone()), (2, hop.clone())]);
    assert_eq!(next_hops(&[], &config), [(2, hop)], "without RFC 8950 only IPv6 has a way");
    assert_eq!(next_hops(&[triple], &external(64_500)), [], "elsewhere such an address leads nowhere");
}

#[test]
fn ipv4_routes_with_an_ipv6_next_hop_are_withdrawn_where_they_were_announced() {
    let (now, id) = (epoch(), ConnectionId(1));
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, &[external(64_500)]);
    speaker.set_routes(KEY, Arc::new(plain(&["192.0.2.10"])));
    speaker.handle_event(now, Event::Connected { peer: KEY, connection: id, local: V6, remote: V6 });
    speaker.handle_input(now, id, &offer(&[Capability::ExtendedNextHop(&IPV4_OVER_IPV6)]));
    speaker.handle_input(now, id, &message("0013 04"));
    let mut out = BytesMut::new();
    while speaker.poll_transmit(now, id, &mut out) {}
    speaker.set_routes(KEY, Arc::default());
    out.clear();
    while speaker.poll_transmit(now, id, &mut out) {}
    assert_eq!(out, message("0022 02 0000 000b 800f08 0001 01 20c000020a"));
}

fn passive_delayed() -> PeerConfig {
    PeerConfig { passive: true, delay_open: true, ..external(64_500) }
}

#[test]
fn a_delayed_open_waits_for_the_peers_own() {
    let (now, id) = (epoch(), ConnectionId(1));
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, &[passive_delayed()]);
    speaker.handle_event(now, Event::Accepted { peer: KEY, connection: id, local: V4, remote: V4 });
    let mut out = BytesMut::new();
    assert!(!speaker.poll_transmit(now, id, &mut out), "nothing is said to a stranger");
    assert_eq!(speaker.session(KEY).unwrap().counters.sent.opens, 0);
    speaker.handle_input(now, id, &offer(&[]));
    assert!(speaker.poll_transmit(now, id, &mut out));
    let mut kinds = Vec::new();
    while let Some(frame) = Framer::default().next(&out).unwrap() {
        kinds.push(frame.kind);
        let length = frame.octets.len();
        out.advance(length);
    }
    assert_eq!(kinds, [MessageType::Open, MessageType::Keepalive]);
    speaker.handle_input(now, id, &message("0013 04"));
    assert_eq!(speaker.session(KEY).unwrap().state, State::Established);
}

#[test]
fn a_stranger_that_says_nothing_is_let_go_after_four_minutes() {
    let (now, id) = (epoch(), ConnectionId(1));
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, &[passive_delayed()]);
    speaker.handle_event(now, Event::Accepted { peer: KEY, connection: id, local: V4, remote: V4 });
    speaker.handle_timeout(now + Duration::from_secs(239));
    assert_eq!(speaker.session(KEY).unwrap().state, State::OpenSent);
    speaker.handle_timeout(now + Duration::from_secs(240));
    assert_eq!(speaker.session(KEY).unwrap().state, State::Active);
    let mut out = BytesMut::new();
    assert!(speaker.poll_transmit(now, id, &mut out));
    assert_eq!(
        Notification::parse(&out[19..]).code,
        ErrorCode::HOLD_TIMER_EXPIRED,
        "without an OPEN before it"
    );
}

#[test]
fn two_sides_of_which_one_delays_its_open_come_up() {
    let delayed = PeerConfig { passive: true, delay_open: true, ..config(65_530, 64_500, 1) };
    let mut pair = Pair::new([&config(64_500, 65_530, 11), &delayed]);
    pair.set_routes(0, routes(0..10));
    pair.run(Duration::from_secs(1));
    assert_eq!((pair.states(), pair.tables[1].len()), ([State::Established; 2], 10));
}

#[test]
fn long_lived_graceful_restart_is_offered_beside_graceful_restart_only() {
    let long_lived = Some(Duration::from_secs(86_400));
    let codes = |config: &PeerConfig| {
        let open = told(config, V4, &offer(&[]), plain(&[])).open;
        Open::parse(&open[19..]).unwrap().capabilities.map(|c| c.code()).collect::<Vec<_>>()
    };
    assert!(!codes(&PeerConfig { long_lived, ..external(64_500) }).contains(&71));
    let graceful = PeerConfig {
        long_lived,
        graceful_restart: Some(Duration::from_secs(30)),
        families: Families::IPV4,
        ..external(64_500)
    };
    assert!(codes(&graceful).ends_with(&[64, 65, 70, 71]));
    let open = told(&graceful, V4, &offer(&[]), plain(&[])).open;
    let llgr = Open::parse(&open[19..]).unwrap().capabilities.find(|c| c.code() == 71).unwrap();
    assert_eq!(llgr, Capability::LongLivedGracefulRestart(&[0, 1, 1, 0x80, 0x01, 0x51, 0x80]));
}

/// What the router hears when its peer ends the session, both with the N bit or without.
fn last_words(ours_keep: bool, theirs_keep: bool, end: impl Fn(&mut Pair)) -> (u8, u8) {
    let graceful = |config: PeerConfig, keep| PeerConfig {
        graceful_restart: Some(Duration::from_secs(30)),
        keep_after_notification: keep,
        ..config
    };
    let mut pair = Pair::new([
        &graceful(config(64_500, 65_530, 11), ours_keep),
        &PeerConfig { passive: true, ..graceful(config(65_530, 64_500, 1), theirs_keep) },
    ]);
    pair.run(Duration::from_secs(1));
    end(&mut pair);
    pair.run(Duration::from_secs(1));
    pair.notifications[1][0]
}

#[test]
fn between_speakers_that_keep_routes_an_end_that_is_meant_is_a_hard_reset() {
    let shut = |pair: &mut Pair| pair.ends[0].stop(pair.now, Stop::AdminShutdown("bye".to_owned()));
    let removed = |pair: &mut Pair| pair.ends[0].set_peers(pair.now, &[]);
    assert_eq!(last_words(true, true, shut), (6, 9));
    assert_eq!(last_words(true, true, removed), (6, 9));
    assert_eq!(last_words(true, false, shut), (6, 2));
    assert_eq!(last_words(false, true, removed), (6, 3));
    let edited = |pair: &mut Pair| {
        let hold_time = Some(HoldTime::try_new(30).unwrap());
        pair.ends[0].set_peers(pair.now, &[PeerConfig { hold_time, ..config(64_500, 65_530, 11) }]);
    };
    assert_eq!(last_words(true, true, edited), (6, 6), "we shall be back, the routes may stay");
}

#[test]
fn a_family_that_is_agreed_on_and_has_no_next_hop_is_not_announced() {
    let announces = |next_hop_v6| {
        let ours = PeerConfig { next_hop_v6, ..config(64_500, 65_530, 11) };
        let mut pair = Pair::new([&ours, &PeerConfig { passive: true, ..config(65_530, 64_500, 1) }]);
        pair.run(Duration::from_secs(1));
        (pair.status(0).families, pair.status(0).announces)
    };
    assert_eq!(announces(None), (Families::BOTH, Families::IPV4));
    assert_eq!(announces(Some("2001:db8::1".parse().unwrap())), (Families::BOTH, Families::BOTH));
}

#[test]
fn a_peer_that_replaces_another_ends_it_as_an_edit_does_and_goes_on_counting() {
    let ours = config(64_500, 65_530, 11);
    let mut pair = Pair::new([&ours, &PeerConfig { passive: true, ..config(65_530, 64_500, 1) }]);
    pair.run(Duration::from_secs(1));
    let before = pair.status(0);
    let heir = PeerConfig { key: PeerKey(8), replaces: Some(ours.key), ..ours };
    pair.ends[0].set_peers(pair.now, std::slice::from_ref(&heir));
    let after = pair.ends[0].session(heir.key).unwrap();
    assert_eq!(after.last_down, Some((pair.now, DownReason::ConfigurationChanged)));
    assert_eq!((before.established_count, after.established_count), (1, 1));
    assert_eq!((before.announces, after.announces), (Families::BOTH, Families::NONE));
    assert_eq!(after.counters.sent.keepalives, before.counters.sent.keepalives);
    assert_eq!(after.counters.sent.notifications, 1);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.notifications[1], [(6, 6)]);
    // Nothing is left to be replaced; and what stays is not replaced.
    pair.ends[0].set_peers(pair.now, &[PeerConfig { connect_retry_max: Duration::from_secs(9), ..heir }]);
    assert_eq!(pair.ends[0].sessions().count(), 1);
    assert_eq!(pair.ends[0].session(heir.key).unwrap().last_down, after.last_down);
}

#[test]
fn the_n_bit_is_off_unless_asked_for() {
    let graceful = PeerConfig { graceful_restart: Some(Duration::from_secs(30)), ..external(64_500) };
    let bit = |config: &PeerConfig| {
        let open = told(config, V4, &offer(&[]), plain(&[])).open;
        Open::parse(&open[19..]).unwrap().capabilities.any(|capability| {
            matches!(capability, Capability::GracefulRestart(GracefulRestart { notification: true, .. }))
        })
    };
    assert!(!bit(&graceful));
    assert!(bit(&PeerConfig { keep_after_notification: true, ..graceful }));
}

#[test]
fn link_bandwidth_reads_what_it_writes() {
    let rate = LinkBandwidth::from_bits_per_second(Asn(4_200_000_001), 1e9);
    assert_eq!(rate.to_octets().to_vec(), unhex("00 04 5ba0 4cee6b28"));
    assert_eq!(LinkBandwidth::from_octets(rate.to_octets()), Some(rate));
    let local = LinkBandwidth { transitive: false, ..rate };
    assert_eq!(LinkBandwidth::from_octets(local.to_octets()), Some(local));
    assert_eq!(LinkBandwidth::from_octets([0, 2, 0, 0, 0, 0, 0, 1]), None, "a route target");
}

#[test]
fn every_error_code_has_its_name() {
    let name = |code, subcode| ErrorCode { code, subcode }.to_string();
    assert_eq!(name(3, 8), "UPDATE Message Error / Invalid NEXT_HOP Attribute");
    assert_eq!(name(2, 11), "OPEN Message Error / Role Mismatch");
    assert_eq!(name(6, 77), "Cease / subcode 77");
    assert_eq!(name(99, 1), "error code 99 subcode 1");
    for (code, subcodes) in [(1, 0..=3), (2, 0..=4), (3, 0..=6), (5, 0..=3), (6, 0..=10), (7, 0..=1)] {
        for subcode in subcodes {
            assert!(ErrorCode { code, subcode }.name().is_some(), "{code}/{subcode}");
        }
    }
    // Nothing that a peer may send is without words.
    for code in 0..=255 {
        for subcode in 0..=255 {
            assert!(!name(code, subcode).is_empty());
        }
    }
}

#[test]
fn an_inspected_session_counts_verdicts_and_keeps_the_last_faults() {
    let (now, id) = (epoch(), ConnectionId(1));
    let mut speaker = Speaker::new(1, false);
    let config = PeerConfig { receive: Receive::Inspect, ..external(64_500) };
    speaker.set_peers(now, &[config]);
    speaker.handle_event(now, Event::Connected { peer: KEY, connection: id, local: V4, remote: V4 });
    speaker.handle_input(now, id, &offer(&[]));
    speaker.handle_input(now, id, &message("0013 04"));
    let good = message("0030 02 0000 0014 400101 00 400206 0201 0000fffa 400304 0a000001 20c000020a");
    let faulty = message("0030 02 0000 0014 400101 07 400206 0201 0000fffa 400304 0a000001 20c000020a");
    let unknown =
        message("0033 02 0000 0017 400101 00 400206 0201 0000fffa 400304 0a000001 c06300 20c000020a");
    let repeated =
        message("0034 02 0000 0018 400101 00 400206 0201 0000fffa 400304 0a000001 400101 00 20c000020a");
    for octets in [&good, &good, &unknown, &repeated] {
        speaker.handle_input(now, id, octets);
    }
    for _ in 0..20 {
        speaker.handle_input(now, id, &faulty);
    }
    let status = speaker.session(KEY).unwrap();
    assert_eq!(status.state, State::Established);
    let expected = VerdictCounts { accepted: 2, discarded: 2, withdrawn: 20, reset: 0 };
    assert_eq!((status.verdicts, status.counters.received.updates), (expected, 24));
    let faults: Vec<&Fault> = speaker.faults(KEY).collect();
    assert_eq!(faults.len(), 8, "the last ones");
    assert_eq!(faults[0].octets(), faulty);
    assert_eq!(faults[0].verdict.to_string(), "ORIGIN at octet 23: the attribute cannot have this value");

    speaker.handle_input(now, id, &message("001b 02 0000 0000 21 0a000001"));
    let status = speaker.session(KEY).unwrap();
    let words = "router sent an UPDATE whose routes cannot be told: the prefixes cannot be read";
    assert_eq!(status.last_down.unwrap().1.to_string(), words);
    assert_eq!(status.verdicts.reset, 1);
    let mut out = BytesMut::new();
    while speaker.poll_transmit(now, id, &mut out) {}
    let notification = Framer::new(EXTENDED_MAX_LEN).next(&out[out.len() - 21..]).unwrap().unwrap();
    assert_eq!(notification.body, [3, 10]);
}

#[test]
fn the_receive_mode_changes_without_a_new_session() {
    let mut pair = Pair::up();
    let inspecting = PeerConfig { receive: Receive::Inspect, ..config(64_500, 65_530, 11) };
    pair.ends[0].set_peers(pair.now, &[inspecting]);
    pair.set_routes(1, routes(0..100));
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.log[0], ["up"]);
    let status = pair.status(0);
    assert_eq!(
        status.verdicts,
        VerdictCounts { accepted: 3, ..VerdictCounts::default() },
        "routes, and two times End-of-RIB"
    );
}
