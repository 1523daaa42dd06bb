//! One speaker and one router that says what a test tells it to, octet by octet.

use std::time::Instant;

use bgp_proto::wire::as_path::AsWidth;
use bgp_proto::wire::capability::Capability;
use bgp_proto::wire::check::{Class, Context, check};
use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::wire::update::Update;
use bgp_proto::*;
use bytes::{Buf, BytesMut};

use crate::pair::{KEY, epoch};
use crate::vectors::{V4, external, message, peer_open, unhex};

/// One speaker with one scripted router.
pub(crate) struct Scripted {
    pub(crate) speaker: Speaker,
    pub(crate) now: Instant,
    next: u64,
}

impl Scripted {
    pub(crate) fn new(config: PeerConfig) -> Self {
        let (mut speaker, now) = (Speaker::new(1, false), epoch());
        speaker.set_peers(now, &[config]);
        Self { speaker, now, next: 1 }
    }

    /// A session with a router of AS 65530 that has these capabilities besides both families.
    pub(crate) fn up(config: PeerConfig, capabilities: &[Capability<'_>]) -> (Self, ConnectionId) {
        let mut scripted = Self::new(config);
        let id = scripted.connect();
        scripted.input(id, &open(capabilities));
        scripted.input(id, &message("0013 04"));
        assert_eq!(scripted.state(), State::Established, "{:?}", scripted.speaker.session(KEY));
        scripted.drain(id);
        (scripted, id)
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.speaker
            .handle_event(self.now, Event::Connected { peer: KEY, connection, local: V4, remote: V4 });
        connection
    }

    pub(crate) fn accept(&mut self) -> ConnectionId {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.speaker.handle_event(self.now, Event::Accepted { peer: KEY, connection, local: V4, remote: V4 });
        connection
    }

    pub(crate) fn input(&mut self, id: ConnectionId, octets: &[u8]) -> usize {
        self.speaker.handle_input(self.now, id, octets)
    }

    pub(crate) fn state(&self) -> State {
        self.speaker.session(KEY).unwrap().state
    }

    /// Everything that is to be written on a connection, and the bodies of its messages.
    pub(crate) fn drain(&mut self, id: ConnectionId) -> Vec<(MessageType, Vec<u8>)> {
        let mut out = BytesMut::new();
        while self.speaker.poll_transmit(self.now, id, &mut out) {}
        while self.speaker.poll_event().is_some() {}
        let mut messages = Vec::new();
        while let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(&out).unwrap() {
            messages.push((frame.kind, frame.body.to_vec()));
            let length = frame.octets.len();
            out.advance(length);
        }
        messages
    }

    /// The NOTIFICATION among what is to be written.
    pub(crate) fn answer(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        self.drain(id).into_iter().find(|(kind, _)| *kind == MessageType::Notification).map(|(_, body)| body)
    }
}

pub(crate) fn open(capabilities: &[Capability<'_>]) -> Vec<u8> {
    let families = Family::ALL.map(Capability::family);
    peer_open(65_530, &[&families[..], &[Capability::FourOctetAs(Asn(65_530))], capabilities].concat())
}

/// An OPEN of AS 65530 with these octets as optional parameters.
pub(crate) fn raw_open(parameters: &[u8]) -> Vec<u8> {
    framed(1, &[&unhex("04 fffa 005a 0a000001")[..], parameters].concat())
}

pub(crate) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xFF; 16];
    octets.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets
}

/// An UPDATE with these withdrawn routes, attributes and routes.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let counted = |octets: &[u8]| [&u16::try_from(octets.len()).unwrap().to_be_bytes()[..], octets].concat();
    framed(2, &[counted(withdrawn), counted(attributes), nlri.to_vec()].concat())
}

pub(crate) const MANDATORY: &str = "400101 00 400206 0201 0000fffa 400304 0a000001";
pub(crate) const ROUTE: &str = "20c000020a";

pub(crate) const EBGP: Context =
    Context { external: true, width: AsWidth::Four, families: Families::BOTH, extended_next_hop: false };

pub(crate) fn class_of(octets: &[u8], context: &Context) -> Class {
    check(&Update::parse(&octets[19..]).unwrap(), context).class
}

/// Both receive modes bear it, and the session lives on: a KEEPALIVE behind it is still counted.
pub(crate) fn borne(octets: &[u8]) {
    for receive in [Receive::Discard, Receive::Inspect] {
        let config = PeerConfig { receive, ..external(64_500) };
        let (mut scripted, id) = Scripted::up(config, &[Capability::ExtendedMessage]);
        let before = scripted.speaker.session(KEY).unwrap().counters.received.keepalives;
        scripted.input(id, &[octets, &message("0013 04")].concat());
        let after = scripted.speaker.session(KEY).unwrap();
        assert_eq!(after.state, State::Established, "{receive:?} {:?} {octets:02x?}", after.last_down);
        assert_eq!(after.counters.received.keepalives, before + 1);
    }
}
