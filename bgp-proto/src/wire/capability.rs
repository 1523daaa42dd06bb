//! Capabilities (RFC 5492): one enum for reading and writing.
//!
//! A capability that we do not know, or know with a length that it cannot have, is carried as `Other`
//! and ignored: a router's new feature must not cost the session.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::reader::Cursor;
use crate::family::{Families, Family};
use crate::number::Asn;

/// One capability of an OPEN (RFC 5492 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability<'a> {
    /// 1: the sender speaks this family (RFC 4760 §8).
    Multiprotocol {
        /// Address Family Identifier.
        afi: u16,
        /// Subsequent Address Family Identifier.
        safi: u8,
    },
    /// 2: route refresh (RFC 2918 §2).
    RouteRefresh,
    /// 5: IPv4 routes with IPv6 next hops (RFC 8950 §4); triples of AFI, SAFI and next-hop AFI, two octets each in network
    /// order.
    ExtendedNextHop(&'a [u8]),
    /// 6: messages of up to 65535 octets (RFC 8654 §3).
    ExtendedMessage,
    /// 9: the code of a BGP role (RFC 9234 §4.1).
    Role(u8),
    /// 64: graceful restart (RFC 4724 §3).
    GracefulRestart(GracefulRestart<'a>),
    /// 65: four-octet AS numbers, with the sender's own (RFC 6793 §3).
    FourOctetAs(Asn),
    /// 69: ADD-PATH (RFC 7911 §4), which we never answer; AFI in two octets, SAFI, mode.
    AddPath(&'a [u8]),
    /// 70: enhanced route refresh (RFC 7313 §3.1).
    EnhancedRouteRefresh,
    /// 71: long-lived graceful restart (RFC 9494 §3.1); AFI in two octets, SAFI, flags, seconds in three octets.
    LongLivedGracefulRestart(&'a [u8]),
    /// 73: host and domain name, not read (draft-walton-bgp-hostname-capability).
    HostName(&'a [u8]),
    /// 75: software version, not read (draft-abraitis-bgp-version-capability).
    SoftwareVersion(&'a [u8]),
    /// Everything else, and what is known with a length that it cannot have.
    Other {
        /// The capability code.
        code: u8,
        /// Its value.
        value: &'a [u8],
    },
}

/// What a speaker is to the peer on an eBGP session (RFC 9234 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The peer is our customer.
    Provider,
    /// We are a route server, the peer is its client.
    RouteServer,
    /// The peer is a route server.
    RouteServerClient,
    /// The peer is our provider: what a node is to its router.
    Customer,
    /// Neither pays the other.
    Peer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider => "provider",
            Self::RouteServer => "route server",
            Self::RouteServerClient => "route server client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        })
    }
}

impl Role {
    /// All of them, by code.
    pub const ALL: [Self; 5] =
        [Self::Provider, Self::RouteServer, Self::RouteServerClient, Self::Customer, Self::Peer];

    /// The value of the capability (RFC 9234 §4.1).
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Provider => 0,
            Self::RouteServer => 1,
            Self::RouteServerClient => 2,
            Self::Customer => 3,
            Self::Peer => 4,
        }
    }

    /// What the other side must be (RFC 9234 §4.2).
    #[must_use]
    pub fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }

    /// Whether routes to the peer must carry ONLY_TO_CUSTOMER (RFC 9234 §5).
    #[must_use]
    pub fn marks_only_to_customer(self) -> bool {
        match self {
            Self::Provider | Self::RouteServer | Self::Peer => true,
            Self::RouteServerClient | Self::Customer => false,
        }
    }
}

/// The value of [`Capability::ExtendedNextHop`] for IPv4 unicast with IPv6 next hops (RFC 8950 §4).
pub const IPV4_OVER_IPV6: [u8; 6] = [0, 1, 0, 1, 0, 2];

