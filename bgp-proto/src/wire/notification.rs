//! NOTIFICATION (RFC 4271 §4.5): codes with their names, and the Shutdown Communication of RFC 9003.
//!
//! Which error leads to which code is decided in `error`, not here.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::header::MessageType;
use super::put_message;
use super::reader::Cursor;

/// A Shutdown Communication is cut to this many octets on the wire (RFC 9003 §2).
const TEXT_MAX: usize = 255;

/// What a NOTIFICATION of 4096 octets has room for.
const DATA_MAX: usize = 4075;

/// Code and subcode of a NOTIFICATION (RFC 4271 §4.5, RFC 4486, RFC 6608 and those that added more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode {
    /// The error code.
    pub code: u8,
    /// The error subcode; zero is "unspecific".
    pub subcode: u8,
}

macro_rules! error_codes {
    ($($name:ident = $code:literal / $subcode:literal, $text:literal;)*) => {
        impl ErrorCode {
            $(#[doc = concat!($text, " (", $code, "/", $subcode, ").")]
            pub const $name: Self = Self { code: $code, subcode: $subcode };)*

            /// The registered name, for codes that have one.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match (self.code, self.subcode) {
                    $(($code, $subcode) => Some($text),)*
                    (_, _) => None,
                }
            }
        }
    };
}

error_codes! {
    HEADER_UNSPECIFIC = 1 / 0, "Message Header Error / Unspecific";
    NOT_SYNCHRONISED = 1 / 1, "Message Header Error / Connection Not Synchronized";
    BAD_LENGTH = 1 / 2, "Message Header Error / Bad Message Length";
    BAD_TYPE = 1 / 3, "Message Header Error / Bad Message Type";
    OPEN_UNSPECIFIC = 2 / 0, "OPEN Message Error / Unspecific";
    UNSUPPORTED_VERSION = 2 / 1, "OPEN Message Error / Unsupported Version Number";
    BAD_PEER_AS = 2 / 2, "OPEN Message Error / Bad Peer AS";
    BAD_ROUTER_ID = 2 / 3, "OPEN Message Error / Bad BGP Identifier";
    UNSUPPORTED_PARAMETER = 2 / 4, "OPEN Message Error / Unsupported Optional Parameter";
    AUTHENTICATION_FAILURE = 2 / 5, "OPEN Message Error / Authentication Failure";
    UNACCEPTABLE_HOLD_TIME = 2 / 6, "OPEN Message Error / Unacceptable Hold Time";
    UNSUPPORTED_CAPABILITY = 2 / 7, "OPEN Message Error / Unsupported Capability";
    ROLE_MISMATCH = 2 / 11, "OPEN Message Error / Role Mismatch";
    UPDATE_UNSPECIFIC = 3 / 0, "UPDATE Message Error / Unspecific";
    MALFORMED_ATTRIBUTE_LIST = 3 / 1, "UPDATE Message Error / Malformed Attribute List";
    UNRECOGNISED_WELL_KNOWN = 3 / 2, "UPDATE Message Error / Unrecognized Well-known Attribute";
    MISSING_WELL_KNOWN = 3 / 3, "UPDATE Message Error / Missing Well-known Attribute";
    ATTRIBUTE_FLAGS = 3 / 4, "UPDATE Message Error / Attribute Flags Error";
    ATTRIBUTE_LENGTH = 3 / 5, "UPDATE Message Error / Attribute Length Error";
    INVALID_ORIGIN = 3 / 6, "UPDATE Message Error / Invalid ORIGIN Attribute";
    ROUTING_LOOP = 3 / 7, "UPDATE Message Error / AS Routing Loop";
    INVALID_NEXT_HOP = 3 / 8, "UPDATE Message Error / Invalid NEXT_HOP Attribute";
    OPTIONAL_ATTRIBUTE = 3 / 9, "UPDATE Message Error / Optional Attribute Error";
    INVALID_NETWORK_FIELD = 3 / 10, "UPDATE Message Error / Invalid Network Field";
    MALFORMED_AS_PATH = 3 / 11, "UPDATE Message Error / Malformed AS_PATH";
    HOLD_TIMER_EXPIRED = 4 / 0, "Hold Timer Expired";
    FSM_UNSPECIFIC = 5 / 0, "Finite State Machine Error / Unspecific";
    UNEXPECTED_IN_OPEN_SENT = 5 / 1, "Finite State Machine Error / Unexpected Message in OpenSent";
    UNEXPECTED_IN_OPEN_CONFIRM = 5 / 2, "Finite State Machine Error / Unexpected Message in OpenConfirm";
    UNEXPECTED_IN_ESTABLISHED = 5 / 3, "Finite State Machine Error / Unexpected Message in Established";
    CEASE = 6 / 0, "Cease";
    MAX_PREFIXES = 6 / 1, "Cease / Maximum Number of Prefixes Reached";
    ADMIN_SHUTDOWN = 6 / 2, "Cease / Administrative Shutdown";
    PEER_DECONFIGURED = 6 / 3, "Cease / Peer De-configured";
    ADMIN_RESET = 6 / 4, "Cease / Administrative Reset";
    CONNECTION_REJECTED = 6 / 5, "Cease / Connection Rejected";
    CONFIGURATION_CHANGE = 6 / 6, "Cease / Other Configuration Change";
    COLLISION = 6 / 7, "Cease / Connection Collision Resolution";
    OUT_OF_RESOURCES = 6 / 8, "Cease / Out of Resources";
    HARD_RESET = 6 / 9, "Cease / Hard Reset";
    BFD_DOWN = 6 / 10, "Cease / BFD Down";
    REFRESH_UNSPECIFIC = 7 / 0, "ROUTE-REFRESH Message Error / Unspecific";
    REFRESH_BAD_LENGTH = 7 / 1, "ROUTE-REFRESH Message Error / Invalid Message Length";
    SEND_HOLD_TIMER_EXPIRED = 8 / 0, "Send Hold Timer Expired";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => match self.code {
                1 => write!(f, "Message Header Error / subcode {}", self.subcode),
                2 => write!(f, "OPEN Message Error / subcode {}", self.subcode),
                3 => write!(f, "UPDATE Message Error / subcode {}", self.subcode),
                4 => write!(f, "Hold Timer Expired / subcode {}", self.subcode),
                5 => write!(f, "Finite State Machine Error / subcode {}", self.subcode),
                6 => write!(f, "Cease / subcode {}", self.subcode),
                7 => write!(f, "ROUTE-REFRESH Message Error / subcode {}", self.subcode),
                8 => write!(f, "Send Hold Timer Expired / subcode {}", self.subcode),
                code => write!(f, "error code {code} subcode {}", self.subcode),
            },
        }
    }
}

