//! The judgement of one attribute by the table, and the few rules that need more than the table says.

use super::{Class, Context, Reason};
use crate::family::Family;
use crate::wire::as_path::{AsPath, AsPathFault, AsWidth};
use crate::wire::attribute::{
    AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, LengthRule, NEXT_HOP, ONLY_TO_CUSTOMER, OPTIONAL, ORIGIN,
    PARTIAL, Rule, Sender, TRANSITIVE, rule_of,
};
use crate::wire::nlri::Nlri;
use crate::wire::update::{Attribute, MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach};

/// What is wrong with an attribute that has not been there before.
pub(super) fn fault(attribute: &Attribute<'_>, context: &Context) -> Option<(Class, Reason)> {
    let Some(rule) = rule_of(attribute.code) else {
        let well_known = attribute.flags & OPTIONAL == 0;
        let unknown = (Class::Discard, Reason::Unknown);
        return Some(if well_known { (Class::Withdraw, Reason::UnknownWellKnown) } else { unknown });
    };
    // The routes of a multiprotocol attribute are looked at whatever its flags: a broken field is graver.
    let wrong_value = wrong_value(attribute, rule, context);
    if !has_right_flags(attribute, rule) {
        return Some(
            wrong_value
                .filter(|(class, _)| *class > rule.wrong_flags)
                .unwrap_or((rule.wrong_flags, Reason::Flags)),
        );
    }
    wrong_value
}

fn wrong_value(attribute: &Attribute<'_>, rule: &Rule, context: &Context) -> Option<(Class, Reason)> {
    let is_welcome = match rule.from {
        Sender::Anyone => true,
        Sender::Internal => !context.external,
        Sender::TwoOctetSpeakers => context.width == AsWidth::Two,
    };
    if !is_welcome {
        return Some((Class::Discard, Reason::NotFromHere));
    }
    if !has_right_length(attribute.value.len(), rule.length, context.width) {
        return Some((rule.wrong_value, Reason::Length));
    }
    let value_is_wrong = |is_wrong: bool| is_wrong.then_some((rule.wrong_value, Reason::Value));
    match attribute.code {
        ORIGIN => value_is_wrong(attribute.value.first().is_none_or(|origin| *origin > 2)),
        AS_PATH => value_is_wrong(is_wrong_path(attribute.value, context.width)),
        // RFC 6793 §6: without any number it is malformed, too.
        AS4_PATH => {
            value_is_wrong(attribute.value.is_empty() || is_wrong_path(attribute.value, AsWidth::Four))
        }
        NEXT_HOP => value_is_wrong(is_martian(attribute.value)),
        AGGREGATOR => value_is_wrong(begins_with_as_zero(attribute.value, context.width)),
        AS4_AGGREGATOR => value_is_wrong(begins_with_as_zero(attribute.value, AsWidth::Four)),
        ONLY_TO_CUSTOMER => value_is_wrong(attribute.value.iter().all(|octet| *octet == 0)),
        MP_REACH_NLRI => wrong_reach(attribute.value, context),
        MP_UNREACH_NLRI => wrong_unreach(attribute.value, context),
        _ => None,
    }
}

#[inline(never)]
pub(super) fn wrong_reach(value: &[u8], context: &Context) -> Option<(Class, Reason)> {
    let Some(reach) = MpReach::parse(value) else { return Some((Class::Reset, Reason::Length)) };
    let Some(family) = negotiated(reach.afi, reach.safi, context) else {
        return Some((Class::Discard, Reason::NotNegotiated));
    };
    // RFC 7606 §7.11; RFC 8950 §4 for IPv4.
    let fits = match (family, reach.next_hop.len()) {
        (Family::Ipv4Unicast, 4) | (Family::Ipv6Unicast, 16 | 32) => true,
        (Family::Ipv4Unicast, 16 | 32) => context.extended_next_hop,
        (Family::Ipv4Unicast | Family::Ipv6Unicast, _) => false,
    };
    if !fits {
        return Some((Class::Reset, Reason::Length));
    }
    Nlri::try_new(reach.nlri, family).is_err().then_some((Class::Reset, Reason::Nlri))
}

#[inline(never)]
pub(super) fn wrong_unreach(value: &[u8], context: &Context) -> Option<(Class, Reason)> {
    let Some(unreach) = MpUnreach::parse(value) else { return Some((Class::Reset, Reason::Length)) };
    let Some(family) = negotiated(unreach.afi, unreach.safi, context) else {
        return Some((Class::Discard, Reason::NotNegotiated));
    };
    Nlri::try_new(unreach.nlri, family).is_err().then_some((Class::Reset, Reason::Nlri))
}

fn negotiated(afi: u16, safi: u8, context: &Context) -> Option<Family> {
    Family::from_afi_safi(afi, safi).filter(|family| context.families.contains(*family))
}

/// RFC 7606 §3 g.
pub(super) fn repetition(code: u8) -> (Class, Reason) {
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

/// RFC 7607 §2. The length was checked before.
fn begins_with_as_zero(value: &[u8], width: AsWidth) -> bool {
    value.get(..width.octets()).is_none_or(|asn| asn.iter().all(|octet| *octet == 0))
}

/// We are in no confederation, so nobody may tell us of one (RFC 5065 §5.3).
pub(super) fn is_wrong_path(value: &[u8], width: AsWidth) -> bool {
    match AsPath::try_new(value, width) {
        Ok(path) => path.is_confederate(),
        Err(AsPathFault::Segment | AsPathFault::AsZero) => true,
    }
}

/// RFC 4271 §6.3: an address that no router can have.
#[inline]
pub(super) fn is_martian(next_hop: &[u8]) -> bool {
    matches!(next_hop, [0 | 127 | 224.., ..])
}
