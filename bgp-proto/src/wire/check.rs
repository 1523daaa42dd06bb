//! RFC 7606: how bad an UPDATE is, in one pass over its attributes and without allocating.
//!
//! The same pass remembers where the attributes that matter lie, so that reading them looks for nothing
//! and cannot fail. What is to follow from a verdict is the caller's affair. A session in its default mode
//! does not ask: it uses no route, so no fault in a route can harm it.

use std::fmt;
use std::net::Ipv4Addr;

use super::as_path::{AsPath, AsPathFault, AsWidth};
use super::attribute::{LengthRule, OPTIONAL, Rule, Sender, TRANSITIVE, rule_of};
use super::community::{Community, LargeCommunity, communities, large_communities};
use super::nlri::Nlri;
use super::notification::ErrorCode;
use super::update::{Attribute, MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach, Update};
use crate::family::{Families, Family};

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MULTI_EXIT_DISC: u8 = 4;
const LOCAL_PREF: u8 = 5;
const AGGREGATOR: u8 = 7;
const COMMUNITIES: u8 = 8;
const EXTENDED_COMMUNITIES: u8 = 16;
const LARGE_COMMUNITY: u8 = 32;
const AS4_PATH: u8 = 17;
const ONLY_TO_CUSTOMER: u8 = 35;
const PARTIAL: u8 = 0x20;

/// What an UPDATE is worth, from best to worst (RFC 7606 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Nothing is wrong.
    Accept,
    /// An attribute is to be dropped, the routes are good.
    Discard,
    /// All its routes are to be treated as withdrawn.
    Withdraw,
    /// Its routes cannot be told: the session is to be reset.
    Reset,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing.
    None,
    /// An attribute runs past the end of the attributes.
    Overrun,
    /// The attribute's flags contradict its definition.
    Flags,
    /// The attribute has a length that it cannot have.
    Length,
    /// The attribute has a value that it cannot have.
    Value,
    /// The attribute comes a second time.
    Repeated,
    /// The attribute is not for a peer of this kind to send.
    NotFromHere,
    /// An attribute that must be there is not.
    Missing,
    /// An attribute that we do not know, and need not.
    Unknown,
    /// An attribute that claims to be well-known and is not.
    UnknownWellKnown,
    /// A family that was not negotiated.
    NotNegotiated,
    /// Prefixes that cannot be read.
    Nlri,
    /// The lengths of the parts of the UPDATE do not add up.
    Lengths,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nothing is wrong",
            Self::Overrun => "an attribute runs past the end of the attributes",
            Self::Flags => "the flags contradict the definition of the attribute",
            Self::Length => "the attribute cannot have this length",
            Self::Value => "the attribute cannot have this value",
            Self::Repeated => "the attribute comes twice",
            Self::NotFromHere => "the attribute is not for this kind of peer to send",
            Self::Missing => "a mandatory attribute is missing",
            Self::Unknown => "the attribute is not known",
            Self::UnknownWellKnown => "the attribute claims to be well-known and is not",
            Self::NotNegotiated => "the address family was not negotiated",
            Self::Nlri => "the prefixes cannot be read",
            Self::Lengths => "the lengths of its parts do not add up",
        })
    }
}

/// The gravest fault of an UPDATE; of equally grave ones the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the UPDATE is worth.
    pub class: Class,
    /// The attribute at fault; 0 when none is.
    pub attribute: u8,
    /// Where it begins in the message, in octets from the marker.
    pub at: u16,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.attribute, rule_of(self.attribute)) {
            (0, _) => write!(f, "{}", self.reason),
            (code, None) => write!(f, "attribute {code} at octet {}: {}", self.at, self.reason),
            (_, Some(rule)) => write!(f, "{} at octet {}: {}", rule.name, self.at, self.reason),
        }
    }
}

/// What of the session matters for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The peer is in another AS.
    pub external: bool,
    /// How wide AS numbers are.
    pub width: AsWidth,
    /// The families that were negotiated.
    pub families: Families,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

/// Judges an UPDATE.
#[must_use]
pub fn check(update: &Update<'_>, context: &Context) -> Verdict {
    inspect(update, context).verdict
}

