//! The decoder for a fuzzer and for the tests: a decoding of every kind, bytes to values without a server, and the laws
//! that hold whatever the bytes are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use super::super::super::{GeometryForm, OnTooLong, OnUnrepresentable};
use super::super::types::{Attribute, Decoding, Guard, ListOf, RangeOf, Shape, Spatial, Spelling};
use super::{BatchLimits, Column, DecodeError, Decoder, ValueError};

/// The type of `pair` where the samples were written, a composite of an integer and a text.
const PAIR: u32 = 16_514;

/// The decodings of plain values, in the order of `every_type.copy`.
pub(super) const PLAIN: [Decoding; 18] = [
    Decoding::Int2,
    Decoding::Int4,
    Decoding::Int8,
    Decoding::Oid,
    Decoding::Float4,
    Decoding::Float8,
    Decoding::Bool,
    Decoding::Decimal { precision: 12, scale: 2 },
    Decoding::NumericText,
    Decoding::Text,
    Decoding::Json,
    Decoding::Jsonb,
    Decoding::Uuid,
    Decoding::Bytea,
    Decoding::TimestampTz,
    Decoding::Timestamp,
    Decoding::Date,
    Decoding::Time,
];

/// A decoding of every other kind, in the order of `more_types.copy`.
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

fn decoder(columns: &[Decoding]) -> Decoder {
    let fields = columns.iter().enumerate().map(|(place, decoding)| decoding.field(&format!("c{place}"), &[]));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    // Few rows, so that small streams too make several batches.
    Decoder::new(schema, columns, BatchLimits { rows: 2, bytes: 1 << 20 })
}

/// The bytes of a COPY in pieces of this size, as far as whole batches reach.
pub(super) fn stream(bytes: &[u8], columns: &[Decoding], piece: usize) -> Result<Vec<RecordBatch>, DecodeError> {
    let mut decoder = decoder(columns);
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

/// Decodings of the same bytes under options, of which there are no samples of their own.
fn under_options() -> Vec<Decoding> {
    let guarded = |decoding, on_unrepresentable, on_too_long| {
        Decoding::Guarded(Arc::new(Guard { decoding, on_unrepresentable, on_too_long }))
    };
    let clamped = |decoding| guarded(decoding, OnUnrepresentable::Clamp, None);
    let spatial = |form, srid| {
        let (decimals, on_unrepresentable) = (Some(0), OnUnrepresentable::Error);
        let native = form == GeometryForm::Wkb;
        Decoding::Geometry(Spatial {
            srid,
            geography: false,
            native,
            form,
            decimals,
            on_unrepresentable,
            on_too_long: None,
        })
    };
    let polyline = Shape {
        form: GeometryForm::Polyline,
        jsonb: false,
        decimals: None,
        on_unrepresentable: OnUnrepresentable::Null,
        on_too_long: None,
    };
    vec![
        Decoding::Cast,
        clamped(Decoding::TimestampTz),
        clamped(Decoding::Date),
        clamped(Decoding::Time64),
        clamped(Decoding::Decimal { precision: 38, scale: 10 }),
        clamped(Decoding::List(Arc::new(ListOf { item: clamped(Decoding::Date), oid: 1082, first: 1 }))),
        guarded(Decoding::NumericText, OnUnrepresentable::Null, None),
        guarded(Decoding::Text, OnUnrepresentable::Null, Some(OnTooLong::Truncate)),
        guarded(Decoding::Text, OnUnrepresentable::Error, Some(OnTooLong::Error)),
        spatial(GeometryForm::Text, None),
        spatial(GeometryForm::Polyline, None),
        spatial(GeometryForm::Wkb, Some(4326)),
        Decoding::Shaped(polyline),
    ]
}

/// The rows of a COPY that ends as it should, in one batch; `None` where there are none.
fn complete(bytes: &[u8], columns: &[Decoding], piece: usize) -> Result<Option<RecordBatch>, DecodeError> {
    let mut decoder = decoder(columns);
    let mut batches = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece)?;
        if decoder.is_full() {
            batches.extend(decoder.take()?);
        }
    }
    decoder.finish(decoder.read)?;
    batches.extend(decoder.take()?);
    Ok(batches.first().map(|first| concat_batches(&first.schema(), &batches).expect("batches of one decoder")))
}

/// What a fuzzer calls, for one value of a kind or a stream: the first byte chooses, the rest is decoded. Nothing may
/// panic; what is decoded is sound to Arrow, and a stream the same in whatever pieces it comes. Whether it was decoded.
pub fn decode(bytes: &[u8]) -> bool {
    let Some((&choice, rest)) = bytes.split_first() else { return false };
    let more = more();
    let kinds: Vec<&Decoding> = PLAIN.iter().chain(&more).collect();
    let options = under_options();
    let choice = usize::from(choice);
    match kinds.iter().copied().chain(&options).nth(choice) {
        Some(kind) => match value(rest, kind) {
            Ok(array) => {
                assert_eq!(array.len(), 1, "one value");
                array.to_data().validate_full().expect("sound to Arrow");
                true
            }
            Err(_) => false,
        },
        None => {
            let columns = if choice % 2 == 0 { &PLAIN[..] } else { &more };
            let whole = complete(rest, columns, rest.len());
            let pieces = complete(rest, columns, choice - kinds.len() - options.len() + 1);
            match (whole, pieces) {
                (Ok(whole), Ok(pieces)) => {
                    assert_eq!(whole, pieces, "the same in pieces");
                    for column in whole.iter().flat_map(RecordBatch::columns) {
                        column.to_data().validate_full().expect("sound to Arrow");
                    }
                    true
                }
                (Err(_), Err(_)) => false,
                (whole, pieces) => panic!("{:?} whole, {:?} in pieces", whole.err(), pieces.err()),
            }
        }
    }
}
