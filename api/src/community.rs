//! Community values as people write them: `64500:100` and `large:64500:1:2`.
//!
//! Names for communities (aliases) are resolved in [`crate::config`]; extended communities are not part of the syntax.

use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::{char, u16, u32};
use nom::combinator::all_consuming;
use nom::{IResult, Parser};
use thiserror::Error;

/// A community that a route carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommunityValue {
    /// A community of RFC 1997: AS number in the upper, value in the lower 16 bits.
    Standard(u32),
    /// A large community of RFC 8092: AS number and two values.
    Large(u32, u32, u32),
}

impl CommunityValue {
    /// GRACEFUL_SHUTDOWN: prefer any other path (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self::Standard(0xffff_0000);

    /// The community of a well-known name (IANA's registry of RFC 1997, in lower case).
    #[must_use]
    pub fn well_known(name: &str) -> Option<Self> {
        let value = match name {
            "graceful-shutdown" => return Some(Self::GRACEFUL_SHUTDOWN),
            "no-llgr" => 0xffff_0007,
            "blackhole" => 0xffff_029a,
            "no-export" => 0xffff_ff01,
            "no-advertise" => 0xffff_ff02,
            "no-export-subconfed" => 0xffff_ff03,
            "no-peer" => 0xffff_ff04,
            _ => return None,
        };
        Some(Self::Standard(value))
    }

    /// Reads what stands in an advertisement or a Community object.
    ///
    /// # Errors
    /// The text has another form, or a number is too large.
    pub fn parse(text: &str) -> Result<Self, CommunityFault> {
        match all_consuming(alt((large, standard))).parse(text) {
            Ok((_, value)) => Ok(value),
            Err(_) => Err(CommunityFault { text: text.to_owned() }),
        }
    }

    /// Whether the text can only be meant as a value. A text without a colon is the name of one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.contains(':')
    }
}

impl std::str::FromStr for CommunityValue {
    type Err = CommunityFault;

    fn from_str(text: &str) -> Result<Self, CommunityFault> {
        Self::parse(text)
    }
}

impl fmt::Display for CommunityValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Self::Large(asn, one, two) => write!(f, "large:{asn}:{one}:{two}"),
        }
    }
}

/// Why a text is no community.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error(
    "invalid community {text:?}: write 64500:100 (two numbers up to 65535) or large:64500:1:2 (three up to 4294967295)"
)]
pub struct CommunityFault {
    /// What stands there.
    pub text: String,
}

fn standard(text: &str) -> IResult<&str, CommunityValue> {
    let (rest, (asn, _, value)) = (u16, char(':'), u16).parse(text)?;
    Ok((rest, CommunityValue::Standard(u32::from(asn) << 16 | u32::from(value))))
}

fn large(text: &str) -> IResult<&str, CommunityValue> {
    let (rest, (_, asn, _, one, _, two)) =
        (tag("large:"), u32, char(':'), u32, char(':'), u32).parse(text)?;
    Ok((rest, CommunityValue::Large(asn, one, two)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Option<CommunityValue>) {
        assert_eq!(CommunityValue::parse(text).ok(), expected, "{text:?}");
    }

    #[test]
    fn both_forms_are_read() {
        check("64500:100", Some(CommunityValue::Standard(64500 << 16 | 100)));
        check("0:0", Some(CommunityValue::Standard(0)));
        check("65535:65535", Some(CommunityValue::Standard(u32::MAX)));
        check("large:4294967295:0:7", Some(CommunityValue::Large(u32::MAX, 0, 7)));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "1", "1:", "65536:1", "1:2:3", "large:1:2", "large:1:2:3:4", "-1:2", " 1:2", "Large:1:2:3"]
        {
            check(text, None);
        }
        check("large:4294967296:0:7", None);
    }

    #[test]
    fn well_known_names_have_their_registered_values() {
        let text = |name: &str| CommunityValue::well_known(name).map(|value| value.to_string());
        for (name, value) in [
            ("graceful-shutdown", "65535:0"),
            ("no-llgr", "65535:7"),
            ("blackhole", "65535:666"),
            ("no-export", "65535:65281"),
            ("no-advertise", "65535:65282"),
            ("no-export-subconfed", "65535:65283"),
            ("no-peer", "65535:65284"),
        ] {
            assert_eq!(text(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(text("No-Export"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(asn: u32, one: u32, two: u32) {
            let large = CommunityValue::Large(asn, one, two);
            prop_assert_eq!(CommunityValue::parse(&large.to_string()), Ok(large));
            let standard = CommunityValue::Standard(asn);
            prop_assert_eq!(CommunityValue::parse(&standard.to_string()), Ok(standard));
        }
    }
}