/// The value of [`Capability::LongLivedGracefulRestart`] (RFC 9494 §3.1) for a set of families, all with
/// the F bit. `stale_time` is in seconds and has 24 bits.
#[must_use]
pub fn long_lived_tuples(families: Families, stale_time: u32) -> Vec<u8> {
    let [_, a, b, c] = stale_time.min(0x00FF_FFFF).to_be_bytes();
    let tuple = |family: Family| {
        let [high, low] = family.afi().to_be_bytes();
        [high, low, family.safi(), GracefulRestart::FORWARDING, a, b, c]
    };
    families.iter().flat_map(tuple).collect()
}

/// The graceful restart capability (RFC 4724 §3, RFC 8538 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart<'a> {
    /// R: the sender has restarted (RFC 4724 §3).
    pub restarting: bool,
    /// N: the sender keeps routes after a NOTIFICATION too (RFC 8538 §2).
    pub notification: bool,
    /// How long the sender may be away, in seconds; twelve bits, what is above them is not sent.
    pub restart_time: u16,
    /// AFI (two octets, network order), SAFI, flags of each family; see [`GracefulRestart::families`].
    pub tuples: &'a [u8],
}

impl GracefulRestart<'_> {
    /// F: the sender kept forwarding for this family while it was away.
    pub const FORWARDING: u8 = 0x80;

    const RESTARTING: u16 = 0x8000;
    const NOTIFICATION: u16 = 0x4000;
    const TIME: u16 = 0x0FFF;

    /// AFI, SAFI and flags of each family. Stray octets at the end are not believed.
    pub fn families(&self) -> impl Iterator<Item = (u16, u8, u8)> {
        self.tuples
            .as_chunks::<4>()
            .0
            .iter()
            .map(|[high, low, safi, flags]| (u16::from_be_bytes([*high, *low]), *safi, *flags))
    }
}

/// The wire form of [`GracefulRestart::tuples`] for a set of families, all with the F bit.
#[must_use]
pub fn forwarding_tuples(families: Families) -> Vec<u8> {
    let tuple = |family: Family| {
        let [high, low] = family.afi().to_be_bytes();
        [high, low, family.safi(), GracefulRestart::FORWARDING]
    };
    families.iter().flat_map(tuple).collect()
}

impl<'a> Capability<'a> {
    /// The capability that announces a family.
    #[must_use]
    pub fn family(family: Family) -> Self {
        Self::Multiprotocol { afi: family.afi(), safi: family.safi() }
    }

    /// Reads one capability; never fails: what cannot be read is [`Capability::Other`] (RFC 5492 §3).
    #[must_use]
    pub fn from_wire(code: u8, value: &'a [u8]) -> Self {
        match (code, value) {
            (1, [high, low, _reserved, safi]) => {
                Self::Multiprotocol { afi: u16::from_be_bytes([*high, *low]), safi: *safi }
            }
            (2, []) => Self::RouteRefresh,
            (5, _) => Self::ExtendedNextHop(value),
            (6, []) => Self::ExtendedMessage,
            (9, [role]) => Self::Role(*role),
            (64, [high, low, tuples @ ..]) => {
                let head = u16::from_be_bytes([*high, *low]);
                Self::GracefulRestart(GracefulRestart {
                    restarting: head & GracefulRestart::RESTARTING != 0,
                    notification: head & GracefulRestart::NOTIFICATION != 0,
                    restart_time: head & GracefulRestart::TIME,
                    tuples,
                })
            }
            (65, [a, b, c, d]) => Self::FourOctetAs(Asn(u32::from_be_bytes([*a, *b, *c, *d]))),
            (69, _) => Self::AddPath(value),
            (70, []) => Self::EnhancedRouteRefresh,
            (71, _) => Self::LongLivedGracefulRestart(value),
            (73, _) => Self::HostName(value),
            (75, _) => Self::SoftwareVersion(value),
            (code, value) => Self::Other { code, value },
        }
    }

    /// Whether it allows IPv4 unicast routes with IPv6 next hops (RFC 8950).
    #[must_use]
    pub fn is_ipv4_over_ipv6(&self) -> bool {
        matches!(self, Self::ExtendedNextHop(value) if value.as_chunks().0.contains(&IPV4_OVER_IPV6))
    }

