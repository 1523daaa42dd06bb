//! Trials by octets: each function takes any octets, and panics when a promise of the crate is broken. They
//! are called by tests with octets that a seed makes, and by the fuzzers in `fuzz/` with theirs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use bgp_proto::wire::as_path::{AsPath, AsWidth};
use bgp_proto::wire::capability::Capability;
use bgp_proto::wire::check::{Class, Context, Reason, check, inspect};
use bgp_proto::wire::community::communities;
use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, HEADER_LEN, MessageType};
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::notification::Notification;
use bgp_proto::wire::open::{Open, OpenBuilder};
use bgp_proto::wire::refresh::RouteRefresh;
use bgp_proto::wire::update::{MpReach, MpUnreach, Update};
use bgp_proto::*;
use bytes::{Buf, BytesMut};

const PEER: PeerKey = PeerKey(1);
const CONNECTION: ConnectionId = ConnectionId(1);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11));

/// Everything that can be read off a body, in a number of steps that its length bounds.
pub(crate) fn body(octets: &[u8]) {
    let mut steps = 0;
    let _ = Open::parse(octets).map(|open| steps += open.capabilities.count());
    let notification = Notification::parse(octets);
    let _ = (notification.hard_reset(), notification.shutdown_text(), notification.code.to_string());
    let _ = RouteRefresh::parse(octets);
    for width in [AsWidth::Two, AsWidth::Four] {
        let _ = AsPath::try_new(octets, width).map(|path| steps += path.asns().count() + path.hops());
    }
    for family in Family::ALL {
        let _ = Nlri::try_new(octets, family).map(|nlri| steps += nlri.count());
    }
    let _ = MpReach::parse(octets).map(|reach| steps += reach.next_hop.len());
    let _ = MpUnreach::parse(octets).map(|unreach| steps += unreach.nlri.len());
    for max in [4096, EXTENDED_MAX_LEN] {
        let _ = Framer::new(max).next(octets);
    }
    update(octets);
    assert!(steps <= 20 * (octets.len() + 1), "{steps} steps for {} octets", octets.len());
}

/// The one pass over an UPDATE finds what a search for each attribute finds, and nothing that is faulty.
pub(crate) fn update(octets: &[u8]) {
    let Ok(update) = Update::parse(octets) else { return };
    assert_eq!(
        update.withdrawn.len() + update.attributes.len() + update.nlri.len() + 4,
        octets.len(),
        "three parts and two lengths"
    );
    let _ = update.end_of_rib();
    for (external, width, families) in [
        (true, AsWidth::Four, Families::BOTH),
        (false, AsWidth::Four, Families::IPV4),
        (true, AsWidth::Two, Families::IPV6),
    ] {
        let context = Context { external, width, families, extended_next_hop: !external };
        let inspected = inspect(&update, &context);
        let verdict = inspected.verdict();
        assert_eq!(verdict, check(&update, &context));
        assert!(usize::from(verdict.at) <= HEADER_LEN + octets.len(), "{verdict:?}");
        assert_eq!(verdict.class == Class::Accept, verdict.reason == Reason::None);
        assert!(!verdict.to_string().is_empty());
        let routes = inspected.withdrawn().count() + inspected.announced().count();
        assert!(routes <= octets.len());
        let _ = inspected.reached().map(|(_, nlri)| assert!(nlri.count() <= octets.len()));
        let _ = inspected.unreached().map(|nlri| assert!(nlri.count() <= octets.len()));
        let first = |code| update.attrs().flatten().find(|attribute| attribute.code == code);
        if let Some(path) = inspected.as_path() {
            let searched =
                AsPath::try_new(first(2).expect("it was found").value, width).expect("it was good");
            assert!(
                path.asns().eq(searched.asns()) && path.segments().count() == searched.segments().count()
            );
            assert!(path.asns().all(|asn| asn != Asn(0)));
            let mut sum = 0_u32;
            for asn in path.asns() {
                sum = sum.wrapping_add(asn.0);
            }
            assert_eq!(
                path.asns().fold(0, |sum: u32, asn| sum.wrapping_add(asn.0)),
                sum,
                "one by one and all at once"
            );
        }
        let found: Vec<Community> = inspected.communities().collect();
        if !found.is_empty() {
            assert_eq!(found, communities(first(8).expect("it was found").value).collect::<Vec<_>>());
        }
        let _ = (inspected.origin(), inspected.next_hop(), inspected.med(), inspected.local_pref());
        let _ = (inspected.large_communities().count(), inspected.ext_communities().count());
        if verdict.class == Class::Accept && !update.nlri.is_empty() {
            assert!(inspected.origin().is_some() && inspected.as_path().is_some());
            assert!(inspected.next_hop().is_some());
        }
    }
}

