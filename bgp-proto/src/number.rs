//! Numbers that mean something: AS numbers, BGP Identifiers, Hold Times. None can hold nonsense.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

/// The least default of the send hold timer (RFC 9687 §3.2).
const SEND_HOLD: Duration = Duration::from_secs(480);

/// An autonomous system number of four octets (RFC 6793).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

impl Asn {
    /// What a number above 65535 is called towards a speaker that knows two octets only (RFC 6793 §3).
    pub const TRANS: Self = Self(23_456);

    /// The number in two octets, or [`Asn::TRANS`] when it does not fit.
    #[must_use]
    pub fn to_two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23_456)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A BGP Identifier: any four octets that are not all zero (RFC 6286 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(NonZeroU32);

impl RouterId {
    /// Takes an address as identifier.
    ///
    /// # Errors
    /// [`ZeroRouterId`]: `0.0.0.0` is not an identifier (RFC 6286 §2.1).
    pub fn try_new(address: Ipv4Addr) -> Result<Self, ZeroRouterId> {
        NonZeroU32::new(address.to_bits()).map(Self).ok_or(ZeroRouterId)
    }

    /// The identifier in its usual dress, its first octet on the wire first.
    #[must_use]
    pub fn to_address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0.get())
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_address().fmt(f)
    }
}

impl fmt::Debug for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouterId({self})")
    }
}

/// `0.0.0.0` was given as BGP Identifier (RFC 6286 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroRouterId;

impl fmt::Display for ZeroRouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0.0.0.0 is not a BGP Identifier: choose a non-zero router ID")
    }
}

impl std::error::Error for ZeroRouterId {}

/// A Hold Time as proposed or negotiated: off, or at least three seconds (RFC 4271 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldTime(u16);

impl HoldTime {
    /// Zero on the wire: neither KEEPALIVEs nor a hold timer (RFC 4271 §4.4).
    pub const OFF: Self = Self(0);
    /// What we propose when nobody says otherwise: 15 seconds.
    pub const DEFAULT: Self = Self(15);

    /// A hold time in seconds.
    ///
    /// # Errors
    /// [`HoldTimeTooShort`]: one or two seconds, which RFC 4271 §6.2 tells every speaker to refuse.
    pub fn try_new(seconds: u16) -> Result<Self, HoldTimeTooShort> {
        match seconds {
            1 | 2 => Err(HoldTimeTooShort { seconds }),
            0 | 3.. => Ok(Self(seconds)),
        }
    }

    /// Whole seconds, as OPEN carries them; zero is off.
    #[must_use]
    pub fn seconds(self) -> u16 {
        self.0
    }

    /// How long a peer may take nothing while octets wait for it, unless configured otherwise: twice the hold time, and
    /// eight minutes at least (RFC 9687 §3.2). `None` is for ever: Hold Time 0 turns this timer off as well.
    #[must_use]
    pub fn send_hold(self) -> Option<Duration> {
        self.duration().map(|hold| SEND_HOLD.max(hold.saturating_mul(2)))
    }

    /// How long silence is borne; `None` is for ever.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        (self.0 != 0).then(|| Duration::from_secs(u64::from(self.0)))
    }
}

/// A hold time of one or two seconds (RFC 4271 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTimeTooShort {
    /// What was asked for, in seconds.
    pub seconds: u16,
}

impl fmt::Display for HoldTimeTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a hold time of {} s is refused by every router: use 0 (off) or at least 3 s", self.seconds)
    }
}

impl std::error::Error for HoldTimeTooShort {}
