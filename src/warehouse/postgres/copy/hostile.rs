//! Bytes that no server sends, for every kind of value: errors, never a panic, and nothing is allocated for what is
//! only said to be there.

use arrow::array::{Array, AsArray};
use proptest::prelude::*;

use super::super::types::{Decoding, Spelling};
use super::{HEADER, ValueError, fuzzing};

/// What PostgreSQL 15 sent for three rows of [`fuzzing::more`]: usual values, NULLs, and empty ones.
const STREAM: &[u8] = include_bytes!("more_types.copy");

/// The values of a row of the samples, `None` for NULL.
fn row(wanted: usize) -> Vec<Option<Vec<u8>>> {
    let mut rest = &STREAM[HEADER..];
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken.to_vec()
    };
    let mut rows = Vec::new();
    for _ in 0..3 {
        let count = i16::from_be_bytes(take(2).try_into().unwrap());
        let value = |_| match i32::from_be_bytes(take(4).try_into().unwrap()) {
            -1 => None,
            length => Some(take(length as usize)),
        };
        rows.push((0..count).map(value).collect::<Vec<_>>());
    }
    rows.swap_remove(wanted)
}

/// Kinds of which a part is a value too, since they have no structure of their own.
fn is_free(decoding: &Decoding) -> bool {
    matches!(decoding, Decoding::Spelled(Spelling::JsonPath | Spelling::MacAddr) | Decoding::Shaped(_))
}

#[test]
fn the_samples_are_what_was_written() {
    let kinds = fuzzing::more();
    let batch = fuzzing::stream(STREAM, &kinds, 100).unwrap().remove(0);
    assert_eq!((batch.num_rows(), batch.num_columns()), (3, kinds.len()));
    for (place, column) in batch.columns().iter().enumerate() {
        // A range with a bound that has no place in the file is NULL.
        assert!(column.is_null(1) && column.is_null(0) == (place == 28), "{place}: {:?}", kinds[place]);
    }
    assert_eq!(batch.column(5).as_string::<i32>().value(2), "::/0");
    assert_eq!(batch.column(11).as_string::<i32>().value(0), "'a':1A,2B 'it''s'");
    assert_eq!(batch.column(30).as_string::<i32>().value(0), "POLYGON((0 0,4.44 0,4 4,0 0))");
    assert!(batch.column(27).as_list::<i32>().value(0).is_null(0));
}

#[test]
fn a_value_that_is_cut_is_an_error_wherever_it_is_cut() {
    for (kind, bytes) in fuzzing::more().iter().zip(row(0)) {
        let bytes = bytes.unwrap();
        for length in (0..bytes.len()).filter(|_| !is_free(kind)) {
            let found = fuzzing::value(&bytes[..length], kind);
            assert!(matches!(found, Err(ValueError::Malformed(_))), "{kind:?} cut at {length}: {found:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(is_free(kind) || fuzzing::value(&longer, kind).is_err(), "{kind:?}");
    }
}

#[test]
fn counts_and_lengths_that_lie_allocate_nothing() {
    for (kind, bytes) in fuzzing::more().iter().zip(row(0)) {
        let bytes = bytes.unwrap();
        for at in 0..bytes.len().saturating_sub(3) {
            for lie in [i32::MAX, i32::MIN, -2, 0x00ff_ffff, 1 << 30] {
                let mut bytes = bytes.clone();
                bytes[at..at + 4].copy_from_slice(&lie.to_be_bytes());
                if let Ok(array) = fuzzing::value(&bytes, kind) {
                    // The weight of a number alone may stand for 131,072 digits.
                    assert!(array.get_array_memory_size() < 1 << 19, "{kind:?} at {at}");
                }
                bytes[at..at + 4].copy_from_slice(&lie.to_le_bytes());
                let _ = fuzzing::value(&bytes, kind);
            }
        }
    }
}

#[test]
fn what_the_planned_type_is_not_is_an_error() {
    // The same bytes under the neighbour's type: a value or an error, and mostly an error.
    let (kinds, row) = (fuzzing::more(), row(0));
    for (place, bytes) in row.iter().enumerate() {
        for kind in &kinds {
            let _ = fuzzing::value(bytes.as_ref().unwrap(), kind);
        }
        let _ = fuzzing::value(&[], &kinds[place]);
    }
    let arrays: Vec<usize> = (17..21).collect();
    for &one in &arrays {
        for &other in arrays.iter().filter(|&&other| other != one) {
            let found = fuzzing::value(row[one].as_ref().unwrap(), &kinds[other]);
            assert_eq!(found.err(), Some(ValueError::Malformed("an array of another type than was planned")));
        }
    }
}

proptest! {
    #[test]
    fn damaged_values_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        from in prop::sample::select(vec![0_usize, 2]),
    ) {
        for (kind, bytes) in fuzzing::more().iter().zip(row(from)) {
            let Some(mut bytes) = bytes else { continue };
            if bytes.is_empty() {
                continue;
            }
            for (place, byte) in &damage {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            let _ = fuzzing::value(&bytes, kind);
            let _ = fuzzing::value(&bytes[..cut.index(bytes.len())], kind);
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..120)) {
        for choice in 0..=70_u8 {
            fuzzing::decode(&[&[choice][..], &noise].concat());
        }
    }

    #[test]
    fn damaged_streams_never_panic(
        damage in prop::collection::vec((HEADER..STREAM.len(), any::<u8>()), 1..8),
        piece in 1..300_usize,
    ) {
        let mut stream = STREAM.to_vec();
        for (place, byte) in damage {
            stream[place] = byte;
        }
        let _ = fuzzing::stream(&stream, &fuzzing::more(), piece);
    }
}
