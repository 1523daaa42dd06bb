//! RFC 7606: how bad an UPDATE is, in one pass over its attributes and without allocating.
//!
//! What is to follow from a verdict is the caller's affair. A session in its default mode does not ask:
//! it uses no route, so no fault in a route can harm it.

use std::fmt;

use super::as_path::{AsPath, AsPathFault, AsWidth, SegmentKind};
use super::attribute::{LengthRule, OPTIONAL, Rule, Sender, TRANSITIVE, rule_of};
use super::nlri::Nlri;
use super::update::{Attribute, MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach, Update};
use crate::family::{Families, Family};

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const LOCAL_PREF: u8 = 5;
const AGGREGATOR: u8 = 7;
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

/// What of the session matters for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The peer is in another AS.
    pub external: bool,
    /// How wide AS numbers are.
    pub width: AsWidth,
    /// The families that were negotiated.
    pub families: Families,
}

/// Judges an UPDATE.
#[must_use]
pub fn check(update: &Update<'_>, context: &Context) -> Verdict {
    let mut pass = Pass { context, update, seen: [0; 4], announces_mp: false, verdict: SOUND };
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
    pass.verdict
}

const SOUND: Verdict = Verdict { class: Class::Accept, attribute: 0, at: 0, reason: Reason::None };

struct Pass<'a> {
    context: &'a Context,
    update: &'a Update<'a>,
    /// One bit for each type code.
    seen: [u64; 4],
    /// MP_REACH_NLRI brings routes.
    announces_mp: bool,
    verdict: Verdict,
}

impl Pass<'_> {
    fn find(&mut self, attribute: u8, at: usize, class: Class, reason: Reason) {
        if class > self.verdict.class {
            let at = u16::try_from(self.update.attributes_at().saturating_add(at)).unwrap_or(u16::MAX);
            self.verdict = Verdict { class, attribute, at, reason };
        }
    }

    fn attribute(&mut self, attribute: &Attribute<'_>) {
        if let Some((class, reason)) = self.fault(attribute) {
            self.find(attribute.code, attribute.at, class, reason);
        }
    }

    fn fault(&mut self, attribute: &Attribute<'_>) -> Option<(Class, Reason)> {
        if self.note(attribute.code) {
            let class = match attribute.code {
                MP_REACH_NLRI | MP_UNREACH_NLRI => Class::Reset,
                _ => Class::Discard,
            };
            return Some((class, Reason::Repeated));
        }
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

    fn wrong_value(&mut self, attribute: &Attribute<'_>, rule: &Rule) -> Option<(Class, Reason)> {
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

    fn wrong_reach(&mut self, value: &[u8]) -> Option<(Class, Reason)> {
        let Some(reach) = MpReach::parse(value) else { return Some((Class::Reset, Reason::Length)) };
        let Some(family) = self.negotiated(reach.afi, reach.safi) else {
            return Some((Class::Discard, Reason::NotNegotiated));
        };
        // RFC 7606 §7.11. An IPv6 next hop for IPv4 needs a capability that we do not offer.
        let fits = match family {
            Family::Ipv4Unicast => reach.next_hop.len() == 4,
            Family::Ipv6Unicast => matches!(reach.next_hop.len(), 16 | 32),
        };
        if !fits {
            return Some((Class::Reset, Reason::Length));
        }
        self.announces_mp = !reach.nlri.is_empty();
        Nlri::try_new(reach.nlri, family).err().map(|_| (Class::Reset, Reason::Nlri))
    }

    fn wrong_unreach(&self, value: &[u8]) -> Option<(Class, Reason)> {
        let Some(unreach) = MpUnreach::parse(value) else { return Some((Class::Reset, Reason::Length)) };
        let Some(family) = self.negotiated(unreach.afi, unreach.safi) else {
            return Some((Class::Discard, Reason::NotNegotiated));
        };
        Nlri::try_new(unreach.nlri, family).err().map(|_| (Class::Reset, Reason::Nlri))
    }

    fn negotiated(&self, afi: u16, safi: u8) -> Option<Family> {
        Family::from_afi_safi(afi, safi).filter(|family| self.context.families.contains(*family))
    }

    /// RFC 7606 §3 d: judged by the routes, not by whether there is any attribute at all.
    fn mandatory(&mut self) {
        let classic = !self.update.nlri.is_empty();
        let needed = [
            (ORIGIN, classic || self.announces_mp),
            (AS_PATH, classic || self.announces_mp),
            (NEXT_HOP, classic),
            (LOCAL_PREF, (classic || self.announces_mp) && !self.context.external),
        ];
        for (code, is_needed) in needed {
            if is_needed && !self.has_seen(code) {
                self.find(code, self.update.attributes.len(), Class::Withdraw, Reason::Missing);
            }
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
        | (LengthRule::ByWidth { four: octets, .. }, AsWidth::Four) => length == octets,
        (LengthRule::Multiple(octets), _) => length != 0 && length.is_multiple_of(octets),
        (LengthRule::Any, _) => true,
    }
}

/// We are in no confederation, so nobody may tell us of one (RFC 5065 §5.3).
fn is_wrong_path(value: &[u8], width: AsWidth) -> bool {
    match AsPath::try_new(value, width) {
        Ok(path) => path
            .segments()
            .any(|segment| matches!(segment.kind, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)),
        Err(AsPathFault::Segment | AsPathFault::AsZero) => true,
    }
}

/// RFC 4271 §6.3: an address that no router can have.
fn is_martian(next_hop: &[u8]) -> bool {
    matches!(next_hop, [0 | 127 | 224.., ..])
}