/// Judges an UPDATE and finds what is good of it.
///
/// ```
/// use bgp_proto::Families;
/// use bgp_proto::wire::as_path::AsWidth;
/// use bgp_proto::wire::check::{Class, Context, inspect};
/// use bgp_proto::wire::update::Update;
///
/// let families = Families::BOTH;
/// let context = Context { external: true, width: AsWidth::Four, families, extended_next_hop: false };
/// let body = [
///     0, 0, 0, 20, // no withdrawn routes, 20 octets of attributes
///     0x40, 1, 1, 0, // ORIGIN
///     0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9, // AS_PATH 65001
///     0x40, 3, 4, 10, 0, 0, 1, // NEXT_HOP
///     24, 192, 0, 2,
/// ];
/// let update = Update::parse(&body)?;
/// let inspected = inspect(&update, &context);
/// assert_eq!(inspected.verdict().class, Class::Accept);
/// assert_eq!(inspected.announced().map(|prefix| prefix.to_string()).collect::<Vec<_>>(), ["192.0.2.0/24"]);
/// assert_eq!(inspected.as_path().and_then(|path| path.first()).map(|asn| asn.0), Some(65_001));
/// # Ok::<(), bgp_proto::DecodeError>(())
/// ```
#[must_use]
pub fn inspect<'a>(update: &Update<'a>, context: &Context) -> Inspected<'a> {
    let mut pass =
        Pass { context, update, seen: [0; 4], announces_mp: false, verdict: SOUND, found: Found::default() };
    for field in [update.withdrawn, update.nlri] {
        if Nlri::try_new(field, Family::Ipv4Unicast).is_err() {
            pass.find(0, 0, Class::Reset, Reason::Nlri);
        }
    }
    for attribute in update.attrs() {
        match attribute {
            Ok(attribute) => pass.attribute(&attribute),
            Err(overrun) => {
                pass.find(overrun.code.unwrap_or(0), overrun.at, Class::Withdraw, Reason::Overrun)
            }
        }
    }
    pass.mandatory();
    // Prefixes that cannot be read are none.
    let (withdrawn, nlri): (&[u8], &[u8]) = match pass.verdict.class {
        Class::Reset => (&[], &[]),
        Class::Accept | Class::Discard | Class::Withdraw => (update.withdrawn, update.nlri),
    };
    let attributes = update.attributes;
    Inspected { verdict: pass.verdict, width: context.width, withdrawn, attributes, nlri, found: pass.found }
}

/// An UPDATE after its one pass. Attributes that were faulty or repeated are not there.
#[derive(Clone, Copy, Debug)]
pub struct Inspected<'a> {
    verdict: Verdict,
    width: AsWidth,
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    nlri: &'a [u8],
    found: Found,
}

/// Where the attributes that are read most have their values.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    origin: Span,
    as_path: Span,
    next_hop: Span,
    med: Span,
    local_pref: Span,
    communities: Span,
    large: Span,
    extended: Span,
    reach: Span,
    unreach: Span,
}

/// A piece of the attributes, in octets from where they begin. No value begins there: 0 is "not found".
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u16,
    len: u16,
}

impl Span {
    fn of(attribute: &Attribute<'_>) -> Self {
        let at = attribute.at.saturating_add(attribute.header_len());
        Self { at: u16::try_from(at).unwrap_or(0), len: u16::try_from(attribute.value.len()).unwrap_or(0) }
    }

    fn value(self, attributes: &[u8]) -> Option<&[u8]> {
        let start = usize::from(self.at);
        if start == 0 {
            return None;
        }
        attributes.get(start..start.saturating_add(usize::from(self.len)))
    }
}

impl Found {
    fn place_of(&mut self, code: u8) -> Option<&mut Span> {
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
}

impl<'a> Inspected<'a> {
    /// What the UPDATE is worth. With [`Class::Withdraw`] the announced routes are to be treated as
    /// withdrawn; with [`Class::Reset`] there are none.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Withdrawn IPv4 routes of the classic field.
    #[must_use]
    pub fn withdrawn(&self) -> Nlri<'a> {
        Nlri::checked(self.withdrawn, Family::Ipv4Unicast)
    }

