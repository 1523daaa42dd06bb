//! What we say about a route: `PathAttrs`, the owned and comparable form that callers build, and
//! `AttrBlob`, the same as octets for one class of peers.
//!
//! Next hop and our own AS are not in `PathAttrs`: they belong to the session. The next hop is not in
//! the blob either; `pack` puts it where the family wants it.

use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::number::Asn;
use crate::wire::as_path::AsWidth;
use crate::wire::community::{Community, LargeCommunity};

/// What a blob may take of a message of 4096 octets, so that header, next hops of both kinds and one
/// IPv6 route still fit beside it.
const BLOB_MAX: usize = 4000;
/// LOCAL_PREF towards iBGP peers when nobody chose one.
const LOCAL_PREF: u32 = 100;
/// A segment of an AS_PATH counts its numbers in one octet.
const SEGMENT_MAX: usize = 255;
const AS_SEQUENCE: u8 = 2;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// The ORIGIN attribute (RFC 4271 §5.1.1). All nodes should use the same one, or routers will not
/// balance between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Interior to the originating AS; what we send unless told otherwise.
    #[default]
    Igp,
    /// Learned by EGP.
    Egp,
    /// Learned by other means.
    Incomplete,
}

/// Path attributes of a route, apart from next hop and own AS.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathAttrs {
    /// ORIGIN (RFC 4271 §5.1.1).
    pub origin: Origin,
    /// How often our AS is put in front of the path beyond the one time that eBGP asks for (RFC 4271 §5.1.2). Towards
    /// iBGP peers the path is empty: they would take our AS in it for a loop.
    pub prepend: u8,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4): the lower one is preferred; absent when `None`.
    pub med: Option<u32>,
    /// LOCAL_PREF towards iBGP peers: the higher one is preferred; `None` means 100. Never sent to eBGP peers (RFC 4271
    /// §5.1.5).
    pub local_pref: Option<u32>,
    /// COMMUNITIES (RFC 1997). They go out sorted and each once, whatever is here.
    pub communities: Vec<Community>,
    /// LARGE_COMMUNITY (RFC 8092). They go out sorted and each once, whatever is here.
    pub large_communities: Vec<LargeCommunity>,
    /// EXTENDED COMMUNITIES (RFC 4360), eight octets each as they go on the wire. They go out sorted and each once, whatever
    /// is here.
    pub ext_communities: Vec<[u8; 8]>,
}

impl PathAttrs {
    /// Whether these attributes leave room for a route in a message, whatever the peer. Routes whose
    /// attributes do not are never announced, so ask before accepting a configuration.
    ///
    /// # Errors
    /// [`AttrsTooLong`]: they take more than 4000 octets towards some peer.
    pub fn fits(&self) -> Result<(), AttrsTooLong> {
        let two = PathStyle {
            local_asn: Asn(u32::MAX),
            external: true,
            width: AsWidth::Two,
            only_to_customer: true,
        };
        let four = PathStyle { width: AsWidth::Four, ..two };
        let internal = PathStyle { external: false, only_to_customer: false, ..four };
        [two, four, internal].into_iter().try_for_each(|style| AttrBlob::try_new(self, style).map(drop))
    }
}

/// Attributes that would leave no room for a route in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttrsTooLong {
    /// How many octets they take.
    pub octets: usize,
}

impl fmt::Display for AttrsTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "path attributes of {} octets do not fit a message ({BLOB_MAX}): use fewer communities",
            self.octets
        )
    }
}

impl std::error::Error for AttrsTooLong {}

/// What the octets of attributes depend on besides the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathStyle {
    pub(crate) local_asn: Asn,
    /// eBGP.
    pub(crate) external: bool,
    pub(crate) width: AsWidth,
    /// The peer may pass routes on to its customers only (RFC 9234 §5).
    pub(crate) only_to_customer: bool,
}

/// Encoded attributes without NEXT_HOP and MP_REACH_NLRI, ascending by type code.
#[derive(Debug)]
pub(crate) struct AttrBlob {
    octets: Box<[u8]>,
    /// NEXT_HOP goes here: behind ORIGIN and AS_PATH.
    split: usize,
}

