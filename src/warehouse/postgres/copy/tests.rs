use arrow::array::AsArray;
use arrow::datatypes::{Field, Int16Type, Schema};
use proptest::prelude::*;

use super::super::super::OnUnrepresentable;
use super::super::types::Guard;
use super::fuzzing::PLAIN as EVERY_TYPE;
use super::*;

/// What PostgreSQL 15 sent for thirteen rows of every type, the last of them all NULL, in the order of [`EVERY_TYPE`].
const STREAM: &[u8] = include_bytes!("every_type.copy");
const ROWS: usize = 13;
fn decoder(columns: &[Decoding], limits: BatchLimits) -> Decoder {
    let fields: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, decoding)| Field::new(format!("c{index}"), decoding.data_type(), true))
        .collect();
    Decoder::new(Arc::new(Schema::new(fields)), columns, limits)
}

/// Decodes a stream that comes in these pieces, as a reader does.
fn decode<'a>(
    columns: &[Decoding],
    limits: BatchLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<RecordBatch>, DecodeError> {
    let mut decoder = decoder(columns, limits);
    let mut batches = Vec::new();
    for piece in pieces {
        decoder.push(piece)?;
        if decoder.is_full() {
            batches.extend(decoder.take()?);
        }
    }
    decoder.finish(decoder.read)?;
    batches.extend(decoder.take()?);
    Ok(batches)
}

fn whole() -> RecordBatch {
    decode(&EVERY_TYPE, BatchLimits::default(), [STREAM]).unwrap().remove(0)
}

fn joined(batches: &[RecordBatch]) -> RecordBatch {
    arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap()
}

