//! One TCP connection: its machine, what waits to be written, and how far the peer was told.

use std::net::IpAddr;

use bytes::BytesMut;

use crate::attrs::PathStyle;
use crate::collision::{Direction, Older};
use crate::family::{Families, Family};
use crate::fsm::negotiate::Negotiated;
use crate::fsm::{Established, Machine};
use crate::peer::{ConnectionId, PeerConfig};
use crate::rib_out::{Cursor, PeerClass};
use crate::status::State;
use crate::wire::header::MessageType;
use crate::wire::put_message;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) direction: Direction,
    pub(crate) local: IpAddr,
    pub(crate) machine: Machine,
    /// How far the other connection was when this one came up; `None` when there was no other.
    pub(crate) met: Option<Older>,
    /// Our OPEN, until the driver takes it.
    open: BytesMut,
    /// Our OPEN, while it waits for the peer's.
    held_open: BytesMut,
    /// Our OPEN as it was said: one half of what the session runs on.
    pub(crate) our_open: Box<[u8]>,
    /// The peer's OPEN, once it is accepted: the other half.
    pub(crate) their_open: Box<[u8]>,
    /// At most one KEEPALIVE waits, however long the driver does not ask.
    pub(crate) keepalive_due: bool,
    /// `None` before Established.
    pub(crate) told: Option<Told>,
    pub(crate) end_of_rib_received: Families,
}

/// How far the peer was told, and in which dress.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) class: PeerClass,
    pub(crate) cursor: Cursor,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        direction: Direction,
        local: IpAddr,
        machine: Machine,
        met: Option<Older>,
        held_open: BytesMut,
    ) -> Self {
        Self {
            id,
            direction,
            local: local.to_canonical(),
            machine,
            met,
            open: BytesMut::new(),
            our_open: Box::from(&*held_open),
            their_open: Box::default(),
            held_open,
            keepalive_due: false,
            told: None,
            end_of_rib_received: Families::NONE,
        }
    }

    /// Lets our OPEN go out; returns whether it was held until now.
    pub(crate) fn release_open(&mut self) -> bool {
        if self.held_open.is_empty() {
            return false;
        }
        self.open = std::mem::take(&mut self.held_open);
        true
    }

    pub(crate) fn state(&self) -> State {
        self.machine.state()
    }

    /// How far it is, for a connection that came later.
    pub(crate) fn as_older(&self) -> Older {
        match &self.machine {
            Machine::OpenSent(_) => Older::OpenSent,
            Machine::OpenConfirm(_) => Older::OpenConfirm,
            Machine::Established(Established { negotiated, .. }) => {
                Older::Established { graceful_restart: negotiated.graceful_restart }
            }
        }
    }

    /// Moves the OPEN and the KEEPALIVE that wait into `out`; returns whether there was a KEEPALIVE.
    pub(crate) fn take_control(&mut self, out: &mut BytesMut) -> bool {
        out.extend_from_slice(&self.open.split());
        let due = std::mem::take(&mut self.keepalive_due);
        if due {
            put_message(out, MessageType::Keepalive, |_| {});
        }
        due
    }

    /// Begins to tell routes. The next hop of the socket's own family is the socket's own address.
    pub(crate) fn begin_telling(&mut self, config: &PeerConfig, negotiated: &Negotiated) -> &mut Told {
        let (own_v4, own_v6) = match self.local {
            IpAddr::V4(v4) => (Some(v4), None),
            IpAddr::V6(v6) => (None, Some(v6).filter(|v6| config.may_be_next_hop(*v6))),
        };
        // An IPv4 address in IPv6 clothes is refused by most routers as a next hop.
        let given_v6 = config.next_hop_v6.filter(|v6| v6.to_ipv4_mapped().is_none());
        let speaks = |family: Family| negotiated.families.contains(family);
        let over_v6 = own_v6.filter(|_| negotiated.extended_next_hop).map(IpAddr::V6);
        let next_hop_v4 = own_v4.or(config.next_hop_v4).map(IpAddr::V4).or(over_v6);
        let class = PeerClass {
            style: PathStyle {
                local_asn: config.local_asn,
                external: negotiated.external,
                width: negotiated.width,
                only_to_customer: negotiated.only_to_customer,
            },
            max_len: negotiated.max_len,
            next_hop_v4: next_hop_v4.filter(|_| speaks(Family::Ipv4Unicast)),
            next_hop_v6: own_v6.or(given_v6).filter(|_| speaks(Family::Ipv6Unicast)),
        };
        self.told.insert(Told { class, cursor: Cursor::new(negotiated.enhanced_refresh) })
    }
}
