//! Dates and times as ISO 8601 writes them, over the whole range of PostgreSQL, which is wider than the libraries'.

use std::io::Write;

const MICROS_A_DAY: i64 = 86_400_000_000;

/// `YYYY-MM-DD` of days since 1970-01-01. Years before 0 and after 9999 carry a sign; year 0 is 1 BC.
pub(super) fn date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    let written = if (0..=9999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+05}-{month:02}-{day:02}")
    };
    debug_assert!(written.is_ok(), "memory takes everything");
}

/// `HH:MM:SS.ffffff` of microseconds since midnight; `24:00:00.000000` is its own time.
pub(super) fn time(micros: i64, out: &mut Vec<u8>) {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let written = write!(out, "{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    debug_assert!(written.is_ok(), "memory takes everything");
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff` of microseconds since 1970-01-01, without a zone.
pub(super) fn timestamp(micros: i64, out: &mut Vec<u8>) {
    date(micros.div_euclid(MICROS_A_DAY), out);
    out.push(b'T');
    time(micros.rem_euclid(MICROS_A_DAY), out);
}

/// Year, month and day of days since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin in March, so
/// that the leap day is a year's last, and repeat after 400 of them.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_ends_of_postgresql_s_range() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000"),
            (-1, "1969-12-31T23:59:59.999999"),
            // 4713-01-01 BC, PostgreSQL's first day, and what 64 bits hold since 1970
            (-210_863_520_000_000_000, "-4712-01-01T00:00:00.000000"),
            (i64::MAX, "+294247-01-10T04:00:54.775807"),
            (253_402_300_800_000_000, "+10000-01-01T00:00:00.000000"),
            (-62_135_596_800_000_001, "0000-12-31T23:59:59.999999"),
        ] {
            assert_eq!(text(|out| timestamp(micros, out)), expected);
        }
        assert_eq!(text(|out| time(86_400_000_000, out)), "24:00:00.000000");
    }

    proptest! {
        #[test]
        fn the_calendar_is_chrono_s_where_that_reaches(micros in -8_000_000_000_000_000_i64..8_000_000_000_000_000_000, days in -90_000_i64..2_900_000) {
            let want = DateTime::from_timestamp_micros(micros).unwrap();
            let year = want.format("%Y").to_string().parse::<i64>().unwrap();
            let digits = if (0..=9999).contains(&year) { format!("{year:04}") } else { format!("{year:+05}") };
            prop_assert_eq!(text(|out| timestamp(micros, out)), format!("{digits}-{}", want.format("%m-%dT%H:%M:%S%.6f")));
            let want = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + TimeDelta::days(days);
            prop_assert_eq!(text(|out| date(days, out)), want.format("%Y-%m-%d").to_string());
        }
    }
}