/// A stream of one smallint and one text a row.
fn small(rows: &[(i16, &str)]) -> Vec<u8> {
    let mut bytes = STREAM[..HEADER].to_vec();
    for (number, text) in rows {
        bytes.extend(2_i16.to_be_bytes());
        bytes.extend(2_i32.to_be_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.extend((text.len() as i32).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

const SMALL: [Decoding; 2] = [Decoding::Int2, Decoding::Text];

#[test]
fn a_stream_of_the_server_is_read_whole() {
    let batch = whole();
    assert_eq!((batch.num_rows(), batch.num_columns()), (ROWS, EVERY_TYPE.len()));
    for column in batch.columns() {
        assert_eq!((column.null_count(), column.is_null(ROWS - 1)), (1, true));
    }
    assert_eq!(batch.column(0).as_primitive::<Int16Type>().value(11), 12);
    assert_eq!(batch.column(7).as_primitive::<arrow::datatypes::Decimal128Type>().value_as_string(0), "12345.67");
    assert_eq!(batch.column(8).as_string::<i32>().value(0), "0.14285714285714285714");
    assert_eq!(batch.column(11).as_string::<i32>().value(1), "{\"g\": 2}");
    assert_eq!(batch.column(17).as_string::<i32>().value(11), "12:00:12.000000");
}

/// What no server of the tests sends: PostgreSQL 17 has infinite intervals, and a database in SQL_ASCII any bytes.
#[test]
fn infinite_intervals_and_text_that_is_not_utf8_are_errors_unless_a_policy_nulls_them() {
    let interval =
        |micros: i64, rest: i32| [&micros.to_be_bytes()[..], &rest.to_be_bytes(), &rest.to_be_bytes()].concat();
    let text = b"\xc3(".to_vec();
    for (decoding, odd, plain) in [
        (Decoding::Interval, interval(i64::MAX, i32::MAX), interval(i64::MAX, i32::MIN)),
        (Decoding::Interval, interval(i64::MIN, i32::MIN), interval(i64::MIN, 7)),
        (Decoding::Text, text.clone(), b"()".to_vec()),
        (Decoding::Json, text, b"[]".to_vec()),
    ] {
        let mut stream = STREAM[..HEADER].to_vec();
        for value in [&plain, &odd, &plain] {
            stream.extend(1_i16.to_be_bytes());
            stream.extend((value.len() as i32).to_be_bytes());
            stream.extend(value);
        }
        stream.extend((-1_i16).to_be_bytes());
        for policy in [OnUnrepresentable::Error, OnUnrepresentable::Null, OnUnrepresentable::Clamp] {
            let guard = Guard { decoding: decoding.clone(), on_unrepresentable: policy, on_too_long: None };
            let guarded = Decoding::Guarded(Arc::new(guard));
            for columns in [[decoding.clone()], [guarded]] {
                let nulled = policy == OnUnrepresentable::Null && matches!(columns[0], Decoding::Guarded(_));
                match decode(&columns, BatchLimits::default(), [stream.as_slice()]) {
                    Ok(batches) if nulled => {
                        let nulls: Vec<_> = (0..3).map(|row| batches[0].column(0).is_null(row)).collect();
                        assert_eq!(nulls, [false, true, false], "{columns:?}");
                    }
                    Err(DecodeError::Value { reason: ValueError::Unrepresentable(_), .. }) if !nulled => {}
                    other => panic!("{columns:?}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_stream_without_its_end_is_an_error_wherever_it_was_cut() {
    for length in 0..STREAM.len() {
        let result = decode(&EVERY_TYPE, BatchLimits::default(), [&STREAM[..length]]);
        assert!(result.is_err(), "cut at {length} of {}", STREAM.len());
    }
}

#[test]
fn what_frames_the_rows_is_checked() {
    let good = small(&[(1, "a")]);
    let with = |place: usize, bytes: &[u8]| {
        let mut stream = good.clone();
        stream[place..place + bytes.len()].copy_from_slice(bytes);
        stream
    };
    let after = [good.as_slice(), &[0]].concat();
    let extended = [&good[..15], &3_u32.to_be_bytes(), b"xyz", &good[19..]].concat();
    for (name, stream, ok) in [
        ("as it is", good.clone(), true),
        ("an extension is skipped", extended, true),
        ("no rows", small(&[]), true),
        ("another signature", with(0, b"X"), false),
        ("a flag that must be known", with(11, &[0, 1]), false),
        ("a flag that need not", with(13, &[0, 1]), true),
        ("an endless extension", with(15, &[0xff]), false),
        ("more columns", with(19, &3_i16.to_be_bytes()), false),
        ("fewer columns", with(19, &1_i16.to_be_bytes()), false),
        ("a negative count", with(19, &(-2_i16).to_be_bytes()), false),
        ("a negative length", with(21, &(-2_i32).to_be_bytes()), false),
        ("a length beyond the end", with(21, &i32::MAX.to_be_bytes()), false),
        ("another width", with(21, &1_i32.to_be_bytes()), false),
        ("bytes after the trailer", after, false),
        ("nothing", Vec::new(), false),
    ] {
        let result = decode(&SMALL, BatchLimits::default(), [stream.as_slice()]);
        assert_eq!(result.is_ok(), ok, "{name}: {result:?}");
    }
}

#[test]
fn batches_are_cut_by_rows_and_by_bytes() {
    let long = "x".repeat(1000);
    let rows: Vec<_> = (0..100).map(|number| (number, long.as_str())).collect();
    let stream = small(&rows);
    // A row a piece, as the server sends them.
    let row = 2 + 4 + 2 + 4 + 1000;
    let pieces = || std::iter::once(&stream[..HEADER + row]).chain(stream[HEADER + row..].chunks(row));
    for (rows, bytes, want) in
        [(10, 1 << 20, 10), (1000, 5 * row, 20), (1000, 1 << 20, 1), (1, 1 << 20, 100), (10, 1, 100)]
    {
        let batches = decode(&SMALL, BatchLimits { rows, bytes }, pieces()).unwrap();
        assert_eq!(batches.len(), want, "{rows} rows, {bytes} bytes");
        assert_eq!(joined(&batches).num_rows(), 100);
    }
}

proptest! {
    #[test]
    fn it_does_not_matter_where_the_pieces_begin(cuts in prop::collection::vec(0..STREAM.len(), 0..30), rows in 1..20_usize) {
        let mut cuts = cuts;
        cuts.extend([0, STREAM.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &STREAM[pair[0]..pair[1]]);
        let batches = decode(&EVERY_TYPE, BatchLimits { rows, bytes: 1 << 20 }, pieces).unwrap();
        prop_assert_eq!(joined(&batches), whole());
    }

    #[test]
    fn damaged_bytes_never_panic(
        damage in prop::collection::vec((0..STREAM.len(), any::<u8>()), 1..8),
        cut in 0..STREAM.len(),
        piece in 1..200_usize,
    ) {
        let mut stream = STREAM.to_vec();
        for (place, byte) in damage {
            stream[place] = byte;
        }
        if let Ok(batches) = decode(&EVERY_TYPE, BatchLimits { rows: 3, bytes: 1 << 20 }, stream.chunks(piece)) {
            // Taken for whole, so every byte was accounted for.
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            prop_assert!(rows <= ROWS);
        }
        let short = decode(&EVERY_TYPE, BatchLimits::default(), [&stream[..cut]]);
        prop_assert!(short.is_err() || stream[..cut].ends_with(&[0xff, 0xff]));
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let stream = [&STREAM[..HEADER], &noise].concat();
        let _ = decode(&SMALL, BatchLimits::default(), [stream.as_slice()]);
        let _ = decode(&EVERY_TYPE, BatchLimits::default(), [stream.as_slice()]);
    }

    #[test]
    fn values_of_any_bytes_are_values_or_errors(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), EVERY_TYPE.len())) {
        let mut stream = STREAM[..HEADER].to_vec();
        stream.extend((EVERY_TYPE.len() as i16).to_be_bytes());
        for value in &values {
            stream.extend((value.len() as i32).to_be_bytes());
            stream.extend(value);
        }
        stream.extend((-1_i16).to_be_bytes());
        for (column, decoding) in EVERY_TYPE.into_iter().enumerate() {
            let mut one = Column::new(&decoding, decoding.data_type(), 1);
            let _ = one.push(&values[column]).and_then(|()| one.take().map(drop));
        }
        let _ = decode(&EVERY_TYPE, BatchLimits::default(), [stream.as_slice()]);
    }
}
