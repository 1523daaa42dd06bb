//! RFC 7606: how bad an UPDATE is, in one pass over its attributes and without allocating.
//!
//! The same pass remembers where the attributes that matter lie, so that reading them looks for nothing
//! and cannot fail. What is to follow from a verdict is the caller's affair. A session in its default mode
//! does not ask: it uses no route, so no fault in a route can harm it.
//!
//! `verdict` has the answers, `fault` the long way to them, `inspected` what can be read afterwards.

mod fault;
mod inspected;
mod verdict;

use super::as_path::{self, AsWidth};
use super::attribute::{
    AGGREGATOR, AS_PATH, ATOMIC_AGGREGATE, CLUSTER_LIST, COMMUNITIES, EXTENDED_COMMUNITIES, LARGE_COMMUNITY,
    LOCAL_PREF, MULTI_EXIT_DISC, NEXT_HOP, OPTIONAL, ORIGIN, ORIGINATOR_ID, PARTIAL, TRANSITIVE,
};
use super::nlri;
use super::update::{Attribute, MP_REACH_NLRI, MP_UNREACH_NLRI, Update, split_attribute};
use crate::family::{Families, Family};

use fault::{fault, is_martian, repetition, wrong_reach, wrong_unreach};
pub use inspected::Inspected;
use inspected::{Found, Span};
pub use verdict::{Class, Reason, Verdict};

/// What of the session matters for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The peer is in another AS.
    pub external: bool,
    /// How wide AS numbers are (RFC 6793 §4).
    pub width: AsWidth,
    /// The families that were negotiated (RFC 4760 §8); attributes of others are discarded.
    pub families: Families,
    /// IPv4 routes may have IPv6 next hops (RFC 8950 §3).
    pub extended_next_hop: bool,
}

/// Judges an UPDATE (RFC 7606 §3, §7).
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
    let Update { withdrawn, attributes, nlri } = *update;
    // What is returned is filled in where it lies: copying it costs as much as judging an attribute.
    let mut inspected = Inspected {
        verdict: Verdict::SOUND,
        width: context.width,
        withdrawn,
        attributes,
        nlri,
        found: Found::default(),
    };
    let mut pass = Pass { context, attributes_at: update.attributes_at(), seen: 0, seen_above: [0; 3] };
    if !nlri::is_sound(withdrawn, Family::Ipv4Unicast) || !nlri::is_sound(nlri, Family::Ipv4Unicast) {
        pass.find(&mut inspected, 0, 0, (Class::Reset, Reason::Nlri));
    }
    let mut rest = pass.takes_lead(attributes, &mut inspected.found);
    while !rest.is_empty() {
        let at = attributes.len().wrapping_sub(rest.len());
        let Some((flags, code, value, behind)) = split_attribute(rest) else {
            let code = rest.get(1).copied().unwrap_or(0);
            pass.find(&mut inspected, code, at, (Class::Withdraw, Reason::Overrun));
            break;
        };
        let span = Span::before(attributes, behind, value.len());
        let attribute = Attribute { flags, code, value, at };
        let glance = if pass.has_seen(code) {
            Glance::Unclear
        } else {
            glance(&attribute, &mut inspected.found, context)
        };
        match glance {
            Glance::Good(place) => {
                debug_assert_eq!(fault(&attribute, context), None, "both ways agree");
                pass.seen |= low_bit(code);
                *place = span;
            }
            Glance::Unwelcome => {
                debug_assert_eq!(fault(&attribute, context), Some(UNWELCOME), "both ways agree");
                pass.seen |= low_bit(code);
                if inspected.verdict.class == Class::Accept {
                    pass.find(&mut inspected, code, at, UNWELCOME);
                }
            }
            Glance::Unclear => pass.judge(&attribute, span, &mut inspected),
        }
        rest = behind;
    }
    pass.ask_for_mandatory(update, &mut inspected);
    inspected
}