/// What is accepted as an OPEN is written again as an OPEN that says the same.
pub(crate) fn open(octets: &[u8]) {
    let Ok(open) = Open::parse(octets) else { return };
    let capabilities: Vec<Capability<'_>> = open.capabilities.collect();
    let mut out = BytesMut::new();
    OpenBuilder {
        asn: open.asn,
        hold_time: open.hold_time,
        router_id: open.router_id,
        capabilities: &capabilities,
    }
    .encode(&mut out);
    if out.len() > 4096 {
        return;
    }
    let frame = Framer::default().next(&out).expect("a legal header").expect("a whole message");
    assert_eq!(frame.octets.len(), out.len());
    let again = Open::parse(frame.body).expect("what was accepted is accepted again");
    assert_eq!((again.hold_time, again.router_id), (open.hold_time, open.router_id));
    assert_eq!(again.capabilities.collect::<Vec<_>>(), capabilities);
    assert!(again.asn == open.asn, "the four-octet capability is among them, or the number is short");
}

/// A session with a router that sends these octets after the handshake, in pieces.
pub(crate) fn session(now: Instant, octets: &[u8]) {
    for receive in [Receive::Discard, Receive::Inspect] {
        let mut speaker = established(now, receive);
        let (mut unread, mut piece) = (Vec::new(), 7);
        for part in octets.chunks(97) {
            unread.extend_from_slice(part);
            piece = piece * 31 % 251 + 1;
            let used = speaker.handle_input(now, CONNECTION, &unread);
            assert!(used <= unread.len());
            unread.drain(..used);
            assert!(unread.len() < usize::from(EXTENDED_MAX_LEN) || speaker.session(PEER).is_none());
        }
        let mut out = BytesMut::new();
        let mut turns = 0;
        while speaker.poll_transmit(now, CONNECTION, &mut out) {
            turns += 1;
            assert!(turns < 1_000, "what is to be said has an end");
        }
        let mut rest = &out[..];
        while let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(rest).expect("our own frames are legal") {
            rest.advance(frame.octets.len());
        }
        assert!(rest.is_empty(), "whole messages only");
        while speaker.poll_event().is_some() {}
        let status = speaker.session(PEER).expect("the peer is configured");
        let _ = status.last_down.map(|(_, reason)| reason.to_string());
        assert!(speaker.faults(PEER).count() <= 8);
    }
}