    /// Announced IPv4 routes of the classic field.
    #[must_use]
    pub fn announced(&self) -> Nlri<'a> {
        Nlri::checked(self.nlri, Family::Ipv4Unicast)
    }

    /// The announced routes of MP_REACH_NLRI, when it is there and of a negotiated family.
    #[must_use]
    pub fn reached(&self) -> Option<(MpReach<'a>, Nlri<'a>)> {
        let reach = MpReach::parse(self.value(self.found.reach)?)?;
        let family = Family::from_afi_safi(reach.afi, reach.safi)?;
        Some((reach, Nlri::checked(reach.nlri, family)))
    }

    /// The withdrawn routes of MP_UNREACH_NLRI, when it is there and of a negotiated family.
    #[must_use]
    pub fn unreached(&self) -> Option<Nlri<'a>> {
        let unreach = MpUnreach::parse(self.value(self.found.unreach)?)?;
        let family = Family::from_afi_safi(unreach.afi, unreach.safi)?;
        Some(Nlri::checked(unreach.nlri, family))
    }

    /// ORIGIN: 0, 1 or 2.
    #[must_use]
    pub fn origin(&self) -> Option<u8> {
        self.value(self.found.origin)?.first().copied()
    }

    /// AS_PATH.
    #[must_use]
    pub fn as_path(&self) -> Option<AsPath<'a>> {
        Some(AsPath::checked(self.value(self.found.as_path)?, self.width))
    }

    /// NEXT_HOP.
    #[must_use]
    pub fn next_hop(&self) -> Option<Ipv4Addr> {
        self.value(self.found.next_hop)?.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets))
    }

    /// MULTI_EXIT_DISC.
    #[must_use]
    pub fn med(&self) -> Option<u32> {
        self.value(self.found.med)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// LOCAL_PREF; from eBGP peers it is discarded.
    #[must_use]
    pub fn local_pref(&self) -> Option<u32> {
        self.value(self.found.local_pref)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// COMMUNITIES, in the order of the wire.
    pub fn communities(&self) -> impl Iterator<Item = Community> + use<'a> {
        communities(self.value(self.found.communities).unwrap_or_default())
    }

    /// LARGE_COMMUNITY, in the order of the wire.
    pub fn large_communities(&self) -> impl Iterator<Item = LargeCommunity> + use<'a> {
        large_communities(self.value(self.found.large).unwrap_or_default())
    }

    fn value(&self, span: Span) -> Option<&'a [u8]> {
        span.value(self.attributes)
    }

    /// EXTENDED COMMUNITIES, in the order of the wire.
    pub fn ext_communities(&self) -> impl Iterator<Item = [u8; 8]> + use<'a> {
        self.value(self.found.extended).unwrap_or_default().as_chunks().0.iter().copied()
    }
}

/// Judges the body of an UPDATE that may not even have the right lengths.
#[must_use]
pub fn check_body(body: &[u8], context: &Context) -> Verdict {
    match Update::parse(body) {
        Ok(update) => check(&update, context),
        Err(_) => Verdict { class: Class::Reset, attribute: 0, at: 0, reason: Reason::Lengths },
    }
}

impl Verdict {
    /// The answer to an UPDATE of class [`Class::Reset`] (RFC 4271 §6.3).
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self.reason {
            Reason::Nlri => ErrorCode::INVALID_NETWORK_FIELD,
            Reason::Length => ErrorCode::OPTIONAL_ATTRIBUTE,
            Reason::None
            | Reason::Overrun
            | Reason::Flags
            | Reason::Value
            | Reason::Repeated
            | Reason::NotFromHere
            | Reason::Missing
            | Reason::Unknown
            | Reason::UnknownWellKnown
            | Reason::NotNegotiated
            | Reason::Lengths => ErrorCode::MALFORMED_ATTRIBUTE_LIST,
        }
    }
}

const SOUND: Verdict = Verdict { class: Class::Accept, attribute: 0, at: 0, reason: Reason::None };

struct Pass<'c, 'a> {
    context: &'c Context,
    update: &'c Update<'a>,
    /// One bit for each type code.
    seen: [u64; 4],
    /// MP_REACH_NLRI brings routes.
    announces_mp: bool,
    verdict: Verdict,
    found: Found,
}

