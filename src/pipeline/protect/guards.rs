//! What must be read beside a policy's columns so that its conditions can be decided again in the process.

use std::collections::{BTreeMap, BTreeSet};

use classification::actions::Action;
use classification::{Policy, PolicyColumn, Predicate};

use crate::error::{ErrorCode, Failure};
use crate::warehouse::{ColumnOptions, Guard, TimeSlice};

/// The guards that a scan under this policy needs, with these options for its columns.
///
/// # Errors
/// `RULES_INVALID` where pseudonyms change daily and the table is exported whole: its rows have no day.
pub fn guards(
    policy: &Policy,
    slice: Option<&TimeSlice>,
    options: &BTreeMap<String, ColumnOptions>,
) -> Result<Vec<Guard>, Failure> {
    let readable = as_exported(policy, options);
    let asked: BTreeSet<&str> = conditions(policy).flat_map(Predicate::columns).collect();
    let missing = asked.into_iter().filter(|column| !readable.contains_key(column));
    let mut guards: Vec<Guard> = missing.map(|column| Guard::Text(column.to_owned())).collect();
    if let Some(column) = policy.columns.iter().find(|column| needs_day(column)) {
        if slice.is_none() {
            return Err(Failure::new(
                ErrorCode::RulesInvalid,
                format!(
                    "column '{}' of '{}' has pseudonyms for each day, and the table is exported whole, without a time \
                     column that would say which day; leave out \"per\": \"day\" or name the time column",
                    column.name, policy.table
                ),
            ));
        }
        guards.push(Guard::Day);
    }
    Ok(guards)
}

/// Every condition of a policy.
fn conditions(policy: &Policy) -> impl Iterator<Item = &Predicate> {
    let columns = policy.columns.iter();
    let of_columns =
        columns.flat_map(|column| std::iter::once(&column.cell).chain(column.care.iter().map(|care| &care.when)));
    std::iter::once(&policy.rows).chain(of_columns)
}

/// The exported columns that are read as exactly the text that predicates compare, with their places.
/// A column with options may be written otherwise: cut, rounded, in another form.
pub(super) fn as_exported<'p>(
    policy: &'p Policy,
    options: &BTreeMap<String, ColumnOptions>,
) -> BTreeMap<&'p str, usize> {
    let columns = policy.columns.iter().enumerate();
    columns
        .filter(|(_, column)| column.cell == Predicate::Always && is_text(&column.sql_type))
        .filter(|(_, column)| !options.contains_key(&column.name))
        .map(|(place, column)| (column.name.as_str(), place))
        .collect()
}

/// Types whose values are their text: not `char(n)`, whose padding a cast takes away.
fn is_text(sql_type: &str) -> bool {
    sql_type == "text" || sql_type == "character varying" || sql_type.starts_with("character varying(")
}

/// Whether a column's pseudonyms change daily.
pub(super) fn needs_day(column: &PolicyColumn) -> bool {
    column.care.iter().any(|care| matches!(care.action, Action::Pseudonym { per_day: true, .. }))
}
