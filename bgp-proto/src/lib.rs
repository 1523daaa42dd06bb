//! A BGP-4 speaker for announcers, without sockets, clock, threads or chance.
//!
//! [`Speaker`] holds the sessions of one node. Events and octets go in with the time at which they
//! happened; octets, deadlines and things to do come out. What it says is what the caller wants at that
//! moment: peers and routes are handed over as complete sets, and the speaker finds the difference.
//! It imports nothing: of what routers announce it reads frames, End-of-RIB and fatal errors, and, where
//! [`Receive::Inspect`] asks for it, whether they are any good.
//!
//! # How to drive it
//!
//! After every call that can change something, take the events and offer each writable connection to
//! [`Speaker::poll_transmit`]. Transmitting may itself cause events, so events are asked for once more. A
//! timeout that comes early does nothing. After [`SpeakerEvent::Down`] a connection gets no more
//! routes; the NOTIFICATION that may be left is what `poll_transmit` yields after [`SpeakerEvent::HangUp`].
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use bgp_proto::*;
//! use bytes::BytesMut;
//!
//! /// What the loop needs of the world. A real one waits for sockets and for the deadline.
//! trait World {
//!     fn now(&self) -> Instant;
//!     fn dial(&mut self, peer: PeerKey);
//!     fn write(&mut self, connection: ConnectionId, octets: &[u8]);
//!     fn hang_up(&mut self, connection: ConnectionId, how: HangUp);
//!     /// Waits until something happens or the deadline passes; `None` ends the loop.
//!     fn wait(&mut self, deadline: Option<Instant>) -> Option<Happening>;
//! }
//!
//! enum Happening {
//!     Deadline,
//!     Socket(Event),
//!     Input(ConnectionId, Vec<u8>),
//!     Wanted(Vec<PeerConfig>, BTreeMap<PeerKey, Arc<RouteSet>>),
//! }
//!
//! fn drive(speaker: &mut Speaker, world: &mut impl World) {
//!     let mut unread: BTreeMap<ConnectionId, Vec<u8>> = BTreeMap::new();
//!     let mut out = BytesMut::with_capacity(64 * 1024);
//!     while let Some(happening) = world.wait(speaker.poll_timeout()) {
//!         let now = world.now();
//!         match happening {
//!             Happening::Deadline => speaker.handle_timeout(now),
//!             Happening::Socket(event) => {
//!                 if let Event::Connected { connection, .. } | Event::Accepted { connection, .. } = event {
//!                     unread.insert(connection, Vec::new());
//!                 }
//!                 speaker.handle_event(now, event);
//!             }
//!             Happening::Input(connection, octets) => {
//!                 let buffer = unread.entry(connection).or_default();
//!                 buffer.extend(octets);
//!                 let used = speaker.handle_input(now, connection, buffer);
//!                 buffer.drain(..used);
//!             }
//!             Happening::Wanted(peers, routes) => {
//!                 speaker.set_peers(now, &peers);
//!                 for (peer, routes) in routes {
//!                     speaker.set_routes(peer, routes);
//!                 }
//!             }
//!         }
//!         // A real loop asks only connections whose sockets take octets, and tells of the others.
//!         for connection in unread.keys() {
//!             while speaker.poll_transmit(now, *connection, &mut out) {
//!                 world.write(*connection, &out.split());
//!             }
//!         }
//!         while let Some(event) = speaker.poll_event() {
//!             match event {
//!                 SpeakerEvent::Dial { peer } => world.dial(peer),
//!                 SpeakerEvent::HangUp { connection, how } => {
//!                     while speaker.poll_transmit(now, connection, &mut out) {
//!                         world.write(connection, &out.split());
//!                     }
//!                     unread.remove(&connection);
//!                     world.hang_up(connection, how);
//!                 }
//!                 SpeakerEvent::Up { .. } | SpeakerEvent::Down { .. } => {}
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! # The life of an UPDATE
//!
//! 1. The caller builds a [`RouteSet`]: from scratch, or as an edit of the last one, with which it
//!    then shares all chunks but those that changed.
//! 2. [`Speaker::set_routes`] stores the `Arc`. Nothing is computed or queued.
//! 3. When the socket takes octets, `poll_transmit` walks the difference between what the peer knows and
//!    what is wanted: withdrawals first, then announcements. Shared chunks are skipped unread.
//! 4. Routes with equal attributes are gathered. Their attributes were encoded once for the whole
//!    class of equal peers; prefixes are packed behind them until the message is full. A chunk whose routes share
//!    their attributes keeps its octets and is copied.
//!    A peer that goes the same way as an equal one before it gets the same octets.
//! 5. After at most one burst the walk rests. If the caller changes its mind in between, what the peer knows
//!    by then becomes the base of the next difference: what was overtaken is never sent.
//! 6. When nothing is left, End-of-RIB goes out, once, if the caller has said at least once what it wants.
//!
//! # The life of a received UPDATE
//!
//! 1. [`Speaker::handle_input`] cuts whole messages off what was read, in place ([`wire::header::Framer`]).
//! 2. In Established an UPDATE restarts the hold timer. Whether it is an End-of-RIB is noted.
//! 3. With [`Receive::Discard`] that is all. With [`Receive::Inspect`] one pass over the octets
//!    ([`wire::check::inspect`]) finds the verdict of RFC 7606: what is wrong, how bad it is, where it is.
//! 4. Verdicts are counted ([`VerdictCounts`]) and the last faults kept ([`Fault`]). Nothing else is.
//!
//! # What it follows
//!
//! RFC 4271 (BGP-4), 1997, 4360 and 8092 (communities), 2918 and 7313 (route refresh), 4486 and 9003 (Cease), 4724 and 8538 (graceful
//! restart, restarting side, Hard Reset), 4760 and 2545 (multiprotocol), 5492 and 9072 (capabilities),
//! 6286 (identifiers), 6608 (FSM error subcodes), 6793 (four-octet AS numbers), 7606 and 7607 (faulty
//! UPDATEs), 8654 (extended messages), 8950 (IPv6 next hops for IPv4), 9234 (roles), 9384 (Cease for BFD), 9494 (long-lived
//! graceful restart, its capability), 9687 (send hold timer). The ledgers in `docs/rfc/` say which requirement is met where.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod attrs;
mod backoff;
mod collision;
mod connection;
mod deadlines;
mod error;
mod event;
mod family;
mod fsm;
mod handover;
mod image;
mod inspection;
mod jitter;
mod number;
mod pack;
mod peer;
mod prefix;
mod rib_out;
mod route_set;
mod session;
mod speaker;
mod status;
pub mod wire;

pub use attrs::{AttrsTooLong, Origin, PathAttrs};
pub use error::DecodeError;
pub use event::{CloseCause, ConnectFault, Event, HangUp, PathFault, SpeakerEvent, Stop};
pub use family::{Families, Family};
pub use handover::{AdoptFault, SessionImage};
pub use inspection::{Fault, VerdictCounts};
pub use number::{Asn, HoldTime, HoldTimeTooShort, RouterId, ZeroRouterId};
pub use peer::{ConnectionId, PeerConfig, PeerKey, Receive, RemoteAs, RolePolicy};
pub use prefix::{Prefix, PrefixTooLong};
pub use route_set::{Change, RouteSet};
pub use speaker::Speaker;
pub use status::{Counters, DownReason, MessageCounts, SessionStatus, State};
pub use wire::capability::Role;
pub use wire::community::{Community, LargeCommunity, LinkBandwidth};
