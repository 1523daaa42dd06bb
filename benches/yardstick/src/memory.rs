//! A session without sockets: one `Speaker`, one peer, octets in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use bgp_proto::{
    Asn, ConnectionId, Event, Families, PathAttrs, PeerConfig, PeerKey, Prefix, Receive, RemoteAs, RouteSet,
    RouterId, Speaker, SpeakerEvent,
};
use bytes::BytesMut;

use crate::router::{self, ROUTER_ASN};

/// The AS of the benches' node.
pub const NODE_ASN: u32 = 64_500;

/// The one peer.
pub const PEER: PeerKey = PeerKey(1);

/// The one connection.
pub const CONNECTION: ConnectionId = ConnectionId(1);

/// `count` host routes from 10.0.0.0 on, with one attribute set.
#[must_use]
pub fn routes(count: usize) -> Arc<RouteSet> {
    let attrs = Arc::new(PathAttrs::default());
    Arc::new(addresses(count).map(|address| (Prefix::host(address.into()), Arc::clone(&attrs))).collect())
}

/// The addresses of [`routes`].
pub fn addresses(count: usize) -> impl Iterator<Item = [u8; 4]> {
    (0x0A00_0000_u32..).take(count).map(u32::to_be_bytes)
}

/// A speaker whose session with [`PEER`] is Established, with nothing to send.
///
/// # Panics
/// When the session does not come up.
#[must_use]
pub fn established(now: Instant) -> Speaker {
    established_with(now, Receive::Discard)
}

/// The same, with a choice of what becomes of received UPDATEs.
///
/// # Panics
/// When the session does not come up.
#[must_use]
pub fn established_with(now: Instant, receive: Receive) -> Speaker {
    let router_id = RouterId::try_new(Ipv4Addr::new(192, 0, 2, 7)).expect("not zero");
    let mut peer = PeerConfig::new(PEER, Asn(NODE_ASN), RemoteAs::Exactly(Asn(ROUTER_ASN)), router_id);
    // Inspected streams hold both families; what is written here is IPv4.
    peer.families = match receive {
        Receive::Discard => Families::IPV4,
        Receive::Inspect => Families::BOTH,
    };
    peer.receive = receive;
    let mut speaker = Speaker::new(1, false);
    speaker.set_peers(now, &[peer]);
    speaker.set_routes(PEER, Arc::default());
    let (local, remote): (IpAddr, IpAddr) = ([192, 0, 2, 7].into(), [192, 0, 2, 1].into());
    while let Some(event) = speaker.poll_event() {
        if event == (SpeakerEvent::Dial { peer: PEER }) {
            speaker.handle_event(now, Event::Connected { peer: PEER, connection: CONNECTION, local, remote });
        }
    }
    drain(&mut speaker, now);
    for message in [router::open(), router::keepalive()] {
        let consumed = speaker.handle_input(now, CONNECTION, &message);
        assert_eq!(consumed, message.len(), "whole messages are consumed");
        drain(&mut speaker, now);
    }
    let mut up = false;
    while let Some(event) = speaker.poll_event() {
        up |= event == (SpeakerEvent::Up { peer: PEER });
    }
    assert!(up, "the session is Established");
    drain(&mut speaker, now);
    speaker
}

/// Everything that the speaker has to say on [`CONNECTION`]: octets and the calls that it took.
pub fn drain(speaker: &mut Speaker, now: Instant) -> (BytesMut, usize) {
    let mut all = BytesMut::new();
    let calls = drain_into(speaker, now, &mut all);
    (all, calls)
}

/// The same into a buffer of the caller's; returns the calls that it took.
pub fn drain_into(speaker: &mut Speaker, now: Instant, all: &mut BytesMut) -> usize {
    let mut calls = 0;
    loop {
        let before = all.len();
        let more = speaker.poll_transmit(now, CONNECTION, all);
        calls += 1;
        if !more && all.len() == before {
            return calls;
        }
    }
}