impl<'a> Pass<'_, 'a> {
    fn find(&mut self, attribute: u8, at: usize, class: Class, reason: Reason) {
        if class > self.verdict.class {
            let at = u16::try_from(self.update.attributes_at().saturating_add(at)).unwrap_or(u16::MAX);
            self.verdict = Verdict { class, attribute, at, reason };
        }
    }

    fn attribute(&mut self, attribute: &Attribute<'a>) {
        let repeated = self.note(attribute.code);
        if !repeated && self.takes_plain(attribute) {
            debug_assert_eq!(self.fault(attribute), None, "the short way says what the table says");
            return;
        }
        let fault = if repeated { Some(repetition(attribute.code)) } else { self.fault(attribute) };
        if let Some((class, reason)) = fault {
            return self.find(attribute.code, attribute.at, class, reason);
        }
        if let Some(place) = self.found.place_of(attribute.code) {
            *place = Span::of(attribute);
        }
    }

    /// The short way for attributes as nearly all routers send them: takes those that are good at a
    /// glance. What it does not take is judged by the table.
    #[inline]
    fn takes_plain(&mut self, attribute: &Attribute<'a>) -> bool {
        const BOTH: u8 = OPTIONAL | TRANSITIVE;
        let value = attribute.value;
        let found = &mut self.found;
        let place = match (attribute.code, attribute.flags & (BOTH | PARTIAL), value) {
            (ORIGIN, TRANSITIVE, [0..=2]) => &mut found.origin,
            (AS_PATH, TRANSITIVE, path) if !is_wrong_path(path, self.context.width) => &mut found.as_path,
            (NEXT_HOP, TRANSITIVE, [_, _, _, _]) if !is_martian(value) => &mut found.next_hop,
            (MULTI_EXIT_DISC, OPTIONAL, [_, _, _, _]) => &mut found.med,
            (LOCAL_PREF, TRANSITIVE, [_, _, _, _]) if !self.context.external => &mut found.local_pref,
            (COMMUNITIES, BOTH, [_, ..]) if value.len().is_multiple_of(4) => &mut found.communities,
            _ => return false,
        };
        *place = Span::of(attribute);
        true
    }

    fn fault(&mut self, attribute: &Attribute<'a>) -> Option<(Class, Reason)> {
        let Some(rule) = rule_of(attribute.code) else {
            let well_known = attribute.flags & OPTIONAL == 0;
            let unknown = (Class::Discard, Reason::Unknown);
            return Some(if well_known { (Class::Withdraw, Reason::UnknownWellKnown) } else { unknown });
        };
        // The routes of a multiprotocol attribute are looked at whatever its flags: a broken field is graver.
        let wrong_value = self.wrong_value(attribute, rule);
        if !has_right_flags(attribute, rule) {
            return Some(
                wrong_value
                    .filter(|(class, _)| *class > rule.wrong_flags)
                    .unwrap_or((rule.wrong_flags, Reason::Flags)),
            );
        }
        wrong_value
    }

    fn wrong_value(&mut self, attribute: &Attribute<'a>, rule: &Rule) -> Option<(Class, Reason)> {
        let is_welcome = match rule.from {
            Sender::Anyone => true,
            Sender::Internal => !self.context.external,
            Sender::TwoOctetSpeakers => self.context.width == AsWidth::Two,
        };
        if !is_welcome {
            return Some((Class::Discard, Reason::NotFromHere));
        }
        if !has_right_length(attribute.value.len(), rule.length, self.context.width) {
            return Some((rule.wrong_value, Reason::Length));
        }
        let value_is_wrong = |is_wrong: bool| is_wrong.then_some((rule.wrong_value, Reason::Value));
        match attribute.code {
            ORIGIN => value_is_wrong(attribute.value.first().is_none_or(|origin| *origin > 2)),
            AS_PATH => value_is_wrong(is_wrong_path(attribute.value, self.context.width)),
            AS4_PATH => value_is_wrong(is_wrong_path(attribute.value, AsWidth::Four)),
            NEXT_HOP => value_is_wrong(is_martian(attribute.value)),
            AGGREGATOR => {
                let asn = attribute.value.get(..self.context.width.octets());
                value_is_wrong(asn.is_none_or(|asn| asn.iter().all(|octet| *octet == 0)))
            }
            ONLY_TO_CUSTOMER => value_is_wrong(attribute.value.iter().all(|octet| *octet == 0)),
            MP_REACH_NLRI => self.wrong_reach(attribute.value),
            MP_UNREACH_NLRI => self.wrong_unreach(attribute.value),
            _ => None,
        }
    }

    fn wrong_reach(&mut self, value: &'a [u8]) -> Option<(Class, Reason)> {
        let Some(reach) = MpReach::parse(value) else { return Some((Class::Reset, Reason::Length)) };
        let Some(family) = self.negotiated(reach.afi, reach.safi) else {
            return Some((Class::Discard, Reason::NotNegotiated));
        };
        // RFC 7606 §7.11; RFC 8950 §4 for IPv4.
        let fits = match (family, reach.next_hop.len()) {
            (Family::Ipv4Unicast, 4) | (Family::Ipv6Unicast, 16 | 32) => true,
            (Family::Ipv4Unicast, 16 | 32) => self.context.extended_next_hop,
            (Family::Ipv4Unicast | Family::Ipv6Unicast, _) => false,
        };
        if !fits {
            return Some((Class::Reset, Reason::Length));
        }
        self.announces_mp = !reach.nlri.is_empty();
        if Nlri::try_new(reach.nlri, family).is_err() {
            return Some((Class::Reset, Reason::Nlri));
        }
        None
    }

    fn wrong_unreach(&mut self, value: &'a [u8]) -> Option<(Class, Reason)> {
        let Some(unreach) = MpUnreach::parse(value) else { return Some((Class::Reset, Reason::Length)) };
        let Some(family) = self.negotiated(unreach.afi, unreach.safi) else {
            return Some((Class::Discard, Reason::NotNegotiated));
        };
        if Nlri::try_new(unreach.nlri, family).is_err() {
            return Some((Class::Reset, Reason::Nlri));
        }
        None
    }

    fn negotiated(&self, afi: u16, safi: u8) -> Option<Family> {
        Family::from_afi_safi(afi, safi).filter(|family| self.context.families.contains(*family))
    }

    /// RFC 7606 §3 d: judged by the routes, not by whether there is any attribute at all.
    fn mandatory(&mut self) {
        let classic = !self.update.nlri.is_empty();
        if !classic && !self.announces_mp {
            return;
        }
        let classic_only = if classic { 1 << NEXT_HOP } else { 0 };
        let internal_only = if self.context.external { 0 } else { 1 << LOCAL_PREF };
        let needed = 1 << ORIGIN | 1 << AS_PATH | classic_only | internal_only;
        let [seen, ..] = self.seen;
        let missing = needed & !seen;
        if missing != 0 {
            // The lowest one: of equally grave faults the first counts.
            let code = u8::try_from(missing.trailing_zeros()).unwrap_or(0);
            self.find(code, self.update.attributes.len(), Class::Withdraw, Reason::Missing);
        }
    }

    /// Notes a type code; returns whether it was noted before.
    fn note(&mut self, code: u8) -> bool {
        let repeated = self.has_seen(code);
        if let Some(word) = self.seen.get_mut(usize::from(code / 64)) {
            *word |= 1 << (code % 64);
        }
        repeated
    }

    fn has_seen(&self, code: u8) -> bool {
        self.seen.get(usize::from(code / 64)).is_some_and(|word| word & (1 << (code % 64)) != 0)
    }
}

