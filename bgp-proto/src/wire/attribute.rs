//! What is known of each path attribute: its flags, its length, and how bad it is when they are wrong.
//!
//! One table. The few rules that need more than flags and a length are in `check`.

use super::check::Class;

/// The flag of optional attributes (RFC 4271 §4.3).
pub const OPTIONAL: u8 = 0x80;
/// The flag of attributes that are passed on (RFC 4271 §4.3).
pub const TRANSITIVE: u8 = 0x40;

/// The attribute has passed somebody who did not know it.
pub(super) const PARTIAL: u8 = 0x20;

pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const NEXT_HOP: u8 = 3;
pub(super) const MULTI_EXIT_DISC: u8 = 4;
pub(super) const LOCAL_PREF: u8 = 5;
pub(super) const ATOMIC_AGGREGATE: u8 = 6;
pub(super) const AGGREGATOR: u8 = 7;
pub(super) const COMMUNITIES: u8 = 8;
pub(super) const ORIGINATOR_ID: u8 = 9;
pub(super) const CLUSTER_LIST: u8 = 10;
pub(super) const EXTENDED_COMMUNITIES: u8 = 16;
pub(super) const AS4_PATH: u8 = 17;
pub(super) const AS4_AGGREGATOR: u8 = 18;
pub(super) const LARGE_COMMUNITY: u8 = 32;
pub(super) const ONLY_TO_CUSTOMER: u8 = 35;

/// The lengths that a value may have, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthRule {
    /// One, in octets.
    Exactly(u8),
    /// One of two: by the width of AS numbers on the session.
    ByWidth {
        /// With two octets a number.
        two: u8,
        /// With four.
        four: u8,
    },
    /// At least one time this many octets.
    Multiple(u8),
    /// The length says nothing.
    Any,
}

/// Whether an eBGP peer may send an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Any peer.
    Anyone,
    /// iBGP peers only; from others it is discarded unread (RFC 7606 §7.5, §7.9, §7.10).
    Internal,
    /// Speakers with two-octet numbers only; from others it is discarded unread (RFC 6793 §4.1).
    TwoOctetSpeakers,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The registered name.
    pub name: &'static str,
    /// The optional and transitive bits that it must have (RFC 4271 §4.3).
    pub flags: u8,
    /// The lengths that it may have.
    pub length: LengthRule,
    /// What wrong flags cost (RFC 7606 §3 c).
    pub wrong_flags: Class,
    /// What a wrong value costs (RFC 7606 §7, or the attribute's own RFC).
    pub wrong_value: Class,
    /// Who may send it.
    pub from: Sender,
}

/// A row whose wrong flags mean treat-as-withdraw, as RFC 7606 §3 c has it for all but a few.
const fn rule(
    name: &'static str,
    flags: u8,
    length: LengthRule,
    wrong_value: Class,
    from: Sender,
) -> Option<Rule> {
    Some(Rule { name, flags, length, wrong_flags: Class::Withdraw, wrong_value, from })
}

/// A row for an attribute that we have no use for: the value is not read, because a fault in something
/// unused must not cost a route.
const fn unused(name: &'static str, flags: u8, wrong_flags: Class) -> Option<Rule> {
    let (length, from) = (LengthRule::Any, Sender::Anyone);
    Some(Rule { name, flags, length, wrong_flags, wrong_value: Class::Discard, from })
}

/// The table, by type code. `None` is an attribute that we know nothing of.
static ATTRS: [Option<Rule>; 256] = {
    use Class::{Discard, Withdraw};
    use LengthRule::{Any, ByWidth, Exactly, Multiple};
    use Sender::{Anyone, Internal, TwoOctetSpeakers};
    const BOTH: u8 = OPTIONAL | TRANSITIVE;
    let mut table: [Option<Rule>; 256] = [None; 256];
    table[1] = rule("ORIGIN", TRANSITIVE, Exactly(1), Withdraw, Anyone);
    table[2] = rule("AS_PATH", TRANSITIVE, Any, Withdraw, Anyone);
    table[3] = rule("NEXT_HOP", TRANSITIVE, Exactly(4), Withdraw, Anyone);
    table[4] = rule("MULTI_EXIT_DISC", OPTIONAL, Exactly(4), Withdraw, Anyone);
    table[5] = rule("LOCAL_PREF", TRANSITIVE, Exactly(4), Withdraw, Internal);
    table[6] = rule("ATOMIC_AGGREGATE", TRANSITIVE, Exactly(0), Discard, Anyone);
    table[7] = rule("AGGREGATOR", BOTH, ByWidth { two: 6, four: 8 }, Discard, Anyone);
    table[8] = rule("COMMUNITIES", BOTH, Multiple(4), Withdraw, Anyone);
    table[9] = rule("ORIGINATOR_ID", OPTIONAL, Exactly(4), Withdraw, Internal);
    table[10] = rule("CLUSTER_LIST", OPTIONAL, Multiple(4), Withdraw, Internal);
    table[14] = rule("MP_REACH_NLRI", OPTIONAL, Any, Class::Reset, Anyone);
    table[15] = rule("MP_UNREACH_NLRI", OPTIONAL, Any, Class::Reset, Anyone);
    table[16] = rule("EXTENDED_COMMUNITIES", BOTH, Multiple(8), Withdraw, Anyone);
    table[17] = rule("AS4_PATH", BOTH, Any, Discard, TwoOctetSpeakers);
    table[18] = rule("AS4_AGGREGATOR", BOTH, Exactly(8), Discard, TwoOctetSpeakers);
    table[22] = unused("PMSI_TUNNEL", BOTH, Withdraw);
    table[23] = unused("TUNNEL_ENCAPSULATION", BOTH, Withdraw);
    table[25] = rule("IPV6_EXTENDED_COMMUNITIES", BOTH, Multiple(20), Withdraw, Anyone);
    table[26] = unused("AIGP", OPTIONAL, Discard);
    table[29] = unused("BGP_LS", OPTIONAL, Discard);
    table[32] = rule("LARGE_COMMUNITY", BOTH, Multiple(12), Withdraw, Anyone);
    table[35] = rule("ONLY_TO_CUSTOMER", BOTH, Exactly(4), Withdraw, Anyone);
    table[40] = unused("PREFIX_SID", BOTH, Discard);
    table
};

/// What is known of an attribute; `None` when nothing is (RFC 4271 §5).
#[must_use]
pub fn rule_of(code: u8) -> Option<&'static Rule> {
    ATTRS.get(usize::from(code))?.as_ref()
}
