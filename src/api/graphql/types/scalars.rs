//! Scalars of our own.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::NaiveDate;

/// Counts of rows and bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::api::graphql) struct Long(pub(in crate::api::graphql) i64);

/// A whole number of up to 64 bits, as a JSON number.
#[Scalar]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => number.as_i64().map(Self).ok_or_else(|| InputValueError::expected_type(value)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// Days of the schedule.
#[derive(Debug, Clone, Copy)]
pub(in crate::api::graphql) struct Date(pub(in crate::api::graphql) NaiveDate);

/// A day of the calendar, as YYYY-MM-DD.
#[Scalar]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) if text.len() == 10 => text
                .parse()
                .map(Self)
                .map_err(|_| InputValueError::custom("a date is written YYYY-MM-DD, such as 2026-11-19")),
            _ => Err(InputValueError::custom("a date is written YYYY-MM-DD, such as 2026-11-19")),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}