/// A NOTIFICATION, read or to be written (RFC 4271 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// What is wrong.
    pub code: ErrorCode,
    /// What goes with it, as on the wire; what it means depends on the code.
    pub data: &'a [u8],
}

impl<'a> Notification<'a> {
    /// Reads a body. The framer lets no NOTIFICATION pass that is too short for its codes; should one
    /// come all the same it reads as an unspecific Cease, because an error about an error is never sent.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Self {
        match body {
            [code, subcode, data @ ..] => Self { code: ErrorCode { code: *code, subcode: *subcode }, data },
            [_] | [] => Self { code: ErrorCode::CEASE, data: &[] },
        }
    }

    /// Appends the whole message; data that would not fit 4096 octets is cut, since not every peer takes more.
    pub fn encode(&self, out: &mut BytesMut) {
        put_message(out, MessageType::Notification, |out| {
            out.put_slice(&[self.code.code, self.code.subcode]);
            out.put_slice(self.data.get(..DATA_MAX).unwrap_or(self.data));
        });
    }

    /// What a Hard Reset wraps (RFC 8538 §3).
    #[must_use]
    pub fn hard_reset(&self) -> Option<Self> {
        (self.code == ErrorCode::HARD_RESET).then(|| Self::parse(self.data))
    }

    /// The Shutdown Communication of an Administrative Shutdown or Reset (RFC 9003 §2), made fit for logs: no control
    /// characters, invalid UTF-8 replaced, a length octet that promises too much is not believed. `None` for other codes and
    /// without a text.
    #[must_use]
    pub fn shutdown_text(&self) -> Option<String> {
        if self.code != ErrorCode::ADMIN_SHUTDOWN && self.code != ErrorCode::ADMIN_RESET {
            return None;
        }
        let mut data = Cursor::new(self.data);
        let promised = usize::from(data.u8()?);
        let text = data.rest().get(..promised).unwrap_or_else(|| data.rest());
        let clean = String::from_utf8_lossy(text)
            .chars()
            .map(|c| if is_unfit(c) { ' ' } else { c })
            .collect::<String>();
        let clean = clean.trim();
        (!clean.is_empty()).then(|| clean.to_owned())
    }
}

/// The data of an Administrative Shutdown or Reset that says `text`, cut at a character to 255 octets (RFC 9003 §2).
#[must_use]
pub fn shutdown_data(text: &str) -> Vec<u8> {
    let text = text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or_default();
    let mut data = Vec::with_capacity(text.len().saturating_add(1));
    data.push(u8::try_from(text.len()).expect("cut to 255 octets"));
    data.extend_from_slice(text.as_bytes());
    data
}

/// Characters that change how a terminal or a log viewer shows what is around them.
fn is_unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
