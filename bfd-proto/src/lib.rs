//! Bidirectional Forwarding Detection, without sockets, clock, threads or chance.
//!
//! [`Endpoint`] holds the BFD sessions of one node, one for each [`Path`]. Packets go in with the time at which they
//! came and with what the network said about them ([`Arrival`]); packets, deadlines and [`Event`]s come out. Which
//! sessions there are is said as a complete set, and the endpoint finds the difference.
//!
//! # How to drive it
//!
//! After every call that can change something, take packets until there is none, then the events. A timeout that
//! comes early does nothing. Read what waits in the sockets before letting deadlines pass: packets that lay unread
//! while the process had no processor are no silence of the other side.
//!
//! ```
//! use std::num::NonZeroU8;
//! use std::time::{Duration, Instant};
//!
//! use bfd_proto::*;
//!
//! let path = Path { local: [192, 0, 2, 1].into(), remote: [192, 0, 2, 2].into(), link: 0, hops: Hops::Single };
//! let session = SessionConfig {
//!     path,
//!     desired_min_tx: Interval::from_millis(300),
//!     required_min_rx: Interval::from_millis(300),
//!     detect_multiplier: NonZeroU8::new(3).unwrap(),
//!     passive: false,
//!     minimum_ttl: 254,
//! };
//! let now = Instant::now();
//! let mut endpoint = Endpoint::new(7);
//! endpoint.set_sessions(now, &[session]);
//! let (to, octets) = endpoint.poll_transmit(now).unwrap();
//! assert_eq!((to, octets.len()), (path, 24));
//! // An answer of the other side is handed over like this:
//! let arrival = Arrival { local: path.local, remote: path.remote, link: 0, ttl: 255, hops: Hops::Single };
//! assert!(endpoint.handle_packet(now, arrival, b"no packet").is_err());
//! assert!(endpoint.poll_timeout().unwrap() <= now + Duration::from_secs(1));
//! ```
//!
//! # What it follows
//!
//! RFC 5880 (asynchronous mode), 5881 (single hop), 5883 (multihop), and what 5882 asks of the user of a session:
//! that the other side is switched off by its operator is told apart from a broken path ([`DownReason`]). Left out:
//! the echo function (none is offered: Required Min Echo RX is zero), authentication (packets that carry it are
//! discarded), asking for demand mode (that of the other side is respected). The ledgers in `docs/rfc/` say which
//! requirement is met where.
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

mod chance;
mod config;
mod discard;
mod endpoint;
mod handover;
mod packet;
mod session;
mod state;
mod status;

pub use config::{Arrival, Hops, Interval, Path, SessionConfig};
pub use discard::Discard;
pub use endpoint::Endpoint;
pub use handover::{AdoptFault, Heard, SessionImage};
pub use packet::{Discriminator, PACKET_LEN, Packet};
pub use state::{Diagnostic, State};
pub use status::{DownReason, Event, SessionStatus};
