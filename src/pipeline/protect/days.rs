//! The day of each row, for pseudonyms that change daily.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::array::{Array, Date32Array};
use chrono::{DateTime, Days as Later};

/// The days of a batch's rows. Rows come mostly in the order of their time, so the last day is remembered as text.
pub(super) struct Days<'a> {
    array: Option<&'a Date32Array>,
    last: RefCell<Option<(i32, Rc<str>)>>,
}

impl<'a> Days<'a> {
    /// Of this guard, where there is one.
    pub(super) fn new(array: Option<&'a Date32Array>) -> Self {
        Self { array, last: RefCell::new(None) }
    }

    /// The day of a row as `YYYY-MM-DD`. `None` where nobody asked for days, for a row without a time, and for days
    /// beyond the calendar.
    pub(super) fn of(&self, row: usize) -> Option<Rc<str>> {
        let array = self.array.filter(|array| array.is_valid(row))?;
        let day = array.value(row);
        let mut last = self.last.borrow_mut();
        if let Some((known, text)) = last.as_ref()
            && *known == day
        {
            return Some(Rc::clone(text));
        }
        let epoch = DateTime::UNIX_EPOCH.date_naive();
        let distance = Later::new(u64::from(day.unsigned_abs()));
        let date = if day < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) }?;
        let text: Rc<str> = date.format("%Y-%m-%d").to_string().into();
        *last = Some((day, Rc::clone(&text)));
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_dates() {
        let array = Date32Array::from(vec![Some(0), Some(0), None, Some(20_514), Some(-1), Some(i32::MAX)]);
        let days = Days::new(Some(&array));
        let found: Vec<_> = (0..array.len()).map(|row| days.of(row)).collect();
        let found: Vec<_> = found.iter().map(|day| day.as_deref()).collect();
        let want = [Some("1970-01-01"), Some("1970-01-01"), None, Some("2026-03-02"), Some("1969-12-31"), None];
        assert_eq!(found, want);
        assert_eq!(Days::new(None).of(0), None);
    }
}
