//! Octets that other implementations agree on, read and written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::wire::capability::{Capability, GracefulRestart};
use bgp_proto::wire::community::LinkBandwidth;
use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::wire::notification::{ErrorCode, Notification, shutdown_data};
use bgp_proto::wire::open::{Open, OpenBuilder};
use bgp_proto::*;
use bytes::{Buf, BytesMut};

use crate::pair::{KEY, epoch, router_id};

/// A message out of hexadecimal digits without its marker.
pub(crate) fn message(hex: &str) -> Vec<u8> {
    let mut octets = vec![0xFF; 16];
    octets.extend(unhex(hex));
    octets
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

const OPEN: &str = "004b 01 04 5ba0 005a 0a00000b 2e 02 2c 0104 00010001 0104 00020001 0200 0506 000100010002 0600 \
                    400a c078 00010180 00020180 4104 fa56ea01 4600";

#[test]
fn open_reads_and_writes_all_capabilities() {
    let triple = unhex("000100010002");
    let tuples = unhex("00010180 00020180");
    let graceful =
        GracefulRestart { restarting: true, notification: true, restart_time: 120, tuples: &tuples };
    let capabilities = [
        Capability::family(Family::Ipv4Unicast),
        Capability::family(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::ExtendedNextHop(&triple),
        Capability::ExtendedMessage,
        Capability::GracefulRestart(graceful),
        Capability::FourOctetAs(Asn(4_200_000_001)),
        Capability::EnhancedRouteRefresh,
    ];
    let octets = message(OPEN);
    let frame = Framer::default().next(&octets).unwrap().unwrap();
    let open = Open::parse(frame.body).unwrap();
    assert_eq!((open.asn, open.hold_time.seconds(), open.router_id), (Asn(4_200_000_001), 90, router_id(11)));
    assert_eq!(open.capabilities.collect::<Vec<_>>(), capabilities);
    assert_eq!(graceful.families().collect::<Vec<_>>(), [(1, 1, 0x80), (2, 1, 0x80)]);

    let mut out = BytesMut::new();
    OpenBuilder {
        asn: open.asn,
        hold_time: open.hold_time,
        router_id: open.router_id,
        capabilities: &capabilities,
    }
    .encode(&mut out);
    assert_eq!(out, octets);
}

/// A session over a scripted connection: what our speaker says after the peer's OPEN and KEEPALIVE.
pub(crate) struct Told {
    pub(crate) open: Vec<u8>,
    pub(crate) updates: Vec<Vec<u8>>,
}

pub(crate) fn told(config: &PeerConfig, local: IpAddr, peer_open: &[u8], routes: RouteSet) -> Told {
    let (now, id) = (epoch(), ConnectionId(1));
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, std::slice::from_ref(config));
    speaker.set_routes(KEY, Arc::new(routes));
    speaker.handle_event(now, Event::Connected { peer: KEY, connection: id, local, remote: local });
    assert_eq!(speaker.handle_input(now, id, peer_open), peer_open.len());
    speaker.handle_input(now, id, &message("0013 04"));
    assert_eq!(speaker.session(KEY).unwrap().state, State::Established, "{:?}", speaker.session(KEY));
    let mut out = BytesMut::new();
    while speaker.poll_transmit(now, id, &mut out) {}
    let mut told = Told { open: Vec::new(), updates: Vec::new() };
    while out.has_remaining() {
        let frame = Framer::new(EXTENDED_MAX_LEN).next(&out).unwrap().unwrap();
        match frame.kind {
            MessageType::Open => told.open = frame.octets.to_vec(),
            MessageType::Update => told.updates.push(frame.octets.to_vec()),
            MessageType::Keepalive => {}
            MessageType::Notification | MessageType::RouteRefresh => panic!("{frame:?}"),
        }
        let length = frame.octets.len();
        out.advance(length);
    }
    told
}

pub(crate) fn external(local_asn: u32) -> PeerConfig {
    PeerConfig::new(KEY, Asn(local_asn), RemoteAs::External, router_id(11))
}

pub(crate) fn peer_open(asn: u32, capabilities: &[Capability<'_>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    OpenBuilder { asn: Asn(asn), hold_time: HoldTime::DEFAULT, router_id: router_id(1), capabilities }
        .encode(&mut out);
    out.to_vec()
}

fn both_families(asn: u32) -> Vec<u8> {
    let families = Family::ALL.map(Capability::family);
    peer_open(asn, &[families[0], families[1], Capability::FourOctetAs(Asn(asn))])
}

pub(crate) fn plain(prefixes: &[&str]) -> RouteSet {
    with_attrs(prefixes, PathAttrs::default())
}

fn with_attrs(prefixes: &[&str], attrs: PathAttrs) -> RouteSet {
    let attrs = Arc::new(attrs);
    prefixes.iter().map(|prefix| (Prefix::host(prefix.parse().unwrap()), Arc::clone(&attrs))).collect()
}

pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11));
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xb));
const END_V4: &str = "0017 02 0000 0000";
const END_V6: &str = "001d 02 0000 0006 800f03 0002 01";