impl AttrBlob {
    pub(crate) fn try_new(attrs: &PathAttrs, style: PathStyle) -> Result<Self, AttrsTooLong> {
        let mut out = BytesMut::new();
        put_attribute(&mut out, TRANSITIVE, 1, &[attrs.origin.code()]);
        put_attribute(&mut out, TRANSITIVE, 2, &own_path(attrs, style, style.width));
        let split = out.len();
        put_optional(&mut out, OPTIONAL, 4, attrs.med.map(u32::to_be_bytes));
        let local_pref = attrs.local_pref.unwrap_or(LOCAL_PREF).to_be_bytes();
        put_optional(&mut out, TRANSITIVE, 5, (!style.external).then_some(local_pref));
        let communities = sorted(attrs.communities.iter().map(|community| community.0.to_be_bytes()));
        put_list(&mut out, 8, &communities);
        put_list(&mut out, 16, &sorted(attrs.ext_communities.iter().copied()));
        if style.width == AsWidth::Two && style.local_asn.0 > u32::from(u16::MAX) {
            // RFC 6793 §4.2.2: the true path, since the other one says AS_TRANS.
            let path = own_path(attrs, style, AsWidth::Four);
            put_list(&mut out, 17, path.as_chunks::<1>().0);
        }
        put_list(&mut out, 32, &sorted(attrs.large_communities.iter().map(LargeCommunity::to_octets)));
        if style.only_to_customer {
            put_attribute(&mut out, OPTIONAL | TRANSITIVE, 35, &style.local_asn.0.to_be_bytes());
        }
        if out.len() > BLOB_MAX {
            return Err(AttrsTooLong { octets: out.len() });
        }
        Ok(Self { octets: Box::from(&*out), split })
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    /// What goes before NEXT_HOP, and what goes behind it.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        self.octets.split_at_checked(self.split).unwrap_or((&self.octets, &[]))
    }
}

impl Origin {
    fn code(self) -> u8 {
        match self {
            Self::Igp => 0,
            Self::Egp => 1,
            Self::Incomplete => 2,
        }
    }
}

/// eBGP: our AS, once and as often more as asked for; iBGP: nothing (RFC 4271 §5.1.2).
fn own_path(attrs: &PathAttrs, style: PathStyle, width: AsWidth) -> Vec<u8> {
    let mut path = Vec::new();
    if !style.external {
        return path;
    }
    let number = style.local_asn.0.to_be_bytes();
    let short = style.local_asn.to_two_octets().to_be_bytes();
    let mut left = usize::from(attrs.prepend).saturating_add(1);
    while left > 0 {
        let count = left.min(SEGMENT_MAX);
        path.extend([AS_SEQUENCE, u8::try_from(count).expect("at most 255")]);
        for _ in 0..count {
            match width {
                AsWidth::Two => path.extend(short),
                AsWidth::Four => path.extend(number),
            }
        }
        left = left.saturating_sub(count);
    }
    path
}

fn sorted<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> Vec<[u8; N]> {
    let mut values: Vec<[u8; N]> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// An optional transitive attribute that is a list; an empty list is no attribute.
fn put_list<const N: usize>(out: &mut BytesMut, code: u8, values: &[[u8; N]]) {
    if !values.is_empty() {
        put_attribute(out, OPTIONAL | TRANSITIVE, code, values.as_flattened());
    }
}

fn put_optional(out: &mut BytesMut, flags: u8, code: u8, value: Option<[u8; 4]>) {
    if let Some(value) = value {
        put_attribute(out, flags, code, &value);
    }
}

fn put_attribute(out: &mut BytesMut, flags: u8, code: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(length) => out.put_slice(&[flags, code, length]),
        Err(_) => {
            out.put_slice(&[flags | EXTENDED_LENGTH, code]);
            // Longer than a message can be: the size check behind refuses it in any case.
            out.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        }
    }
    out.put_slice(value);
}
