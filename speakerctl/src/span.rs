//! Lengths of time as kubectl prints them, and as its `--request-timeout` reads them.
//!
//! Holds no clock: the caller brings both ends.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// The time from `then` to `now` in kubectl's short form: `45s`, `5m32s`, `47m`, `3h12m`, `26h`, `5d3h`, `400d`.
/// A `then` in the future (two clocks that disagree) is `0s`.
pub(crate) fn since(then: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.as_second().saturating_sub(then.as_second())).unwrap_or(0);
    short(seconds)
}

fn short(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

/// Why a text is not a time limit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitFault {
    #[error("a number with ms, s, m or h is expected, for example 10s")]
    NotATime,
    #[error("0 would wait for ever; give a time above zero")]
    Zero,
    #[error("more than a day is not a time limit")]
    TooLong,
}

/// Reads `10`, `10s`, `1m`, `1h` or `500ms`; a bare number counts seconds, as for kubectl.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, LimitFault> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| LimitFault::NotATime)?;
    let factor = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(LimitFault::NotATime),
    };
    match number.checked_mul(factor) {
        Some(0) => Err(LimitFault::Zero),
        Some(millis) if millis <= 86_400_000 => Ok(Duration::from_millis(millis)),
        Some(_) | None => Err(LimitFault::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_printed_as_kubectl_prints_ages() {
        let check = |seconds: i64, expected: &str| {
            let then = Timestamp::from_second(1_000_000).unwrap();
            let now = Timestamp::from_second(1_000_000 + seconds).unwrap();
            assert_eq!(since(then, now), expected, "{seconds} seconds");
        };
        check(-30, "0s");
        check(0, "0s");
        check(45, "45s");
        check(119, "119s");
        check(120, "2m");
        check(332, "5m32s");
        check(47 * 60 + 59, "47m");
        check(3 * 3600 + 12 * 60, "3h12m");
        check(8 * 3600, "8h");
        check(26 * 3600, "26h");
        check(5 * 86_400 + 3 * 3600, "5d3h");
        check(400 * 86_400, "400d");
    }

    #[test]
    fn a_time_limit_is_read_or_refused_with_a_sentence() {
        let check = |text: &str, expected: Result<u64, LimitFault>| {
            assert_eq!(parse_limit(text), expected.map(Duration::from_millis), "{text:?}");
        };
        check("10", Ok(10_000));
        check("10s", Ok(10_000));
        check("500ms", Ok(500));
        check("2m", Ok(120_000));
        check("1h", Ok(3_600_000));
        check("0", Err(LimitFault::Zero));
        check("25h", Err(LimitFault::TooLong));
        check("99999999999999999h", Err(LimitFault::TooLong));
        check("", Err(LimitFault::NotATime));
        check("fast", Err(LimitFault::NotATime));
        check("10 s", Err(LimitFault::NotATime));
        check("-1s", Err(LimitFault::NotATime));
    }
}