#[test]
fn ipv4_routes_share_one_update_behind_the_sockets_own_next_hop() {
    let told =
        told(&external(4_200_000_001), V4, &both_families(65_530), plain(&["192.0.2.10", "192.0.2.11"]));
    let update = "0035 02 0000 0014 400101 00 400206 0201 fa56ea01 400304 0a00000b 20c000020a 20c000020b";
    assert_eq!(told.updates, [message(update), message(END_V4), message(END_V6)]);
}

#[test]
fn ipv6_routes_come_in_mp_reach_which_comes_first() {
    let told =
        told(&external(4_200_000_001), V6, &both_families(65_530), plain(&["2001:db8::10", "192.0.2.10"]));
    let update = "004d 02 0000 0036 800e26 0002 01 10 20010db800010000000000000000000b 00 \
                  80 20010db8000000000000000000000010 400101 00 400206 0201 fa56ea01";
    assert_eq!(told.updates, [message(update), message(END_V4), message(END_V6)], "IPv4 has no next hop");
}

#[test]
fn the_family_of_the_other_socket_uses_the_configured_next_hop() {
    let config = PeerConfig { next_hop_v4: Some(Ipv4Addr::new(10, 0, 0, 11)), ..external(4_200_000_001) };
    let told = told(&config, V6, &both_families(65_530), plain(&["192.0.2.10"]));
    let update = "0030 02 0000 0014 400101 00 400206 0201 fa56ea01 400304 0a00000b 20c000020a";
    assert_eq!(told.updates[0], message(update));
}

#[test]
fn a_withdrawn_ipv6_route_is_in_mp_unreach_alone() {
    let (now, id) = (epoch(), ConnectionId(1));
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, &[external(64_500)]);
    let wanted = plain(&["2001:db8::10"]);
    speaker.set_routes(KEY, Arc::new(wanted.clone()));
    speaker.handle_event(now, Event::Connected { peer: KEY, connection: id, local: V6, remote: V6 });
    speaker.handle_input(now, id, &both_families(65_530));
    speaker.handle_input(now, id, &message("0013 04"));
    let mut out = BytesMut::new();
    while speaker.poll_transmit(now, id, &mut out) {}
    speaker.set_routes(KEY, Arc::new(RouteSet::new()));
    out.clear();
    while speaker.poll_transmit(now, id, &mut out) {}
    assert_eq!(out, message("002e 02 0000 0017 800f14 0002 01 80 20010db8000000000000000000000010"));
}

#[test]
fn ibgp_has_an_empty_path_and_a_local_preference() {
    let config = PeerConfig { remote: RemoteAs::Internal, ..external(64_500) };
    let told = told(&config, V4, &both_families(64_500), plain(&["192.0.2.10"]));
    let update = "0031 02 0000 0015 400101 00 400200 400304 0a00000b 400504 00000064 20c000020a";
    assert_eq!(told.updates[0], message(update));
}

