//! Geometry: PostGIS's types, which send EWKB, and texts that hold well-known text or GeoJSON.
//!
//! A column has one reference system. Where its type states one, every value must be in it; otherwise all must be in that
//! of the first, and it is counted how many were. No policy changes that: values of another system would silently mean
//! other places.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::super::super::geo::{self, Fault, Written};
use super::super::super::{GeometryForm, LONGEST_TEXT, OnTooLong, OnUnrepresentable};
use super::super::types::{Shape, Spatial};
use super::fidelity::{Action, Counter};
use super::guarded::TOO_LONG;
use super::varlen::{Bytea, Bytes, Text};
use super::{Builder, ValueError};

const MIXED: ValueError = ValueError::Unrepresentable("its geometries are in several reference systems");

/// Values in one of the forms.
enum Values {
    Text(Text),
    Binary(Bytea),
}

/// What both builders share: the values and what is done with faults.
struct Out {
    values: Values,
    on_unrepresentable: OnUnrepresentable,
    on_too_long: Option<OnTooLong>,
    /// The reference system of all, once it is known.
    srid: Option<i32>,
    /// Whether the column's type states it.
    stated: bool,
    /// Whether all values have the same decimals, which readers must know.
    scaled: bool,
    counter: Arc<Counter>,
}

impl Out {
    fn new(form: GeometryForm, on: OnUnrepresentable, on_too_long: Option<OnTooLong>, rows: usize) -> Self {
        let bytes = Bytes::new(rows, 32);
        let values = match form {
            GeometryForm::Wkb => Values::Binary(Bytea(bytes)),
            GeometryForm::Text | GeometryForm::Polyline => Values::Text(Text(bytes)),
        };
        let scaled = form == GeometryForm::Polyline;
        Self { values, on_unrepresentable: on, on_too_long, srid: None, stated: false, scaled, counter: Arc::default() }
    }

    /// Takes what was written; `plain` writes the same without rounding, which no polyline is.
    fn put(
        &mut self,
        written: Result<Written, Fault>,
        plain: impl FnOnce() -> Result<Written, Fault>,
    ) -> Result<(), ValueError> {
        let written = match written {
            // What rounding would break stays as it is, unless it is to go.
            Err(Fault::Rounding(why)) if self.on_unrepresentable != OnUnrepresentable::Null && !self.scaled => {
                let kept = plain().map_err(|_| ValueError::Unrepresentable(why))?;
                self.counter.add(Action::Kept, why);
                Ok(kept)
            }
            other => other,
        };
        let Written { bytes, srid } = match written {
            Ok(written) => written,
            Err(Fault::Malformed(why)) => return Err(ValueError::Malformed(why)),
            Err(Fault::Unfit(why) | Fault::Rounding(why)) => return self.null_or_error(why),
        };
        match self.srid {
            None => self.srid = Some(srid),
            Some(known) if known == srid || (self.stated && srid == 0) => {}
            Some(_) => return Err(MIXED),
        }
        if bytes.len() > LONGEST_TEXT
            && let Some(policy) = self.on_too_long
        {
            return match policy {
                OnTooLong::Null => {
                    self.counter.add(Action::Nulled, TOO_LONG);
                    self.push_null();
                    Ok(())
                }
                OnTooLong::Error | OnTooLong::Truncate => Err(ValueError::Unrepresentable(TOO_LONG)),
            };
        }
        if !self.stated && srid != 0 {
            self.counter
                .add(Action::Noted, format!("it is in the reference system {srid}, which its type does not state"));
        }
        match &mut self.values {
            Values::Text(values) => values.push(&bytes),
            Values::Binary(values) => values.push(&bytes),
        }
    }

    fn null_or_error(&mut self, why: &'static str) -> Result<(), ValueError> {
        if self.on_unrepresentable != OnUnrepresentable::Null {
            return Err(ValueError::Unrepresentable(why));
        }
        self.counter.add(Action::Nulled, why);
        self.push_null();
        Ok(())
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Text(values) => values.push_null(),
            Values::Binary(values) => values.push_null(),
        }
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        match &mut self.values {
            Values::Text(values) => values.take(),
            Values::Binary(values) => values.take(),
        }
    }
}

/// A builder of PostGIS's types.
pub(super) struct Ewkb {
    out: Out,
    form: GeometryForm,
    decimals: Option<u8>,
}

impl Ewkb {
    /// An empty builder.
    pub(super) fn new(spatial: &Spatial, rows: usize) -> Self {
        let mut out = Out::new(spatial.form, spatial.on_unrepresentable, spatial.on_too_long, rows);
        (out.srid, out.stated) = (spatial.srid, spatial.srid.is_some());
        Self { out, form: spatial.form, decimals: spatial.decimals }
    }
}

impl Builder for Ewkb {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let (geometry, srid) = match geo::read_wkb(bytes) {
            Ok(read) => read,
            Err(Fault::Malformed(why)) => return Err(ValueError::Malformed(why)),
            Err(Fault::Unfit(why) | Fault::Rounding(why)) => return self.out.null_or_error(why),
        };
        let form = self.form;
        let write = |decimals| geo::write(&geometry, form, decimals).map(|bytes| Written { bytes, srid });
        self.out.put(write(self.decimals), || write(None))
    }

    fn push_null(&mut self) {
        self.out.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.out.take()
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        into.push(Arc::clone(&self.out.counter));
    }
}

/// A builder of texts that hold geometry.
pub(super) struct Shaped {
    out: Out,
    shape: Shape,
}

impl Shaped {
    /// An empty builder.
    pub(super) fn new(shape: &Shape, rows: usize) -> Self {
        let mut out = Out::new(shape.form, shape.on_unrepresentable, shape.on_too_long, rows);
        // Text says its own reference system in every value.
        (out.srid, out.stated) = if shape.form == GeometryForm::Text { (Some(0), true) } else { (None, false) };
        Self { out, shape: *shape }
    }
}

impl Builder for Shaped {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let bytes = match (self.shape.jsonb, bytes) {
            (false, text) | (true, [1, text @ ..]) => text,
            (true, _) => return Err(ValueError::Malformed("jsonb of a version that is not known")),
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.out.null_or_error("the text is not valid UTF-8");
        };
        let form = self.shape.form;
        let write = |decimals| {
            let written = geo::write_text(text, form, decimals)?;
            // What stays text keeps its own word on its reference system.
            Ok(if form == GeometryForm::Text { Written { srid: 0, ..written } } else { written })
        };
        self.out.put(write(self.shape.decimals), || write(None))
    }

    fn push_null(&mut self) {
        self.out.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.out.take()
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        into.push(Arc::clone(&self.out.counter));
    }
}