/// Judges the body of an UPDATE that may not even have the right lengths: [`Class::Reset`] with [`Reason::Lengths`] then.
#[must_use]
pub fn check_body(body: &[u8], context: &Context) -> Verdict {
    match Update::parse(body) {
        Ok(update) => check(&update, context),
        Err(_) => Verdict { class: Class::Reset, attribute: 0, at: 0, reason: Reason::Lengths },
    }
}

struct Pass<'c> {
    context: &'c Context,
    /// Where in the message the attributes begin, in octets.
    attributes_at: usize,
    /// One bit for each type code below 64: those that we know.
    seen: u64,
    /// The same for the other ones.
    seen_above: [u64; 3],
}

impl Pass<'_> {
    #[cold]
    fn find(
        &self,
        inspected: &mut Inspected<'_>,
        attribute: u8,
        at: usize,
        (class, reason): (Class, Reason),
    ) {
        if class > inspected.verdict.class {
            let at = u16::try_from(self.attributes_at.saturating_add(at)).unwrap_or(u16::MAX);
            inspected.verdict = Verdict { class, attribute, at, reason };
        }
        if class == Class::Reset {
            // Prefixes that cannot be read are none.
            (inspected.withdrawn, inspected.nlri) = (&[], &[]);
        }
    }

    /// ORIGIN, AS_PATH and NEXT_HOP, with which nearly every UPDATE begins: takes them as far as they are
    /// there in this order and good at a glance. Returns what is behind.
    #[inline]
    fn takes_lead<'a>(&mut self, attributes: &'a [u8], found: &mut Found) -> &'a [u8] {
        let mut rest = attributes;
        if let [TRANSITIVE, ORIGIN, 1, 0..=2, behind @ ..] = rest {
            found.origin = Span::before(attributes, behind, 1);
            self.seen |= 1 << ORIGIN;
            rest = behind;
        }
        if let Some((flags, AS_PATH, path, behind)) = split_attribute(rest)
            && flags & (OPTIONAL | TRANSITIVE | PARTIAL) == TRANSITIVE
            && self.context.width == AsWidth::Four
            && as_path::is_plain(path)
        {
            found.as_path = Span::before(attributes, behind, path.len());
            self.seen |= 1 << AS_PATH;
            rest = behind;
        }
        if let [TRANSITIVE, NEXT_HOP, 4, first, _, _, _, behind @ ..] = rest
            && !is_martian(&[*first])
        {
            found.next_hop = Span::before(attributes, behind, 4);
            self.seen |= 1 << NEXT_HOP;
            rest = behind;
        }
        rest
    }

    /// The long way: by the table.
    #[inline(never)]
    fn judge(&mut self, attribute: &Attribute<'_>, span: Span, inspected: &mut Inspected<'_>) {
        let is_first = self.note(attribute.code);
        let fault = if is_first { fault(attribute, self.context) } else { Some(repetition(attribute.code)) };
        if let Some(fault) = fault {
            self.find(inspected, attribute.code, attribute.at, fault);
        } else if let Some(place) = inspected.found.place_of(attribute.code) {
            *place = span;
        }
    }

    /// RFC 7606 §3 d: judged by the routes, not by whether there is any attribute at all.
    #[inline]
    fn ask_for_mandatory(&self, update: &Update<'_>, inspected: &mut Inspected<'_>) {
        let classic = !update.nlri.is_empty();
        if !classic && !inspected.found.announces_multiprotocol(update.attributes) {
            return;
        }
        let classic_only = if classic { 1 << NEXT_HOP } else { 0 };
        let internal_only = if self.context.external { 0 } else { 1 << LOCAL_PREF };
        let needed = 1 << ORIGIN | 1 << AS_PATH | classic_only | internal_only;
        let missing = needed & !self.seen;
        if missing != 0 {
            // The lowest one: of equally grave faults the first counts.
            let code = u8::try_from(missing.trailing_zeros()).unwrap_or(0);
            self.find(inspected, code, update.attributes.len(), (Class::Withdraw, Reason::Missing));
        }
    }

    /// Whether a type code below 64 was noted.
    #[inline]
    fn has_seen(&self, code: u8) -> bool {
        self.seen & low_bit(code) != 0
    }

    /// Notes a type code; returns whether it is there for the first time.
    fn note(&mut self, code: u8) -> bool {
        let [one, two, three] = &mut self.seen_above;
        let word = match code {
            0..64 => &mut self.seen,
            64..128 => one,
            128..192 => two,
            192.. => three,
        };
        let bit = low_bit(code % 64);
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }
}

