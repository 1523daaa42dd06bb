//! The 19 octets in front of every message (RFC 4271 §4.1) and the cut of a stream into messages.
//!
//! Bodies are not looked at here.

use std::fmt;

use crate::error::DecodeError;

/// Marker, length and type, in octets (RFC 4271 §4.1).
pub const HEADER_LEN: usize = 19;
/// The longest message in octets without RFC 8654, and the longest OPEN and KEEPALIVE with it.
pub const MAX_LEN: u16 = 4096;
/// The longest message in octets once both sides have the extended message capability (RFC 8654 §4).
pub const EXTENDED_MAX_LEN: u16 = 65_535;

const MARKER: [u8; 16] = [0xFF; 16];

/// The five types of message that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// OPEN (RFC 4271 §4.2).
    Open,
    /// UPDATE (RFC 4271 §4.3).
    Update,
    /// NOTIFICATION (RFC 4271 §4.5).
    Notification,
    /// KEEPALIVE (RFC 4271 §4.4).
    Keepalive,
    /// ROUTE-REFRESH (RFC 2918).
    RouteRefresh,
}

impl MessageType {
    /// All of them, by code.
    pub const ALL: [Self; 5] =
        [Self::Open, Self::Update, Self::Notification, Self::Keepalive, Self::RouteRefresh];

    /// The type octet.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    #[inline]
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }

    /// The least and the greatest legal length of a whole message.
    #[inline]
    fn bounds(self, max: u16) -> (u16, u16) {
        match self {
            Self::Open => (29, MAX_LEN),
            Self::Update => (23, max),
            Self::Notification => (21, max),
            Self::Keepalive => (19, 19),
            Self::RouteRefresh => (23, max),
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "OPEN",
            Self::Update => "UPDATE",
            Self::Notification => "NOTIFICATION",
            Self::Keepalive => "KEEPALIVE",
            Self::RouteRefresh => "ROUTE-REFRESH",
        })
    }
}

/// One whole message, header checked, body as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: MessageType,
    /// Header and body.
    pub octets: &'a [u8],
    /// What follows the header.
    pub body: &'a [u8],
}

/// Cuts messages off the front of a stream (RFC 4271 §4: only whole ones are processed).
///
/// ```
/// use bgp_proto::wire::header::{Framer, MessageType};
///
/// let mut stream = vec![0xFF; 16];
/// stream.extend([0, 19, 4, 0xFF]);
/// let frame = Framer::default().next(&stream)?.expect("one whole message");
/// assert_eq!((frame.kind, frame.octets.len()), (MessageType::Keepalive, 19));
/// assert_eq!(Framer::default().next(&stream[19..])?, None);
/// # Ok::<(), bgp_proto::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framer {
    max: u16,
}

impl Default for Framer {
    fn default() -> Self {
        Self { max: MAX_LEN }
    }
}

impl Framer {
    /// A framer for messages of at most `max` octets ([`MAX_LEN`] or [`EXTENDED_MAX_LEN`]).
    #[must_use]
    pub fn new(max: u16) -> Self {
        Self { max }
    }

    /// The first message of `stream`, or `None` when it is not there as a whole yet.
    ///
    /// # Errors
    /// A header that RFC 4271 §6.1 tells us to refuse: [`DecodeError::NotSynchronised`], [`DecodeError::BadLength`] or
    /// [`DecodeError::UnknownType`]. Nothing behind it can be read.
    #[inline]
    pub fn next<'a>(&self, stream: &'a [u8]) -> Result<Option<Frame<'a>>, DecodeError> {
        let Some((header, _)) = stream.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let [marker @ .., high, low, code] = header;
        if *marker != MARKER {
            return Err(DecodeError::NotSynchronised);
        }
        let length = u16::from_be_bytes([*high, *low]);
        if usize::from(length) < HEADER_LEN || length > self.max {
            return Err(DecodeError::BadLength { length });
        }
        let kind = MessageType::from_code(*code).ok_or(DecodeError::UnknownType { code: *code })?;
        let (least, most) = kind.bounds(self.max);
        if length < least || length > most {
            return Err(DecodeError::BadLength { length });
        }
        let Some(octets) = stream.get(..usize::from(length)) else { return Ok(None) };
        let body = octets.get(HEADER_LEN..).unwrap_or_default();
        Ok(Some(Frame { kind, octets, body }))
    }
}
