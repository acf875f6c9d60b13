//! What becomes of values that cannot be represented, and how often that happened.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::super::super::{LONGEST_TEXT, OnTooLong, OnUnrepresentable};
use super::super::types::{Decoding, Guard};
use super::fidelity::{Action, Counter};
use super::{Builder, Column, ValueError};

/// What a text that is too long is refused for.
pub(super) const TOO_LONG: &str = "the text is longer than 65535 bytes";

/// A builder with a policy around it.
pub(super) struct Guarded {
    inner: Column,
    on_unrepresentable: OnUnrepresentable,
    on_too_long: Option<OnTooLong>,
    /// Where its text begins in what comes, for text that is sent as it is.
    text: Option<usize>,
    counter: Arc<Counter>,
}

impl Guarded {
    /// A builder as `guard` says.
    pub(super) fn new(guard: &Guard, data_type: arrow::datatypes::DataType, rows: usize) -> Self {
        let text = match guard.decoding {
            Decoding::Text | Decoding::Json | Decoding::Cast => Some(0),
            Decoding::Jsonb => Some(1),
            _ => None,
        };
        Self {
            inner: Column::new(&guard.decoding, data_type, rows),
            on_unrepresentable: guard.on_unrepresentable,
            on_too_long: guard.on_too_long,
            text,
            counter: Arc::default(),
        }
    }

    /// Looks at a text before it is taken: what cannot be undone must not be done. Gives what is left of it.
    fn look<'a>(&self, bytes: &'a [u8], start: usize) -> Result<Option<&'a [u8]>, ValueError> {
        let text = bytes.get(start..).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(ValueError::Unrepresentable("the text is not valid UTF-8"));
        };
        match self.on_too_long {
            Some(policy) if text.len() > LONGEST_TEXT => match policy {
                OnTooLong::Error => Err(ValueError::Unrepresentable(TOO_LONG)),
                OnTooLong::Null => {
                    self.counter.add(Action::Nulled, TOO_LONG);
                    Ok(None)
                }
                OnTooLong::Truncate if has_structure(text) => Err(ValueError::Unrepresentable(
                    "the text is too long, and geometry or a document would not survive a cut",
                )),
                OnTooLong::Truncate => {
                    self.counter.add(Action::Truncated, TOO_LONG);
                    Ok(bytes.get(..start + text.floor_char_boundary(LONGEST_TEXT)))
                }
            },
            _ => Ok(Some(bytes)),
        }
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let Some(start) = self.text else { return self.inner.push(bytes) };
        match self.look(bytes, start)? {
            Some(left) => self.inner.push(left),
            None => {
                self.inner.push_null();
                Ok(())
            }
        }
    }
}

/// Whether a text looks like JSON, XML or well-known text, a part of which means something else or nothing.
fn has_structure(text: &str) -> bool {
    const SHAPES: [&str; 8] =
        ["SRID=", "POINT", "LINESTRING", "POLYGON", "MULTI", "GEOMETRYCOLLECTION", "CIRCULARSTRING", "CURVE"];
    let text = text.trim_start();
    text.starts_with(['{', '[', '<'])
        || SHAPES.iter().any(|shape| text.get(..shape.len()).is_some_and(|start| start.eq_ignore_ascii_case(shape)))
}

impl Builder for Guarded {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        match self.take_in(bytes) {
            Err(ValueError::Unrepresentable(why)) => match self.on_unrepresentable {
                // A text that must not be longer is not made shorter by a policy for something else.
                OnUnrepresentable::Null if why != TOO_LONG => {
                    self.counter.add(Action::Nulled, why);
                    self.inner.push_null();
                    Ok(())
                }
                OnUnrepresentable::Clamp if why != TOO_LONG => {
                    self.inner.push_nearest(bytes, why)?;
                    self.counter.add(Action::Clamped, why);
                    Ok(())
                }
                _ => Err(ValueError::Unrepresentable(why)),
            },
            done => done,
        }
    }

    fn push_null(&mut self) {
        self.inner.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.inner.take()
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        into.push(Arc::clone(&self.counter));
        self.inner.counters(into);
    }
}