/// The bit of a type code below 64; none for another one.
#[inline]
fn low_bit(code: u8) -> u64 {
    1_u64.checked_shl(code.into()).unwrap_or(0)
}

/// What can be said of an attribute without the table.
enum Glance<'f> {
    /// It is good, and its value is kept here.
    Good(&'f mut Span),
    /// It is as it should be, but not from this peer: [`UNWELCOME`].
    Unwelcome,
    /// The table has to be asked.
    Unclear,
}

const UNWELCOME: (Class, Reason) = (Class::Discard, Reason::NotFromHere);

/// The short way for attributes as nearly all routers send them.
#[inline(always)]
fn glance<'f>(attribute: &Attribute<'_>, found: &'f mut Found, context: &Context) -> Glance<'f> {
    const BOTH: u8 = OPTIONAL | TRANSITIVE;
    // Whether somebody has passed the attribute on unread matters with well-known ones only.
    const BOTH_PARTIAL: u8 = BOTH | PARTIAL;
    let value = attribute.value;
    let is_wide = context.width == AsWidth::Four;
    let (is_good, place) = match (attribute.code, attribute.flags & BOTH_PARTIAL) {
        (ORIGIN, TRANSITIVE) => (matches!(value, [0..=2]), &mut found.origin),
        (AS_PATH, TRANSITIVE) => (is_wide && as_path::is_plain(value), &mut found.as_path),
        (NEXT_HOP, TRANSITIVE) => (value.len() == 4 && !is_martian(value), &mut found.next_hop),
        (MULTI_EXIT_DISC, OPTIONAL) => (value.len() == 4, &mut found.med),
        (LOCAL_PREF, TRANSITIVE) | (ORIGINATOR_ID | CLUSTER_LIST, OPTIONAL) if context.external => {
            return Glance::Unwelcome;
        }
        (LOCAL_PREF, TRANSITIVE) => (value.len() == 4, &mut found.local_pref),
        (ORIGINATOR_ID, OPTIONAL) => (value.len() == 4, &mut found.unread),
        (CLUSTER_LIST, OPTIONAL) => (is_list_of(4, value), &mut found.unread),
        (ATOMIC_AGGREGATE, TRANSITIVE) => (value.is_empty(), &mut found.unread),
        (AGGREGATOR, BOTH | BOTH_PARTIAL) => {
            (is_wide && value.len() == 8 && !value.starts_with(&[0; 4]), &mut found.unread)
        }
        (COMMUNITIES, BOTH | BOTH_PARTIAL) => (is_list_of(4, value), &mut found.communities),
        (EXTENDED_COMMUNITIES, BOTH | BOTH_PARTIAL) => (is_list_of(8, value), &mut found.extended),
        (LARGE_COMMUNITY, BOTH | BOTH_PARTIAL) => (is_list_of(12, value), &mut found.large),
        (MP_REACH_NLRI, OPTIONAL) => (wrong_reach(value, context).is_none(), &mut found.reach),
        (MP_UNREACH_NLRI, OPTIONAL) => (wrong_unreach(value, context).is_none(), &mut found.unreach),
        (_, _) => return Glance::Unclear,
    };
    if is_good { Glance::Good(place) } else { Glance::Unclear }
}

#[inline]
fn is_list_of(octets: usize, value: &[u8]) -> bool {
    !value.is_empty() && value.len().is_multiple_of(octets)
}
