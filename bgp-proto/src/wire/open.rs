//! OPEN (RFC 4271 §4.2), with optional parameters in both forms (RFC 5492, RFC 9072).
//!
//! Whether the peer's AS and identifier are the ones we want is decided in `fsm::negotiate`.

use std::net::Ipv4Addr;

use bytes::{BufMut, BytesMut};

use super::capability::{Capabilities, Capability, next_capability};
use super::header::MessageType;
use super::reader::Cursor;
use super::{put_length, put_message};
use crate::error::DecodeError;
use crate::number::{Asn, HoldTime, RouterId};

const VERSION: u8 = 4;
/// The optional parameter that holds capabilities.
const CAPABILITIES: u8 = 2;
/// In the place of a parameter type: lengths of two octets follow (RFC 9072 §2).
const EXTENDED: u8 = 255;
const FOUR_OCTET_AS: u8 = 65;

/// A received OPEN. What it says can be used without further checks of shape.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The sender's AS, out of the four-octet capability when there is one (RFC 6793 §4.1).
    pub asn: Asn,
    /// Whether the sender writes AS numbers in four octets.
    pub four_octet_as: bool,
    /// The proposed Hold Time (RFC 4271 §4.2).
    pub hold_time: HoldTime,
    /// The sender's BGP Identifier (RFC 6286).
    pub router_id: RouterId,
    /// Its capabilities, repeated ones as often as they come (RFC 5492 §4).
    pub capabilities: Capabilities<'a>,
}

impl<'a> Open<'a> {
    /// Reads a body: what follows the header.
    ///
    /// # Errors
    /// Everything that RFC 4271 §6.2, RFC 6286, RFC 6793 and RFC 7607 tell us to refuse in any OPEN: `UnsupportedVersion`,
    /// `UnusableAs`, `ZeroRouterId`, `HoldTimeTooShort`, `UnsupportedParameter` or `MalformedOpen` of [`DecodeError`].
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut body = Cursor::new(body);
        let version = body.u8().ok_or(DecodeError::MalformedOpen)?;
        if version != VERSION {
            return Err(DecodeError::UnsupportedVersion { version });
        }
        let (two_octet_asn, seconds, id, length) = fixed_part(&mut body).ok_or(DecodeError::MalformedOpen)?;
        let capabilities = parameters(body, length)?;
        let four_octet_asn = checked(capabilities)?;
        Ok(Self {
            asn: sender(two_octet_asn, four_octet_asn)?,
            four_octet_as: four_octet_asn.is_some(),
            hold_time: HoldTime::try_new(seconds).map_err(|_| DecodeError::HoldTimeTooShort { seconds })?,
            router_id: RouterId::try_new(Ipv4Addr::from_bits(id)).map_err(|_| DecodeError::ZeroRouterId)?,
            capabilities,
        })
    }
}

fn fixed_part(body: &mut Cursor<'_>) -> Option<(u16, u16, u32, u8)> {
    Some((body.u16()?, body.u16()?, body.u32()?, body.u8()?))
}

/// Finds out which of the two forms the parameters have. The length octet of the extended form says
/// nothing (RFC 9072 §2), as long as it is not zero.
fn parameters(rest: Cursor<'_>, length: u8) -> Result<Capabilities<'_>, DecodeError> {
    let mut ahead = rest;
    if length != 0 && ahead.u8() == Some(EXTENDED) {
        let length = ahead.u16().ok_or(DecodeError::MalformedOpen)?;
        return exactly(ahead.rest(), usize::from(length)).map(|octets| Capabilities::new(octets, true));
    }
    exactly(rest.rest(), usize::from(length)).map(|octets| Capabilities::new(octets, false))
}

fn exactly(octets: &[u8], length: usize) -> Result<&[u8], DecodeError> {
    if octets.len() == length { Ok(octets) } else { Err(DecodeError::MalformedOpen) }
}

/// Walks all parameters and capabilities once, so that the iterator cannot fail later. Returns the last
/// four-octet AS number. A wrong length there is fatal, unlike elsewhere: how wide every AS_PATH will be
/// depends on it.
fn checked(mut parameters: Capabilities<'_>) -> Result<Option<Asn>, DecodeError> {
    let mut asn = None;
    while let Some((code, value)) = parameters.next_parameter() {
        if code != CAPABILITIES {
            return Err(DecodeError::UnsupportedParameter { code });
        }
        let mut parameter = Cursor::new(value);
        while let Some((code, value)) = next_capability(&mut parameter) {
            if let Capability::FourOctetAs(number) = Capability::from_wire(code, value) {
                asn = Some(number);
            } else if code == FOUR_OCTET_AS {
                return Err(DecodeError::MalformedOpen);
            }
        }
        if !parameter.is_empty() {
            return Err(DecodeError::MalformedOpen);
        }
    }
    if parameters.parameters_are_read() { Ok(asn) } else { Err(DecodeError::MalformedOpen) }
}

/// AS_TRANS stands for a number of four octets and is nobody's own; the two fields must agree (RFC 6793 §4.1).
fn sender(two_octets: u16, four_octets: Option<Asn>) -> Result<Asn, DecodeError> {
    let short = Asn(u32::from(two_octets));
    let asn = four_octets.unwrap_or(short);
    let agrees = short == asn || short == Asn::TRANS;
    if asn == Asn(0) || asn == Asn::TRANS || !agrees {
        return Err(DecodeError::UnusableAs);
    }
    Ok(asn)
}

/// An OPEN to be sent (RFC 4271 §4.2).
#[derive(Clone, Copy, Debug)]
pub struct OpenBuilder<'a> {
    /// Our AS; AS_TRANS stands for one that two octets do not hold. The four-octet capability is the caller's to add (RFC
    /// 6793 §4.1).
    pub asn: Asn,
    /// The Hold Time that we propose, in the seconds of OPEN.
    pub hold_time: HoldTime,
    /// Our BGP Identifier, in network order.
    pub router_id: RouterId,
    /// What we can (RFC 5492).
    pub capabilities: &'a [Capability<'a>],
}

impl OpenBuilder<'_> {
    /// Appends the whole message: all capabilities in one parameter, with two-octet lengths only when
    /// one octet does not do (RFC 9072 §2).
    pub fn encode(&self, out: &mut BytesMut) {
        let mut values = BytesMut::new();
        for capability in self.capabilities {
            capability.encode(&mut values);
        }
        put_message(out, MessageType::Open, |out| {
            out.put_u8(VERSION);
            out.put_u16(self.asn.to_two_octets());
            out.put_u16(self.hold_time.seconds());
            out.put_slice(&self.router_id.to_address().octets());
            put_parameters(out, &values);
        });
    }
}

fn put_parameters(out: &mut BytesMut, capabilities: &[u8]) {
    let one_octet = |length: usize| u8::try_from(length).ok().filter(|length| *length != EXTENDED);
    let parameters = capabilities.len().saturating_add(2);
    match (one_octet(parameters), one_octet(capabilities.len())) {
        _ if capabilities.is_empty() => out.put_u8(0),
        (Some(all), Some(one)) => out.put_slice(&[all, CAPABILITIES, one]),
        (_, _) => {
            out.put_slice(&[EXTENDED, EXTENDED, 0, 0, CAPABILITIES, 0, 0]);
            let end = out.len();
            put_length(out, end.saturating_sub(5), capabilities.len().saturating_add(3));
            put_length(out, end.saturating_sub(2), capabilities.len());
        }
    }
    out.put_slice(capabilities);
}
