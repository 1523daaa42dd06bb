//! What two speakers of one node say to each other when one follows the other.
//!
//! ```text
//! successor                         predecessor
//! Hello {versions, node}      ─►
//!                             ◄─    Welcome | Refused | Busy
//! (makes its plan)
//! Ready                       ─►    (stops reading and writing)
//!                             ◄─    Sessions {counts}, then so many Session + descriptor,
//!                                   Ear + descriptor and Path + descriptor (BFD)
//! Commit                      ─►    (drops its descriptors)
//!                             ◄─    Done | Aborted
//! ```
//! `StepDown` in the place of `Ready` or `Commit` asks the predecessor to close its sessions without a word. The first
//! message and `StepDown` never change; what is between them has a version. Leaves out how it is sent.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::{Counters, Families, Family, MessageCounts, SessionImage};
use serde::{Deserialize, Serialize};

use super::path_record::{EarRecord, PathRecord};
use crate::key_record::TcpAoRecord;
use crate::route_list::{ListFault, RouteList};

/// The version of the messages between the greeting and the end.
pub const VERSION: u16 = 2;

/// The longest greeting, in octets.
pub const GREETING_LIMIT: usize = 16 * 1024;

/// The longest message with a session, in octets: room for a million routes.
pub const SESSION_LIMIT: usize = 64 * 1024 * 1024;

/// Most sessions of one node.
pub const SESSIONS_LIMIT: usize = 1024;

/// Most sockets that BFD is heard by: two ports, two families.
pub const EARS_LIMIT: usize = 4;

/// The longest message of BFD, in octets.
pub const PATH_LIMIT: usize = 4096;

/// The first message of a successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version of the messages that it understands.
    pub oldest: u16,
    /// The newest one.
    pub newest: u16,
    /// The node that it speaks for.
    pub node: String,
    /// Its program's version, for the log.
    pub build: String,
}

/// What a successor says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Who it is.
    Hello(Hello),
    /// It knows what it wants: freeze, and hand over.
    Ready,
    /// It has everything and goes on from here.
    Commit,
    /// It cannot take over: close all sessions without a word, so that routers keep the routes.
    StepDown,
}

/// What a predecessor says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The successor may go on with `Ready`.
    Welcome {
        /// The version that both understand.
        version: u16,
        /// The predecessor's program version, for the log.
        build: String,
    },
    /// A hand-over is not possible; the sentence says why.
    Refused {
        /// The sentence.
        reason: String,
    },
    /// Another successor is being served.
    Busy,
    /// So much follows, in this order.
    Sessions {
        /// How many BGP sessions.
        count: usize,
        /// How many sockets that BFD is heard by.
        ears: usize,
        /// How many BFD sessions.
        paths: usize,
    },
    /// One session; its socket comes beside this message.
    Session(Box<SessionRecord>),
    /// A socket that BFD is heard by; it comes beside this message.
    Ear(EarRecord),
    /// One BFD session; its socket comes beside this message, if it has sent.
    Path(Box<PathRecord>),
    /// The sessions are the successor's from here on.
    Done,
    /// They are not: the predecessor goes on.
    Aborted,
}

/// What makes a TCP connection the one that a peer's configuration asks for. No `Debug`: there is a password in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The router's address and port.
    pub remote: SocketAddr,
    /// The address that is asked for on our side.
    pub source: Option<IpAddr>,
    /// The TCP MD5 password, which the socket keeps and does not show.
    pub password: Option<Vec<u8>>,
    /// The TCP-AO key, which the socket keeps and does not show.
    #[serde(default)]
    pub tcp_ao: Option<TcpAoRecord>,
    /// How many hops the router's packets may have come over (RFC 5082), which the socket keeps.
    #[serde(default)]
    pub hops: Option<std::num::NonZeroU8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("remote", &self.remote)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// One session and everything about it but its socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The name of the BGPPeer object.
    pub peer: String,
    /// Which connection it is.
    pub identity: Identity,
    /// Octets that were read and are no whole message yet.
    pub unread: Vec<u8>,
    /// Octets that were built and not taken by the kernel; they may begin in the middle of a message.
    pub unsent: Vec<u8>,
    image: ImageRecord,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ImageRecord {
    our_open: Vec<u8>,
    their_open: Vec<u8>,
    dialled: bool,
    local: IpAddr,
    next_hop_v4: Option<IpAddr>,
    next_hop_v6: Option<Ipv6Addr>,
    hold_left: Option<Duration>,
    keepalive_left: Option<Duration>,
    send_hold_left: Option<Duration>,
    keepalive_due: bool,
    routes: RouteList,
    told: u32,
    end_of_rib_owed: [bool; 2],
    end_of_rib_received: [bool; 2],
    refresh_owed: [bool; 2],
    up_for: Duration,
    established_count: u32,
    received: [u64; 5],
    sent: [u64; 5],
}

impl SessionRecord {
    /// Writes a session down.
    #[must_use]
    pub fn new(peer: &str, identity: Identity, image: &SessionImage, unread: &[u8], unsent: &[u8]) -> Self {
        Self {
            peer: peer.to_owned(),
            identity,
            unread: unread.to_vec(),
            unsent: unsent.to_vec(),
            image: ImageRecord::of(image),
        }
    }