#[test]
fn ebgp_never_hears_a_local_preference() {
    let attrs = PathAttrs { local_pref: Some(200), prepend: 1, med: Some(5), ..PathAttrs::default() };
    let told = told(&external(64_500), V4, &both_families(65_530), with_attrs(&["192.0.2.10"], attrs));
    let update = "003b 02 0000 001f 400101 00 40020a 0202 0000fbf4 0000fbf4 400304 0a00000b 800404 00000005 20c000020a";
    assert_eq!(told.updates[0], message(update));
}

#[test]
fn a_two_octet_peer_gets_as_trans_and_the_true_path_beside_it() {
    let open = peer_open(65_530, &[]);
    let told = told(&external(4_200_000_001), V4, &open, plain(&["192.0.2.10"]));
    let update =
        "0037 02 0000 001b 400101 00 400204 0201 5ba0 400304 0a00000b c01106 0201 fa56ea01 20c000020a";
    assert_eq!(told.updates, [message(update), message(END_V4)]);
    assert_eq!(told.open[20..22], [0x5b, 0xa0], "My Autonomous System is AS_TRANS too");
}

#[test]
fn communities_are_sorted_and_go_out_once() {
    let attrs = PathAttrs {
        communities: vec![
            "64500:2".parse().unwrap(),
            Community::GRACEFUL_SHUTDOWN,
            "64500:2".parse().unwrap(),
        ],
        large_communities: vec!["64500:1:2".parse().unwrap()],
        ext_communities: vec![
            LinkBandwidth { asn: 23_456, octets_per_second: 125e6, transitive: true }.to_octets(),
        ],
        ..PathAttrs::default()
    };
    let told = told(&external(64_500), V4, &both_families(65_530), with_attrs(&["192.0.2.10"], attrs));
    let tail = unhex(
        "c00808 fbf40002 ffff0000 c01008 00 04 5ba0 4cee6b28 c0200c 0000fbf4 00000001 00000002 20c000020a",
    );
    assert!(told.updates[0].ends_with(&tail), "{:02x?}", told.updates[0]);
}

#[test]
fn a_path_of_256_numbers_opens_a_second_segment() {
    let attrs = PathAttrs { prepend: 255, ..PathAttrs::default() };
    let told = told(&external(64_500), V4, &both_families(65_530), with_attrs(&["192.0.2.10"], attrs));
    let update = wire::update::Update::parse(&told.updates[0][19..]).unwrap();
    let path = update.attrs().flatten().find(|attribute| attribute.code == 2).unwrap();
    let path = wire::as_path::AsPath::try_new(path.value, wire::as_path::AsWidth::Four).unwrap();
    assert_eq!((path.segments().count(), path.hops(), path.first()), (2, 256, Some(Asn(64_500))));
}

#[test]
fn our_open_offers_graceful_restart_only_when_asked_to() {
    let plain = told(&external(64_500), V4, &both_families(65_530), RouteSet::new());
    let codes = |octets: &[u8]| {
        Open::parse(&octets[19..]).unwrap().capabilities.map(|c| c.code()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&plain.open), [1, 1, 2, 6, 65, 70]);
    let config = PeerConfig {
        graceful_restart: Some(Duration::from_secs(30)),
        families: Families::IPV4,
        ..external(64_500)
    };
    let graceful = told(&config, V4, &both_families(65_530), RouteSet::new());
    assert_eq!(codes(&graceful.open), [1, 2, 6, 64, 65, 70]);
    let restart = Open::parse(&graceful.open[19..]).unwrap().capabilities.find(|c| c.code() == 64).unwrap();
    let expected = GracefulRestart {
        restarting: false,
        notification: false,
        restart_time: 30,
        tuples: &[0, 1, 1, 0x80],
    };
    assert_eq!(restart, Capability::GracefulRestart(expected));
}

