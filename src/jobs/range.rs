//! The time range of a request: what is accepted, and what is said of the rest.

use chrono::{DateTime, TimeZone, Utc};

use super::model::Window;
use crate::error::{ErrorCode, Failure};

/// The longest range of one request, in seconds.
const LONGEST_RANGE_SECONDS: i64 = 86_400;
/// Epoch values from here on (the year 5138) are milliseconds by mistake.
const SURELY_MILLISECONDS: u64 = 100_000_000_000;

/// The range of a request, or what is wrong with it.
pub(super) fn window_of(start: i64, end: i64, now: DateTime<Utc>) -> Result<Window, Failure> {
    let invalid = |why: String| Err(Failure::new(ErrorCode::RangeInvalid, why));
    if start.unsigned_abs() >= SURELY_MILLISECONDS || end.unsigned_abs() >= SURELY_MILLISECONDS {
        return invalid(format!(
            "startTime {start} and endTime {end} look like milliseconds; give whole seconds since 1970-01-01T00:00:00Z"
        ));
    }
    if start < 0 {
        return invalid(format!("startTime {start} is before 1970-01-01T00:00:00Z; give whole seconds since then"));
    }
    if start == end {
        return invalid(format!(
            "the range is empty: startTime and endTime are both {start}, and endTime is not included"
        ));
    }
    if start > end {
        return invalid(format!("the range is reversed: startTime {start} is after endTime {end}"));
    }
    if end - start > LONGEST_RANGE_SECONDS {
        return Err(Failure::new(
            ErrorCode::RangeTooLong,
            format!(
                "the range has {} seconds; at most {LONGEST_RANGE_SECONDS} (one day) are allowed in one request",
                end - start
            ),
        ));
    }
    if end > now.timestamp() {
        return Err(Failure::new(
            ErrorCode::RangeInFuture,
            format!(
                "endTime {end} is in the future: it is {} now; only time that has passed can be exported",
                now.timestamp()
            ),
        ));
    }
    let at = |seconds| Utc.timestamp_opt(seconds, 0).single().expect("seconds within the checked bounds are a time");
    Ok(Window { start: at(start), end: at(end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let now = Utc.timestamp_opt(1_800_000_000, 0).unwrap();
        for (start, end, expected) in [
            (1_799_000_000, 1_799_086_400, Ok(())),
            (1_799_999_999, 1_800_000_000, Ok(())),
            (0, 1, Ok(())),
            (1_799_000_000, 1_799_086_401, Err(ErrorCode::RangeTooLong)),
            (1_799_999_999, 1_800_000_001, Err(ErrorCode::RangeInFuture)),
            (1_799_000_000, 1_799_000_000, Err(ErrorCode::RangeInvalid)),
            (1_799_000_001, 1_799_000_000, Err(ErrorCode::RangeInvalid)),
            (1_799_000_000_000, 1_799_086_400_000, Err(ErrorCode::RangeInvalid)),
            (-1, 1, Err(ErrorCode::RangeInvalid)),
            (i64::MIN + 1, i64::MAX, Err(ErrorCode::RangeInvalid)),
            (i64::MIN, 0, Err(ErrorCode::RangeInvalid)),
        ] {
            let got = window_of(start, end, now).map(drop).map_err(|failure| failure.code);
            assert_eq!(got, expected, "{start}..{end}");
        }
    }

    #[test]
    fn milliseconds_are_named_in_the_message() {
        let failure =
            window_of(1_799_000_000_000, 1_799_000_060_000, Utc.timestamp_opt(1_800_000_000, 0).unwrap()).unwrap_err();
        assert!(failure.message.contains("milliseconds") && failure.message.contains("1799000000000"), "{failure}");
    }
}