    /// The session again.
    ///
    /// # Errors
    /// [`ListFault`] when its routes were damaged.
    pub fn image(&self) -> Result<SessionImage, ListFault> {
        self.image.to_image()
    }

    /// Our end of the connection.
    #[must_use]
    pub fn local(&self) -> IpAddr {
        self.image.local
    }
}

impl ImageRecord {
    fn of(image: &SessionImage) -> Self {
        // Whoever adds to the image has to say here how it is written down, and to raise the version.
        let SessionImage {
            our_open,
            their_open,
            dialled,
            local,
            next_hop_v4,
            next_hop_v6,
            hold_left,
            keepalive_left,
            send_hold_left,
            keepalive_due,
            routes,
            told,
            end_of_rib_owed,
            end_of_rib_received,
            refresh_owed,
            up_for,
            established_count,
            counters,
        } = image;
        Self {
            our_open: our_open.clone(),
            their_open: their_open.clone(),
            dialled: *dialled,
            local: *local,
            next_hop_v4: *next_hop_v4,
            next_hop_v6: *next_hop_v6,
            hold_left: *hold_left,
            keepalive_left: *keepalive_left,
            send_hold_left: *send_hold_left,
            keepalive_due: *keepalive_due,
            routes: RouteList::of(routes),
            told: *told,
            end_of_rib_owed: flags(*end_of_rib_owed),
            end_of_rib_received: flags(*end_of_rib_received),
            refresh_owed: flags(*refresh_owed),
            up_for: *up_for,
            established_count: *established_count,
            received: counts(counters.received),
            sent: counts(counters.sent),
        }
    }

    fn to_image(&self) -> Result<SessionImage, ListFault> {
        Ok(SessionImage {
            our_open: self.our_open.clone(),
            their_open: self.their_open.clone(),
            dialled: self.dialled,
            local: self.local,
            next_hop_v4: self.next_hop_v4,
            next_hop_v6: self.next_hop_v6,
            hold_left: self.hold_left,
            keepalive_left: self.keepalive_left,
            send_hold_left: self.send_hold_left,
            keepalive_due: self.keepalive_due,
            routes: Arc::new(self.routes.to_set()?),
            told: self.told,
            end_of_rib_owed: families(self.end_of_rib_owed),
            end_of_rib_received: families(self.end_of_rib_received),
            refresh_owed: families(self.refresh_owed),
            up_for: self.up_for,
            established_count: self.established_count,
            counters: Counters { received: message_counts(self.received), sent: message_counts(self.sent) },
        })
    }
}

fn flags(families: Families) -> [bool; 2] {
    Family::ALL.map(|family| families.contains(family))
}

fn families(flags: [bool; 2]) -> Families {
    Family::ALL.into_iter().zip(flags).filter_map(|(family, flag)| flag.then_some(family)).collect()
}

fn counts(counts: MessageCounts) -> [u64; 5] {
    let MessageCounts { opens, updates, keepalives, notifications, refreshes } = counts;
    [opens, updates, keepalives, notifications, refreshes]
}

fn message_counts(counts: [u64; 5]) -> MessageCounts {
    let [opens, updates, keepalives, notifications, refreshes] = counts;
    MessageCounts { opens, updates, keepalives, notifications, refreshes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_was_written_down_is_read_again_as_it_was() {
        let image = SessionImage {
            our_open: vec![1, 2],
            their_open: vec![3],
            dialled: true,
            local: [10, 0, 0, 1].into(),
            next_hop_v4: Some([10, 0, 0, 1].into()),
            next_hop_v6: Some("2001:db8::1".parse().unwrap()),
            hold_left: Some(Duration::from_millis(12_345)),
            keepalive_left: Some(Duration::from_micros(7)),
            send_hold_left: None,
            keepalive_due: true,
            routes: Arc::default(),
            told: 0,
            end_of_rib_owed: Families::IPV6,
            end_of_rib_received: Families::BOTH,
            refresh_owed: Families::IPV4,
            up_for: Duration::from_secs(86_400),
            established_count: 3,
            counters: Counters {
                received: message_counts([1, 2, 3, 4, 5]),
                sent: message_counts([6, 7, 8, 9, 10]),
            },
        };
        let identity = Identity {
            remote: ([10, 0, 2, 1], 179).into(),
            source: None,
            password: Some(b"hunter2".to_vec()),
            tcp_ao: None,
            hops: None,
        };
        let record = SessionRecord::new("tor", identity, &image, b"half", b"a burst");
        let read: SessionRecord = api::json::from_octets(&serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(format!("{:?}", read.image().unwrap()), format!("{image:?}"));
        assert_eq!((read.unread.as_slice(), read.unsent.as_slice()), (&b"half"[..], &b"a burst"[..]));
        assert!(read.identity == record.identity && read.peer == "tor");
        assert!(!format!("{record:?}").contains("104, 117"), "no log shows the password");
    }

    #[test]
    fn the_greeting_is_what_every_version_reads() {
        let hello = r#"{"Hello":{"oldest":7,"newest":9,"node":"n1","build":"9.0.0"}}"#;
        assert!(matches!(serde_json::from_str(hello).unwrap(), Order::Hello(hello) if hello.newest == 9));
        assert!(matches!(serde_json::from_str("\"StepDown\"").unwrap(), Order::StepDown));
    }
}
