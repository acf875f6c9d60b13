//! The decoder for a fuzzer and for the tests: a decoding of every kind, and bytes to values without a server.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use super::super::super::{GeometryForm, OnTooLong, OnUnrepresentable};
use super::super::types::{Attribute, Decoding, Guard, ListOf, RangeOf, Shape, Spatial, Spelling};
use super::{BatchLimits, Column, DecodeError, Decoder, ValueError};

/// The type of `pair` where the samples were written, a composite of an integer and a text.
const PAIR: u32 = 16_514;

/// A decoding of every kind that the first versions of the samples lack, in the order of `more_types.copy`.
pub(super) fn more() -> Vec<Decoding> {
    let list = |item, oid| Decoding::List(Arc::new(ListOf { item, oid, first: 1 }));
    let on = |bound, on_unrepresentable| Arc::new(RangeOf { bound, on_unrepresentable });
    let range = |bound| on(bound, OnUnrepresentable::Error);
    let field = |name: &str, oid, decoding| Attribute { name: name.to_owned(), oid, decoding };
    let pair = || Decoding::Struct(Arc::new([field("a", 23, Decoding::Int4), field("b", 25, Decoding::Text)]));
    let guarded = |decoding| {
        let on_unrepresentable = OnUnrepresentable::Null;
        Decoding::Guarded(Arc::new(Guard { decoding, on_unrepresentable, on_too_long: None }))
    };
    let shape = |form, jsonb| Shape {
        form,
        jsonb,
        decimals: Some(2),
        on_unrepresentable: OnUnrepresentable::Null,
        on_too_long: Some(OnTooLong::Null),
    };
    let spatial = Spatial {
        srid: None,
        geography: false,
        native: false,
        form: GeometryForm::Wkb,
        decimals: Some(3),
        on_unrepresentable: OnUnrepresentable::Null,
        on_too_long: None,
    };
    vec![
        Decoding::Interval,
        Decoding::TimeTz,
        Decoding::Time64,
        Decoding::UuidBytes,
        Decoding::Spelled(Spelling::Inet),
        Decoding::Spelled(Spelling::Inet),
        Decoding::Spelled(Spelling::MacAddr),
        Decoding::Spelled(Spelling::MacAddr),
        Decoding::Spelled(Spelling::Bits),
        Decoding::Spelled(Spelling::Bits),
        Decoding::Money { scale: 2 },
        Decoding::Spelled(Spelling::TsVector),
        Decoding::Spelled(Spelling::JsonPath),
        Decoding::Spelled(Spelling::Char),
        Decoding::Spelled(Spelling::Xid8),
        Decoding::Spelled(Spelling::Tid),
        Decoding::Spelled(Spelling::Lsn),
        list(Decoding::Int4, 23),
        list(Decoding::Text, 25),
        list(Decoding::Decimal { precision: 6, scale: 2 }, 1700),
        list(Decoding::TimestampTz, 1184),
        pair(),
        list(pair(), PAIR),
        Decoding::Range(range(Decoding::Int4)),
        Decoding::Range(range(Decoding::NumericText)),
        Decoding::Multirange(range(Decoding::Int4)),
        Decoding::Map,
        guarded(list(guarded(Decoding::Date), 1082)),
        Decoding::Range(on(Decoding::Date, OnUnrepresentable::Null)),
        Decoding::Geometry(spatial),
        Decoding::Shaped(shape(GeometryForm::Text, false)),
        Decoding::Shaped(shape(GeometryForm::Wkb, true)),
        Decoding::Struct(Arc::new([
            field("p", PAIR, pair()),
            field("ats", 1185, list(Decoding::TimestampTz, 1184)),
            field("span", 3904, Decoding::Range(range(Decoding::Int4))),
        ])),
    ]
}

/// The bytes of one value, as an array of it; the error of a value or of the array.
pub(super) fn value(bytes: &[u8], decoding: &Decoding) -> Result<ArrayRef, ValueError> {
    let mut column = Column::new(decoding, decoding.data_type(), 1);
    column.push(bytes)?;
    column.take()
}

/// The bytes of a COPY in pieces of this size, as far as whole batches reach.
pub(super) fn stream(bytes: &[u8], columns: &[Decoding], piece: usize) -> Result<Vec<RecordBatch>, DecodeError> {
    let fields = columns.iter().enumerate().map(|(place, decoding)| decoding.field(&format!("c{place}"), &[]));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut decoder = Decoder::new(schema, columns, BatchLimits { rows: 64, bytes: 1 << 20 });
    let mut batches = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece)?;
        if decoder.is_full() {
            batches.extend(decoder.take()?);
        }
    }
    batches.extend(decoder.take()?);
    Ok(batches)
}

/// What a fuzzer calls: the first byte chooses between a stream of every kind and one value of one kind, the rest is
/// decoded. Nothing may panic, and nothing may be allocated that was not sent.
pub fn decode(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let kinds = more();
    match kinds.get(usize::from(choice)) {
        Some(kind) => drop(value(rest, kind)),
        None => drop(stream(rest, &kinds, usize::from(choice))),
    }
}
