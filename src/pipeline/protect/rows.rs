//! Which rows of a batch meet a condition: what the warehouse decided in its query, decided again on the guards.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::ArrowNativeType;
use arrow::record_batch::RecordBatch;
use classification::Predicate;

/// The rows of a batch that meet a condition.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    /// Every one.
    All,
    /// None.
    None,
    /// Those whose bit is set.
    Some(BooleanBuffer),
}

impl Rows {
    /// Whether this row is one of them.
    #[inline]
    pub(super) fn has(&self, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(bits) => bits.value(row),
        }
    }

    /// As bits.
    pub(super) fn bits(&self, rows: usize) -> BooleanBuffer {
        match self {
            Self::All => BooleanBuffer::new_set(rows),
            Self::None => BooleanBuffer::new_unset(rows),
            Self::Some(bits) => bits.clone(),
        }
    }

    /// Bits in their one form: all or none are said so.
    fn of(bits: BooleanBuffer) -> Self {
        match bits.count_set_bits() {
            0 => Self::None,
            count if count == bits.len() => Self::All,
            _ => Self::Some(bits),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, rows) | (rows, Self::All) => rows,
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Some(one), Self::Some(two)) => Self::of(&one & &two),
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, rows) | (rows, Self::None) => rows,
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Some(one), Self::Some(two)) => Self::of(&one | &two),
        }
    }
}

/// A predicate over the columns of a batch.
#[derive(Debug)]
enum Test {
    Always,
    Never,
    /// The text in the column at this place is one of these, which are sorted.
    In {
        place: usize,
        values: Vec<Box<[u8]>>,
    },
    All(Vec<Test>),
    Any(Vec<Test>),
}

/// The conditions of a policy, each once, by the order in which they were first asked for.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    known: Vec<Predicate>,
    tests: Vec<Test>,
}

impl Conditions {
    /// Adds a condition and gives its number. `places` says where in a batch the text of a column is; the error is
    /// the column whose text is nowhere.
    pub(super) fn add(&mut self, predicate: &Predicate, places: &BTreeMap<&str, usize>) -> Result<usize, String> {
        if let Some(number) = self.known.iter().position(|known| known == predicate) {
            return Ok(number);
        }
        self.tests.push(test(predicate, places)?);
        self.known.push(predicate.clone());
        Ok(self.tests.len() - 1)
    }

    /// Decides all of them for a batch whose guards are texts.
    pub(super) fn decide(&self, batch: &RecordBatch) -> Vec<Rows> {
        self.tests.iter().map(|test| decide(test, batch)).collect()
    }
}

fn test(predicate: &Predicate, places: &BTreeMap<&str, usize>) -> Result<Test, String> {
    let all = |parts: &[Predicate]| parts.iter().map(|part| test(part, places)).collect::<Result<Vec<_>, _>>();
    Ok(match predicate {
        Predicate::Always => Test::Always,
        Predicate::Never => Test::Never,
        Predicate::In { column, values } => Test::In {
            place: *places.get(column.as_str()).ok_or_else(|| column.clone())?,
            values: values.iter().map(|value| value.as_bytes().into()).collect(),
        },
        Predicate::All(parts) => Test::All(all(parts)?),
        Predicate::Any(parts) => Test::Any(all(parts)?),
    })
}

fn decide(test: &Test, batch: &RecordBatch) -> Rows {
    match test {
        Test::Always => Rows::All,
        Test::Never => Rows::None,
        Test::In { place, values } => Rows::of(one_of(batch.column(*place).as_string(), values)),
        Test::All(parts) => parts.iter().fold(Rows::All, |rows, part| rows.and(decide(part, batch))),
        Test::Any(parts) => parts.iter().fold(Rows::None, |rows, part| rows.or(decide(part, batch))),
    }
}

/// Rows mostly come in runs of the same provider or metric, so a value is looked up where it changes.
fn one_of(array: &StringArray, values: &[Box<[u8]>]) -> BooleanBuffer {
    let (offsets, bytes, nulls) = (array.value_offsets(), array.value_data(), array.nulls());
    let admits = |value: &[u8]| values.binary_search_by(|candidate| candidate.as_ref().cmp(value)).is_ok();
    let mut last: &[u8] = &[];
    let mut admitted = admits(last);
    BooleanBuffer::collect_bool(array.len(), |row| {
        let value = &bytes[offsets[row].as_usize()..offsets[row + 1].as_usize()];
        if value != last {
            last = value;
            admitted = admits(value);
        }
        admitted && nulls.is_none_or(|nulls| nulls.is_valid(row))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use proptest::prelude::*;

    use super::*;

    fn predicate() -> impl Strategy<Value = Predicate> {
        let value = prop::sample::select(vec!["", "a", "b", "ab", "ä"]);
        let leaf = prop_oneof![
            Just(Predicate::Always),
            Just(Predicate::Never),
            (prop::sample::select(vec!["x", "y"]), prop::collection::btree_set(value.prop_map(str::to_owned), 0..4))
                .prop_map(|(column, values)| Predicate::In { column: column.to_owned(), values }),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::All),
                prop::collection::vec(inner, 0..3).prop_map(Predicate::Any),
            ]
        })
    }

    fn texts() -> impl Strategy<Value = Vec<Option<&'static str>>> {
        prop::collection::vec(prop::option::of(prop::sample::select(vec!["", "a", "b", "ab", "ä", "a "])), 9)
    }

    proptest! {
        #[test]
        fn arrays_are_decided_as_rows_are(predicate in predicate(), x in texts(), y in texts(), from in 0_usize..9) {
            let columns: [ArrayRef; 2] = [Arc::new(StringArray::from(x.clone())), Arc::new(StringArray::from(y.clone()))];
            let batch = RecordBatch::try_from_iter(["x", "y"].into_iter().zip(columns)).unwrap().slice(from, 9 - from);
            let mut conditions = Conditions::default();
            let number = conditions.add(&predicate, &BTreeMap::from([("x", 0), ("y", 1)])).unwrap();
            prop_assert_eq!(conditions.add(&predicate, &BTreeMap::new()), Ok(number));
            let rows = &conditions.decide(&batch)[number];
            for row in from..9 {
                let admits = predicate.admits(&|column| if column == "x" { x[row] } else { y[row] });
                prop_assert_eq!(rows.has(row - from), admits);
                prop_assert_eq!(rows.bits(9 - from).value(row - from), admits);
            }
        }
    }
}
