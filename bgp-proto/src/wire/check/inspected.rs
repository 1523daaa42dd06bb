//! An UPDATE whose attributes were judged: reading it looks for nothing and cannot fail.

use std::net::Ipv4Addr;

use super::Verdict;
use crate::family::Family;
use crate::wire::as_path::{AsPath, AsWidth};
use crate::wire::attribute::{
    AS_PATH, COMMUNITIES, EXTENDED_COMMUNITIES, LARGE_COMMUNITY, LOCAL_PREF, MULTI_EXIT_DISC, NEXT_HOP,
    ORIGIN,
};
use crate::wire::community::{Community, LargeCommunity, communities, large_communities};
use crate::wire::nlri::Nlri;
use crate::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach};

/// An UPDATE after its one pass. Attributes that were faulty or repeated are not there.
#[derive(Clone, Copy, Debug)]
pub struct Inspected<'a> {
    pub(super) verdict: Verdict,
    pub(super) width: AsWidth,
    pub(super) withdrawn: &'a [u8],
    pub(super) attributes: &'a [u8],
    pub(super) nlri: &'a [u8],
    pub(super) found: Found,
}

/// Where the attributes that are read most have their values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) origin: Span,
    pub(super) as_path: Span,
    pub(super) next_hop: Span,
    pub(super) med: Span,
    pub(super) local_pref: Span,
    pub(super) communities: Span,
    pub(super) large: Span,
    pub(super) extended: Span,
    pub(super) reach: Span,
    pub(super) unreach: Span,
    /// The last attribute that was good, and that nobody reads.
    pub(super) unread: Span,
}

/// A piece of the attributes, in octets from where they begin. No value begins there: 0 is "not found".
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    at: u16,
    len: u16,
}

impl Span {
    /// The last `len` octets before `behind`, which is the end of `attributes`.
    #[inline]
    pub(super) fn before(attributes: &[u8], behind: &[u8], len: usize) -> Self {
        let at = attributes.len().wrapping_sub(behind.len()).wrapping_sub(len);
        Self { at: low_half(at), len: low_half(len) }
    }

    #[inline]
    fn value(self, attributes: &[u8]) -> Option<&[u8]> {
        let start = usize::from(self.at);
        if start == 0 {
            return None;
        }
        attributes.get(start..start.saturating_add(usize::from(self.len)))
    }
}

/// All of a length within attributes, whose own length came in two octets.
#[inline]
fn low_half(length: usize) -> u16 {
    let [low, high, ..] = length.to_le_bytes();
    u16::from_le_bytes([low, high])
}

impl Found {
    /// Where the value of an attribute goes; `None` for those that nobody reads.
    pub(super) fn place_of(&mut self, code: u8) -> Option<&mut Span> {
        Some(match code {
            ORIGIN => &mut self.origin,
            AS_PATH => &mut self.as_path,
            NEXT_HOP => &mut self.next_hop,
            MULTI_EXIT_DISC => &mut self.med,
            LOCAL_PREF => &mut self.local_pref,
            COMMUNITIES => &mut self.communities,
            EXTENDED_COMMUNITIES => &mut self.extended,
            LARGE_COMMUNITY => &mut self.large,
            MP_REACH_NLRI => &mut self.reach,
            MP_UNREACH_NLRI => &mut self.unreach,
            _ => return None,
        })
    }

    /// Whether MP_REACH_NLRI brings routes.
    pub(super) fn announces_multiprotocol(&self, attributes: &[u8]) -> bool {
        let reach = self.reach.value(attributes).and_then(MpReach::parse);
        reach.is_some_and(|reach| !reach.nlri.is_empty())
    }
}

impl<'a> Inspected<'a> {
    /// What the UPDATE is worth. With [`Class::Withdraw`](super::Class::Withdraw) the announced routes are to be treated as
    /// withdrawn; with [`Class::Reset`](super::Class::Reset) there are none.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Withdrawn IPv4 routes of the classic field (RFC 4271 §4.3).
    #[must_use]
    pub fn withdrawn(&self) -> Nlri<'a> {
        Nlri::checked(self.withdrawn, Family::Ipv4Unicast)
    }

    /// Announced IPv4 routes of the classic field (RFC 4271 §4.3).
    #[must_use]
    pub fn announced(&self) -> Nlri<'a> {
        Nlri::checked(self.nlri, Family::Ipv4Unicast)
    }

    /// The announced routes of MP_REACH_NLRI (RFC 4760 §3), when it is there and of a negotiated family.
    #[must_use]
    pub fn reached(&self) -> Option<(MpReach<'a>, Nlri<'a>)> {
        let reach = MpReach::parse(self.value(self.found.reach)?)?;
        let family = Family::from_afi_safi(reach.afi, reach.safi)?;
        Some((reach, Nlri::checked(reach.nlri, family)))
    }

    /// The withdrawn routes of MP_UNREACH_NLRI (RFC 4760 §4), when it is there and of a negotiated family.
    #[must_use]
    pub fn unreached(&self) -> Option<Nlri<'a>> {
        let unreach = MpUnreach::parse(self.value(self.found.unreach)?)?;
        let family = Family::from_afi_safi(unreach.afi, unreach.safi)?;
        Some(Nlri::checked(unreach.nlri, family))
    }

    /// ORIGIN: 0, 1 or 2 (RFC 4271 §5.1.1).
    #[must_use]
    pub fn origin(&self) -> Option<u8> {
        self.value(self.found.origin)?.first().copied()
    }

    /// AS_PATH (RFC 4271 §5.1.2).
    #[must_use]
    pub fn as_path(&self) -> Option<AsPath<'a>> {
        Some(AsPath::checked(self.value(self.found.as_path)?, self.width))
    }

    /// NEXT_HOP (RFC 4271 §5.1.3); that of MP_REACH_NLRI is in [`Inspected::reached`].
    #[must_use]
    pub fn next_hop(&self) -> Option<Ipv4Addr> {
        self.value(self.found.next_hop)?.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets))
    }

    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4).
    #[must_use]
    pub fn med(&self) -> Option<u32> {
        self.value(self.found.med)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// LOCAL_PREF; from eBGP peers it is discarded (RFC 4271 §5.1.5).
    #[must_use]
    pub fn local_pref(&self) -> Option<u32> {
        self.value(self.found.local_pref)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// COMMUNITIES (RFC 1997), in the order of the wire.
    pub fn communities(&self) -> impl Iterator<Item = Community> + use<'a> {
        communities(self.value(self.found.communities).unwrap_or_default())
    }

    /// LARGE_COMMUNITY (RFC 8092), in the order of the wire.
    pub fn large_communities(&self) -> impl Iterator<Item = LargeCommunity> + use<'a> {
        large_communities(self.value(self.found.large).unwrap_or_default())
    }

    fn value(&self, span: Span) -> Option<&'a [u8]> {
        span.value(self.attributes)
    }

    /// EXTENDED COMMUNITIES (RFC 4360), eight octets each, in the order of the wire.
    pub fn ext_communities(&self) -> impl Iterator<Item = [u8; 8]> + use<'a> {
        self.value(self.found.extended).unwrap_or_default().as_chunks().0.iter().copied()
    }
}
