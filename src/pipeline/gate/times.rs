//! Whether rows lie in the time range of their file: asked of published files, whose time column a manifest names.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int16Type, Int32Type, Int64Type, TimeUnit as ArrowUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use super::lines::types::Form;
use crate::warehouse::TimeUnit;

const MICROS_A_DAY: i64 = 86_400_000_000;

/// A time column that leaves as the warehouse has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeColumn {
    /// Its name.
    pub column: String,
    /// How it holds time.
    pub unit: TimeUnit,
    /// The IANA zone of values without one.
    pub zone: String,
}

/// A time column and the range that its values must be in.
#[derive(Debug, Clone)]
pub(super) struct Times {
    pub(super) column: String,
    /// Microseconds of one of a number's units; `None` where the column counts nothing.
    counted: Option<i64>,
    /// Whether values without a zone are UTC.
    utc: bool,
    /// Microseconds since 1970, half-open.
    start: i128,
    end: i128,
}

impl Times {
    /// Of a half-open range.
    pub(super) fn new(time: &TimeColumn, range: [DateTime<Utc>; 2]) -> Self {
        let counted = match time.unit {
            TimeUnit::Timestamp | TimeUnit::Date => None,
            TimeUnit::EpochS => Some(1_000_000),
            TimeUnit::EpochMs => Some(1_000),
        };
        let [start, end] = range.map(micros);
        Self { column: time.column.clone(), counted, utc: time.zone == "UTC", start, end }
    }

    /// How many values of a column lie outside, NULL among them; `None` when they cannot be compared.
    pub(super) fn outside(&self, values: &ArrayRef) -> Option<u64> {
        match (values.data_type(), self.counted) {
            (DataType::Int16, Some(unit)) => Some(self.count::<Int16Type>(values, unit)),
            (DataType::Int32, Some(unit)) => Some(self.count::<Int32Type>(values, unit)),
            (DataType::Int64, Some(unit)) => Some(self.count::<Int64Type>(values, unit)),
            (DataType::Timestamp(ArrowUnit::Microsecond, zone), None) if zone.is_some() || self.utc => {
                Some(self.count::<TimestampMicrosecondType>(values, 1))
            }
            (DataType::Date32, None) if self.utc => Some(self.count::<Date32Type>(values, MICROS_A_DAY)),
            _ => None,
        }
    }

    fn count<T: ArrowPrimitiveType>(&self, values: &ArrayRef, unit: i64) -> u64
    where
        T::Native: Into<i64>,
    {
        let values = values.as_primitive::<T>();
        let inside = values.iter().flatten().filter(|value| self.holds((*value).into(), unit)).count();
        (values.len() - inside) as u64
    }

    /// Whether texts of this form can be compared.
    pub(super) fn reads(&self, form: Form) -> bool {
        match form {
            Form::Integer(..) => self.counted.is_some(),
            Form::Timestamp { zone } => self.counted.is_none() && (zone || self.utc),
            Form::Date => self.counted.is_none() && self.utc,
            _ => false,
        }
    }

    /// Whether a text of a form that is read lies outside.
    pub(super) fn text_outside(&self, text: &str) -> bool {
        let value = match self.counted {
            Some(unit) => text.parse().ok().map(|value: i64| (value, unit)),
            None => instant(text).map(|value| (value, 1)),
        };
        // What no calendar of ours has is in no range.
        value.is_none_or(|(value, unit)| !self.holds(value, unit))
    }

    fn holds(&self, value: i64, unit: i64) -> bool {
        (self.start..self.end).contains(&(i128::from(value) * i128::from(unit)))
    }
}

/// Microseconds since 1970; a part of one is the next, as the warehouse was asked.
fn micros(at: DateTime<Utc>) -> i128 {
    i128::from(at.timestamp_micros()) + i128::from(!at.timestamp_subsec_nanos().is_multiple_of(1000))
}

/// A date or time as lines have it, in microseconds since 1970.
fn instant(text: &str) -> Option<i64> {
    let time = text.strip_suffix('Z').unwrap_or(text);
    let time = match time.contains('T') {
        true => NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S%.f").ok()?,
        false => NaiveDate::parse_from_str(time, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?,
    };
    Some(time.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, TimestampMicrosecondArray};
    use chrono::TimeZone;

    use super::*;

    fn times(unit: TimeUnit, zone: &str) -> Times {
        let day = |day| Utc.with_ymd_and_hms(2026, 3, day, 0, 0, 0).unwrap();
        Times::new(&TimeColumn { column: "at".to_owned(), unit, zone: zone.to_owned() }, [day(1), day(2)])
    }

    #[test]
    fn a_range_is_half_open_in_every_form() {
        let first = 1_772_323_200_i64;
        let seconds = [first - 1, first, first + 86_399, first + 86_400];
        let micros: Vec<i64> = seconds.iter().map(|s| s * 1_000_000).collect();
        let arrays: [(TimeUnit, ArrayRef); 4] = [
            (TimeUnit::EpochS, Arc::new(Int64Array::from(seconds.to_vec()))),
            (TimeUnit::EpochMs, Arc::new(Int64Array::from(seconds.map(|s| s * 1000).to_vec()))),
            (TimeUnit::Timestamp, Arc::new(TimestampMicrosecondArray::from(micros.clone()).with_timezone("UTC"))),
            (TimeUnit::Timestamp, Arc::new(TimestampMicrosecondArray::from(micros))),
        ];
        for (unit, array) in &arrays {
            assert_eq!(times(*unit, "UTC").outside(array), Some(2), "{unit:?}");
        }
        let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(20_512), Some(20_513), Some(20_514), None]));
        assert_eq!(times(TimeUnit::Date, "UTC").outside(&days), Some(3), "NULL is at no time");
        assert_eq!(times(TimeUnit::Date, "Europe/Berlin").outside(&days), None);
        assert_eq!(times(TimeUnit::Timestamp, "Asia/Tokyo").outside(&arrays[3].1), None, "whose noon is it?");
        assert_eq!(times(TimeUnit::Timestamp, "Asia/Tokyo").outside(&arrays[2].1), Some(2));
    }

    #[test]
    fn texts_are_what_values_are() {
        for (unit, text, outside) in [
            (TimeUnit::Timestamp, "2026-03-01T00:00:00.000000Z", false),
            (TimeUnit::Timestamp, "2026-02-28T23:59:59.999999Z", true),
            (TimeUnit::Timestamp, "2026-03-01T23:59:59.999999", false),
            (TimeUnit::Timestamp, "2026-03-02T00:00:00.000000", true),
            (TimeUnit::Timestamp, "+294247-01-10T04:00:54.775807Z", true),
            (TimeUnit::Date, "2026-03-01", false),
            (TimeUnit::Date, "2026-03-02", true),
            (TimeUnit::EpochS, "1772323200", false),
            (TimeUnit::EpochS, "9223372036854775807", true),
        ] {
            assert_eq!(times(unit, "UTC").text_outside(text), outside, "{text}");
        }
    }
}
