//! Columns that the shipped rules change: what a change promises, and whether a file keeps it.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::wrong;
use crate::error::Failure;

/// How often each value occurs; `None` is NULL.
pub(super) type Counts = BTreeMap<Option<String>, i64>;

/// What was done to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Rounded to three decimals.
    Rounded,
    /// Every value has a name of its own that says nothing of it.
    Pseudonyms,
    /// Personal data in it was replaced.
    Searched,
}

/// The columns of the sample that do not leave as they are. Written by hand, like what is expected of the rows.
const CHANGED: &[(&str, &str, Change)] = &[
    ("incident", "description", Change::Searched),
    ("incident", "details", Change::Searched),
    ("probe_speed", "lat", Change::Rounded),
    ("probe_speed", "lon", Change::Rounded),
    ("probe_speed", "trip_id", Change::Pseudonyms),
    ("probe_speed", "vehicle_id", Change::Pseudonyms),
    ("way", "tags", Change::Searched),
];

/// What is done to a column of a table.
pub(super) fn of(table: &str, column: &str) -> Option<Change> {
    CHANGED.iter().find(|(of, name, _)| *of == table && *name == column).map(|(.., change)| *change)
}

/// PostgreSQL's own expression of a float rounded to three decimals, ties to even.
pub(super) fn rounded(name: &str) -> String {
    format!("(round({name} * '1000'::float8) / '1000'::float8)")
}

/// The warehouse's values of a column.
pub(super) async fn kept(
    sql: &mut PgConnection,
    table: &str,
    column: &str,
    condition: &str,
) -> Result<Counts, Failure> {
    // Made of the demo's own constants and of column names that the catalog knows.
    let statement = format!("SELECT {column}::text, count(*) FROM {table} WHERE {condition} GROUP BY 1");
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(sql).await;
    let rows = rows.map_err(|_| wrong(table, "cannot be compared: the query failed"))?;
    Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
}

impl Change {
    /// What a file has otherwise than this change makes it from what the warehouse keeps.
    pub(super) fn difference(self, found: &Counts, kept: &Counts) -> Option<&'static str> {
        match self {
            Self::Rounded => None,
            Self::Pseudonyms => {
                let sizes = |counts: &Counts| {
                    let mut sizes: Vec<i64> =
                        counts.iter().filter(|(value, _)| value.is_some()).map(|(_, n)| *n).collect();
                    sizes.sort_unstable();
                    sizes
                };
                if found.keys().any(|value| value.is_some() && kept.contains_key(value)) {
                    Some("values that are no pseudonyms")
                } else if found.get(&None) != kept.get(&None) || sizes(found) != sizes(kept) {
                    // Equal values have equal pseudonyms, and others have others.
                    Some("pseudonyms that do not stand for one value each")
                } else {
                    None
                }
            }
            Self::Searched => {
                let placeholder = |text: &str| {
                    let words = text.split('<').skip(1).filter_map(|part| part.split_once('>'));
                    words
                        .map(|(word, _)| word)
                        .any(|word| word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
                };
                let same = |value: &Option<String>, n: &i64| kept.get(value).is_some_and(|kept| n <= kept);
                let other =
                    |(value, n): (&Option<String>, &i64)| !same(value, n) && !value.as_deref().is_some_and(placeholder);
                found.iter().any(other).then_some("texts that are neither the warehouse's nor have a placeholder")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[(Option<&str>, i64)]) -> Counts {
        values.iter().map(|(value, n)| (value.map(str::to_owned), *n)).collect()
    }

    #[test]
    fn each_change_keeps_what_it_promises() {
        let kept = counts(&[(Some("a@b.example"), 2), (Some("clear"), 1), (None, 1)]);
        for (change, found, holds) in [
            (Change::Pseudonyms, &[(Some("x"), 2), (Some("y"), 1), (None, 1)][..], true),
            (Change::Pseudonyms, &[(Some("x"), 1), (Some("z"), 1), (Some("y"), 1), (None, 1)], false),
            (Change::Pseudonyms, &[(Some("x"), 2), (Some("clear"), 1), (None, 1)], false),
            (Change::Pseudonyms, &[(Some("x"), 2), (Some("y"), 2)], false),
            (Change::Searched, &[(Some("<EMAIL>"), 2), (Some("clear"), 1), (None, 1)], true),
            (Change::Searched, &[(Some("<email>"), 2), (Some("clear"), 1), (None, 1)], false),
            (Change::Searched, &[(Some("clear"), 3), (None, 1)], false),
        ] {
            assert_eq!(change.difference(&counts(found), &kept).is_none(), holds, "{change:?} {found:?}");
        }
    }
}
