//! Durations as Go writes them: `90s`, `1m30s`, `1.5h`, `500ms`, `0`.

use std::time::Duration;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, opt, recognize};
use nom::multi::many1;
use nom::{IResult, Parser};
use thiserror::Error;

/// Reads a duration. A leading `+` is allowed, a leading `-` is not.
///
/// # Errors
/// No number, no unit, a unit that does not exist, a negative duration, or more than 292 years.
pub fn parse(text: &str) -> Result<Duration, DurationFault> {
    if text.starts_with('-') {
        return Err(DurationFault::Negative { text: text.to_owned() });
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let unreadable = || DurationFault::Unreadable { text: text.to_owned() };
    let (_, parts) = all_consuming(many1(part)).parse(unsigned).map_err(|_| unreadable())?;
    let nanos = parts.iter().try_fold(0_u128, |sum, part| sum.checked_add(part.nanos()?));
    match nanos.and_then(|nanos| u64::try_from(nanos).ok()) {
        Some(nanos) if nanos <= MAX_NANOS => Ok(Duration::from_nanos(nanos)),
        Some(_) | None => Err(DurationFault::TooLong { text: text.to_owned() }),
    }
}

/// Writes a duration so that Go and [`parse`] read it: whole seconds as `15s`, parts of seconds as `1.5s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if nanos == 0 {
        format!("{seconds}s")
    } else {
        format!("{seconds}.{}s", format!("{nanos:09}").trim_end_matches('0'))
    }
}

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum DurationFault {
    /// Another form.
    #[error("{text:?} is not a duration; write 90s or 1m30s")]
    Unreadable {
        /// What stands there.
        text: String,
    },
    /// Less than nothing.
    #[error("{text:?} is negative; write 90s or 1m30s")]
    Negative {
        /// What stands there.
        text: String,
    },
    /// More than 63 bits of nanoseconds.
    #[error("{text:?} is longer than 292 years; write 90s or 1m30s")]
    TooLong {
        /// What stands there.
        text: String,
    },
}

/// Go keeps durations in a signed 64-bit count of nanoseconds.
const MAX_NANOS: u64 = i64::MAX.unsigned_abs();

struct Part<'a> {
    whole: &'a str,
    fraction: &'a str,
    unit_nanos: u128,
}

impl Part<'_> {
    fn nanos(&self) -> Option<u128> {
        let whole: u128 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        // Beyond 18 digits nothing of the fraction reaches a nanosecond.
        let digits: String = self.fraction.chars().take(18).collect();
        let part: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let scale = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
        whole.checked_mul(self.unit_nanos)?.checked_add(part.checked_mul(self.unit_nanos)? / scale)
    }
}

fn part(text: &str) -> IResult<&str, Part<'_>> {
    let (rest, (whole, fraction)) = alt((
        (
            digit1,
            opt((char('.'), take_while(|c: char| c.is_ascii_digit())))
                .map(|tail| tail.map_or("", |(_, part)| part)),
        ),
        (recognize(opt(digit1)), (char('.'), digit1).map(|(_, part)| part)),
    ))
    .parse(text)?;
    let (rest, unit_nanos) = unit(rest)?;
    Ok((rest, Part { whole, fraction, unit_nanos }))
}

fn unit(text: &str) -> IResult<&str, u128> {
    alt((
        tag("ns").map(|_| 1),
        alt((tag("us"), tag("\u{b5}s"), tag("\u{3bc}s"))).map(|_| 1_000),
        tag("ms").map(|_| 1_000_000),
        tag("s").map(|_| 1_000_000_000),
        tag("m").map(|_| 60_000_000_000),
        tag("h").map(|_| 3_600_000_000_000),
    ))
    .parse(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Option<Duration>) {
        assert_eq!(parse(text).ok(), expected, "{text:?}");
    }

    #[test]
    fn what_go_writes_is_read() {
        check("0", Some(Duration::ZERO));
        check("0s", Some(Duration::ZERO));
        check("90s", Some(Duration::from_secs(90)));
        check("1m30s", Some(Duration::from_secs(90)));
        check("+3s", Some(Duration::from_secs(3)));
        check("1h0m0s", Some(Duration::from_secs(3600)));
        check("1.5s", Some(Duration::from_millis(1500)));
        check(".5s", Some(Duration::from_millis(500)));
        check("1.s", Some(Duration::from_secs(1)));
        check("500ms", Some(Duration::from_millis(500)));
        check("1\u{b5}s", Some(Duration::from_micros(1)));
        check("2562047h47m16.854775807s", Some(Duration::from_nanos(MAX_NANOS)));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "s", "3", "3d", "3 s", "-3s", ".s", "1s2", "9999999h", "1e3s"] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(nanos in 0..=MAX_NANOS) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9.smhnu]{0,60}") {
            let _ = parse(&text);
        }
    }
}
