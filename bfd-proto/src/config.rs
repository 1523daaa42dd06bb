//! What a caller says about a session, and what the network says about a packet.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

/// What a session watches over: both ends, and how far they may be apart. There is one session for each path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Our address, which packets leave from.
    pub local: IpAddr,
    /// The other side's address.
    pub remote: IpAddr,
    /// The number of the interface that both addresses are on, where they are link-local; 0 where the addresses alone say
    /// which path it is.
    pub link: u32,
    /// How far the other side may be.
    pub hops: Hops,
}

/// How far both ends may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hops {
    /// Neighbours on one link (RFC 5881): TTL 255 or nothing.
    Single,
    /// Routers in between (RFC 5883).
    Multi,
}

impl Hops {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Single, Self::Multi];

    /// The UDP port of control packets (RFC 5881 §4, RFC 5883 §5).
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Single => 3784,
            Self::Multi => 4784,
        }
    }
}

/// A length of time in microseconds, as packets carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u32);

impl Interval {
    /// This many microseconds.
    #[must_use]
    pub const fn from_micros(micros: u32) -> Self {
        Self(micros)
    }

    /// This many milliseconds; more than fits (71 minutes) is cut to what fits.
    #[must_use]
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// In microseconds.
    #[must_use]
    pub const fn micros(self) -> u32 {
        self.0
    }

    /// As the standard library has it.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.0.into())
    }
}

/// One session, as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Which path.
    pub path: Path,
    /// How often we would like to send while the session is Up (bfd.DesiredMinTxInterval, RFC 5880 §6.8.1); a second at
    /// least before (§6.8.3).
    pub desired_min_tx: Interval,
    /// How often we can receive (bfd.RequiredMinRxInterval, RFC 5880 §6.8.1); zero would ask for no packets at all.
    pub required_min_rx: Interval,
    /// How many of our packets the other side may miss (bfd.DetectMult, RFC 5880 §6.8.1).
    pub detect_multiplier: NonZeroU8,
    /// Whether we wait for the other side's first packet (RFC 5880 §6.1).
    pub passive: bool,
    /// The least TTL of packets that came over several hops (RFC 5883 §3); a single hop always asks for 255 (RFC 5881 §5).
    pub minimum_ttl: u8,
}

impl SessionConfig {
    pub(crate) fn least_ttl(&self) -> u8 {
        match self.path.hops {
            Hops::Single => u8::MAX,
            Hops::Multi => self.minimum_ttl,
        }
    }
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The address that it was sent to.
    pub local: IpAddr,
    /// The address that it came from.
    pub remote: IpAddr,
    /// The number of the interface that it came by, where the addresses are link-local; else 0.
    pub link: u32,
    /// Its TTL or hop limit on arrival.
    pub ttl: u8,
    /// The port that it came to.
    pub hops: Hops,
}

impl Arrival {
    pub(crate) fn path(&self) -> Path {
        Path { local: self.local, remote: self.remote, link: self.link, hops: self.hops }
    }
}
