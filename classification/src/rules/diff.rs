//! What changes when one set of rules takes another's place, for people and for the audit.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::RuleSet;
use super::check::Row;
use super::pii;
use super::table::RuleTable;

/// One row that comes, goes or changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The table that holds the row.
    pub table: RuleTable,
    /// The row's key as people would say it, such as `way geometry`.
    pub key: String,
    /// The row as it is; `None` for one that comes.
    pub before: Option<Value>,
    /// The row as it will be; `None` for one that goes.
    pub after: Option<Value>,
}

impl fmt::Display for Change {
    /// `+ way speed (data_column_classification): classification nr`, with `-` for what goes and `~` for what changes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        write!(f, "{sign} {} {}", self.table, self.key)?;
        if self.table == RuleTable::PiiRules {
            return self.lines(f);
        }
        let empty = Value::Null;
        let mut separator = ": ";
        for column in self.table.columns() {
            let before = self.before.as_ref().map(|row| row.get(column).unwrap_or(&empty));
            let after = self.after.as_ref().map(|row| row.get(column).unwrap_or(&empty));
            // The key stands before the colon already.
            if before == after
                || ["table_name", "column_name", "metric_name", "source", "kind", "name"].contains(column)
            {
                continue;
            }
            match (before, after) {
                (Some(before), Some(after)) => write!(f, "{separator}{column} {} → {}", Cell(before), Cell(after))?,
                (None, Some(only)) | (Some(only), None) if !only.is_null() => {
                    write!(f, "{separator}{column} {}", Cell(only))?;
                }
                _ => continue,
            }
            separator = ", ";
        }
        Ok(())
    }
}

impl Change {
    /// The lines of a text that go and those that come, without what stands alike before and behind them.
    fn lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn split(row: Option<&Value>) -> Vec<&str> {
            let text = row.and_then(|row| row.get(RuleTable::PII_COLUMN)).and_then(Value::as_str);
            text.map(|text| text.lines().collect()).unwrap_or_default()
        }
        let (before, after) = (split(self.before.as_ref()), split(self.after.as_ref()));
        let head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        let (before, after) = (&before[head..], &after[head..]);
        let tail = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
        before[..before.len() - tail].iter().try_for_each(|line| write!(f, "\n  - {line}"))?;
        after[..after.len() - tail].iter().try_for_each(|line| write!(f, "\n  + {line}"))
    }
}

/// A column's value as people read it: words without quotes.
struct Cell<'a>(&'a Value);

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("NULL"),
            Value::String(text) => f.write_str(text),
            other => other.fmt(f),
        }
    }
}

pub(super) fn diff(old: &RuleSet, new: &RuleSet) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&old.tables, &new.tables, &mut changes);
    compare(&old.columns, &new.columns, &mut changes);
    compare(&old.sources, &new.sources, &mut changes);
    compare(&old.metrics, &new.metrics, &mut changes);
    compare(&old.restrictions, &new.restrictions, &mut changes);
    if old.pii != new.pii {
        // No row stands for the defaults.
        let row = |text: &str| Some(text).filter(|text| !text.is_empty()).map(pii::row);
        changes.push(Change {
            table: RuleTable::PiiRules,
            key: RuleTable::PiiRules.file_name(),
            before: row(old.pii_text()),
            after: row(new.pii_text()),
        });
    }
    changes
}

fn compare<K: Ord, T: Row + Serialize + PartialEq>(
    old: &BTreeMap<K, T>,
    new: &BTreeMap<K, T>,
    changes: &mut Vec<Change>,
) {
    let mut keys: Vec<&K> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        let Some(row) = before.or(after) else { continue };
        if before != after {
            changes.push(Change {
                table: T::TABLE,
                key: row.label(),
                before: before.map(as_json),
                after: after.map(as_json),
            });
        }
    }
}

/// The row as JSON. Its types have no map with other keys than text, so it always has one.
fn as_json<T: Serialize>(row: &T) -> Value {
    serde_json::to_value(row).unwrap_or(Value::Null)
}