#[test]
fn a_restarted_speaker_says_so_to_every_peer_until_its_session_is_up() {
    let (now, config) =
        (epoch(), PeerConfig { graceful_restart: Some(Duration::from_secs(30)), ..external(64_500) });
    let mut speaker = Speaker::new(1, true);
    speaker.set_peers(now, &[]);
    speaker.set_peers(now, std::slice::from_ref(&config));
    // A router that calls later, or is found later, may keep our routes from before as well.
    let later = PeerKey(KEY.0 + 1);
    speaker.set_peers(now, &[config.clone(), PeerConfig { key: later, ..config }]);
    let mut restarting = |peer: PeerKey, id: u64| {
        let connection = ConnectionId(id);
        speaker.handle_event(now, Event::Connected { peer, connection, local: V4, remote: V4 });
        let mut out = BytesMut::new();
        assert!(speaker.poll_transmit(now, connection, &mut out));
        if id % 10 > 1 {
            speaker.handle_input(now, connection, &both_families(65_530));
            speaker.handle_input(now, connection, &message("0013 04"));
        }
        speaker.handle_event(now, Event::Closed { connection, reason: CloseCause::Reset });
        let mut capabilities = Open::parse(&out[19..]).unwrap().capabilities;
        capabilities.any(|capability| {
            matches!(capability, Capability::GracefulRestart(GracefulRestart { restarting: true, .. }))
        })
    };
    for peer in [KEY, later] {
        let first = 10 * u64::from(peer.0);
        let said = [1, 2, 3].map(|attempt| restarting(peer, first + attempt));
        assert_eq!(said, [true, true, false], "{peer:?}");
    }
}

#[test]
fn cease_carries_its_text_and_hard_reset_its_reason() {
    let data = shutdown_data("node drain");
    let shutdown = Notification { code: ErrorCode::ADMIN_SHUTDOWN, data: &data };
    let mut out = BytesMut::new();
    shutdown.encode(&mut out);
    assert_eq!(out, message("0020 03 06 02 0a 6e6f646520647261696e"));
    assert_eq!(Notification::parse(&out[19..]), shutdown);
    assert_eq!(shutdown.shutdown_text().as_deref(), Some("node drain"));

    let octets = message("0017 03 06 09 06 03");
    let inner = Notification::parse(&octets[19..]).hard_reset().unwrap();
    assert_eq!(inner.code, ErrorCode::PEER_DECONFIGURED);
}

#[test]
fn a_shutdown_text_is_made_fit_for_logs() {
    let check = |data: &[u8], expected: Option<&str>| {
        let notification = Notification { code: ErrorCode::ADMIN_RESET, data };
        assert_eq!(notification.shutdown_text().as_deref(), expected);
    };
    check(b"", None);
    check(b"\0", None);
    check(b"\x05hello", Some("hello"));
    check(b"\xFFhello", Some("hello"));
    check(b"\x03hello", Some("hel"));
    check(b"\x09a\x1b[31mb\nc", Some("a [31mb c"));
    check(b"\x03a\xFFb", Some("a\u{FFFD}b"));
    check("\u{7}a\u{202E}b".as_bytes(), Some("a b"));
}

#[test]
fn our_own_text_is_cut_at_a_character() {
    let data = shutdown_data(&"ä".repeat(200));
    assert_eq!((data.len(), data[0]), (255, 254));
}

#[test]
fn link_bandwidth_is_in_octets_a_second() {
    let check = |transitive, expected| {
        let bandwidth = LinkBandwidth { asn: 23_456, octets_per_second: 125e6, transitive };
        assert_eq!(bandwidth.to_octets().to_vec(), unhex(expected));
    };
    check(false, "40 04 5ba0 4cee6b28");
    check(true, "00 04 5ba0 4cee6b28");
}