/// RFC 7606 §3 g.
fn repetition(code: u8) -> (Class, Reason) {
    match code {
        MP_REACH_NLRI | MP_UNREACH_NLRI => (Class::Reset, Reason::Repeated),
        _ => (Class::Discard, Reason::Repeated),
    }
}

/// The partial bit has no business on a well-known attribute; elsewhere it may be as it likes.
fn has_right_flags(attribute: &Attribute<'_>, rule: &Rule) -> bool {
    let is_well_known = rule.flags & OPTIONAL == 0;
    attribute.flags & (OPTIONAL | TRANSITIVE) == rule.flags
        && !(is_well_known && attribute.flags & PARTIAL != 0)
}

fn has_right_length(length: usize, rule: LengthRule, width: AsWidth) -> bool {
    match (rule, width) {
        (LengthRule::Exactly(octets), _)
        | (LengthRule::ByWidth { two: octets, .. }, AsWidth::Two)
        | (LengthRule::ByWidth { four: octets, .. }, AsWidth::Four) => length == usize::from(octets),
        (LengthRule::Multiple(octets), _) => length != 0 && is_multiple(length, octets),
        (LengthRule::Any, _) => true,
    }
}

/// A division by a number that is known beforehand costs a tenth of another one.
fn is_multiple(length: usize, octets: u8) -> bool {
    match octets {
        4 => length.is_multiple_of(4),
        8 => length.is_multiple_of(8),
        12 => length.is_multiple_of(12),
        other => length.is_multiple_of(usize::from(other)),
    }
}

/// We are in no confederation, so nobody may tell us of one (RFC 5065 §5.3).
fn is_wrong_path(value: &[u8], width: AsWidth) -> bool {
    match AsPath::try_new(value, width) {
        Ok(path) => path.is_confederate(),
        Err(AsPathFault::Segment | AsPathFault::AsZero) => true,
    }
}

/// RFC 4271 §6.3: an address that no router can have.
fn is_martian(next_hop: &[u8]) -> bool {
    matches!(next_hop, [0 | 127 | 224.., ..])
}