/// Octets as a script of tables for a router that reads slowly: in the end it knows what it should.
pub(crate) fn tables(now: Instant, script: &[u8]) {
    let mut speaker = established(now, Receive::Discard);
    let (mut wanted, mut known) = (RouteSet::new(), BTreeMap::new());
    for step in script.chunks_exact(4).take(200) {
        let &[what, number, count, med] = step else { continue };
        match what % 5 {
            0 => wanted = wanted.with(prefix(number, 0), attrs(med)),
            1 => wanted = wanted.without(&prefix(number, 0)),
            2 => {
                let more = (0..=count).map(|low| (prefix(number, low), attrs(med % 3)));
                let all: Vec<_> =
                    wanted.iter().map(|(prefix, attrs)| (prefix, Arc::clone(attrs))).chain(more).collect();
                wanted = all.into_iter().collect();
            }
            3 => {
                let mut out = BytesMut::new();
                let _ = speaker.poll_transmit(now, CONNECTION, &mut out);
                learn(&out, &mut known);
                continue;
            }
            _ => {
                let family = [1, 2][usize::from(number % 2)];
                let mut refresh = vec![0xFF; 16];
                refresh.extend([0, 23, 5, 0, family, 0, 1]);
                speaker.handle_input(now, CONNECTION, &refresh);
                continue;
            }
        }
        speaker.set_routes(PEER, Arc::new(wanted.clone()));
    }
    let mut out = BytesMut::new();
    while speaker.poll_transmit(now, CONNECTION, &mut out) {}
    learn(&out, &mut known);
    let expected: BTreeMap<Prefix, u32> =
        wanted.iter().map(|(prefix, attrs)| (prefix, attrs.med.unwrap_or(0))).collect();
    assert_eq!(known, expected, "replaying all messages gives the table");
    let status = speaker.session(PEER).expect("the peer is configured");
    assert_eq!(usize::try_from(status.prefixes_sent).expect("fits"), expected.len());
}

/// A speaker whose session with one router is Established.
pub(crate) fn established(now: Instant, receive: Receive) -> Speaker {
    let id = RouterId::try_new(Ipv4Addr::new(10, 0, 0, 11)).expect("not zero");
    let mut config = PeerConfig::new(PEER, Asn(64_500), RemoteAs::External, id);
    config.receive = receive;
    config.next_hop_v6 = Some(Ipv6Addr::LOCALHOST);
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, &[config]);
    let event = Event::Connected { peer: PEER, connection: CONNECTION, local: LOCAL, remote: LOCAL };
    speaker.handle_event(now, event);
    let capabilities = [
        Capability::family(Family::Ipv4Unicast),
        Capability::family(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::ExtendedMessage,
        Capability::FourOctetAs(Asn(65_530)),
        Capability::EnhancedRouteRefresh,
    ];
    let mut open = BytesMut::new();
    let router_id = RouterId::try_new(Ipv4Addr::new(10, 0, 0, 1)).expect("not zero");
    OpenBuilder { asn: Asn(65_530), hold_time: HoldTime::DEFAULT, router_id, capabilities: &capabilities }
        .encode(&mut open);
    open.extend_from_slice(&[0xFF; 16]);
    open.extend_from_slice(&[0, 19, 4]);
    assert_eq!(speaker.handle_input(now, CONNECTION, &open), open.len());
    assert_eq!(speaker.session(PEER).expect("the peer is configured").state, State::Established);
    let mut out = BytesMut::new();
    while speaker.poll_transmit(now, CONNECTION, &mut out) {}
    speaker
}

fn prefix(high: u8, low: u8) -> Prefix {
    match high % 3 {
        0 => Prefix::host(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, high.into(), low.into()).into()),
        _ => Prefix::host(Ipv4Addr::new(10, 0, high, low).into()),
    }
}

fn attrs(med: u8) -> Arc<PathAttrs> {
    Arc::new(PathAttrs { med: Some(med.into()), ..PathAttrs::default() })
}

fn learn(mut octets: &[u8], known: &mut BTreeMap<Prefix, u32>) {
    let context =
        Context { external: true, width: AsWidth::Four, families: Families::BOTH, extended_next_hop: false };
    while let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(octets).expect("our own frames are legal") {
        octets.advance(frame.octets.len());
        if frame.kind != MessageType::Update {
            continue;
        }
        let update = Update::parse(frame.body).expect("our own lengths add up");
        let inspected = inspect(&update, &context);
        assert_eq!(inspected.verdict().class, Class::Accept, "what we send is good");
        let gone = inspected.withdrawn().chain(inspected.unreached().into_iter().flatten());
        for prefix in gone {
            assert!(known.remove(&prefix).is_some(), "only what was told is withdrawn");
        }
        let here = inspected.announced().chain(inspected.reached().into_iter().flat_map(|(_, nlri)| nlri));
        known.extend(here.map(|prefix| (prefix, inspected.med().unwrap_or(0))));
    }
    assert!(octets.is_empty(), "whole messages only");
}