    /// The capability code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol { .. } => 1,
            Self::RouteRefresh => 2,
            Self::ExtendedNextHop(_) => 5,
            Self::ExtendedMessage => 6,
            Self::Role(_) => 9,
            Self::GracefulRestart(_) => 64,
            Self::FourOctetAs(_) => 65,
            Self::AddPath(_) => 69,
            Self::EnhancedRouteRefresh => 70,
            Self::LongLivedGracefulRestart(_) => 71,
            Self::HostName(_) => 73,
            Self::SoftwareVersion(_) => 75,
            Self::Other { code, .. } => *code,
        }
    }

    /// Appends code, length and value. A value above 255 octets is cut; none of ours is.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.code());
        let at = out.len();
        out.put_u8(0);
        match self {
            Self::Multiprotocol { afi, safi } => {
                out.put_u16(*afi);
                out.put_u8(0);
                out.put_u8(*safi);
            }
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => {}
            Self::Role(role) => out.put_u8(*role),
            Self::GracefulRestart(restart) => {
                let flag = |set, bit| if set { bit } else { 0 };
                out.put_u16(
                    flag(restart.restarting, GracefulRestart::RESTARTING)
                        | flag(restart.notification, GracefulRestart::NOTIFICATION)
                        | (restart.restart_time & GracefulRestart::TIME),
                );
                out.put_slice(restart.tuples);
            }
            Self::FourOctetAs(asn) => out.put_u32(asn.0),
            Self::ExtendedNextHop(value)
            | Self::AddPath(value)
            | Self::LongLivedGracefulRestart(value)
            | Self::HostName(value)
            | Self::SoftwareVersion(value)
            | Self::Other { value, .. } => out.put_slice(value),
        }
        let start = at.saturating_add(1);
        out.truncate(start.saturating_add(usize::from(u8::MAX)));
        let written = u8::try_from(out.len().saturating_sub(start)).expect("just cut to 255 octets");
        *out.get_mut(at).expect("the length octet was written before") = written;
    }
}

/// The capabilities of an OPEN, in the order of the wire, whichever parameters they come in (RFC 5492 §4). All lengths
/// were checked before.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities<'a> {
    parameters: Cursor<'a>,
    parameter: Cursor<'a>,
    /// Parameter lengths have two octets (RFC 9072).
    extended: bool,
}

impl<'a> Capabilities<'a> {
    pub(super) fn new(parameters: &'a [u8], extended: bool) -> Self {
        Self { parameters: Cursor::new(parameters), parameter: Cursor::new(&[]), extended }
    }

    /// The next parameter: its type and its value.
    pub(super) fn next_parameter(&mut self) -> Option<(u8, &'a [u8])> {
        let mut ahead = self.parameters;
        let code = ahead.u8()?;
        let length = if self.extended { usize::from(ahead.u16()?) } else { usize::from(ahead.u8()?) };
        let value = ahead.take(length)?;
        self.parameters = ahead;
        Some((code, value))
    }

    /// Whether every parameter was read to its end.
    pub(super) fn parameters_are_read(&self) -> bool {
        self.parameters.is_empty()
    }
}

/// One capability off the front of a parameter.
pub(super) fn next_capability<'a>(parameter: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let mut ahead = *parameter;
    let code = ahead.u8()?;
    let length = usize::from(ahead.u8()?);
    let value = ahead.take(length)?;
    *parameter = ahead;
    Some((code, value))
}

impl<'a> Iterator for Capabilities<'a> {
    type Item = Capability<'a>;

    fn next(&mut self) -> Option<Capability<'a>> {
        while self.parameter.is_empty() {
            let (_, value) = self.next_parameter()?;
            self.parameter = Cursor::new(value);
        }
        next_capability(&mut self.parameter).map(|(code, value)| Capability::from_wire(code, value))
    }
}
