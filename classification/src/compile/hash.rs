//! The name of a policy's content.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::policy::{Decision, Policy, PolicyColumn, Predicate, RowRule};
use crate::table::TableName;

/// SHA-256, in hex, of everything in a policy but the hash itself, as JSON: structures have a fixed order of fields,
/// sets are sorted, and conditions are in their normal form, so equal content has one text.
pub(super) fn of(policy: &Policy) -> String {
    #[derive(Serialize)]
    struct Content<'a> {
        table: &'a TableName,
        columns: &'a [PolicyColumn],
        rows: &'a Predicate,
        row_rules: &'a [RowRule],
        warnings: &'a [String],
        pii_rules: &'a str,
        decisions: &'a [Decision],
    }
    // Named one by one, so that a further field of a policy cannot be forgotten here. Not by way of a JSON value:
    // whether that keeps the order of fields depends on how the library was built.
    let Policy { table, columns, rows, row_rules, warnings, pii_rules, decisions, hash: _ } = policy;
    let content = Content { table, columns, rows, row_rules, warnings, pii_rules, decisions };
    let text = serde_json::to_vec(&content).expect("names and lists of names always have a JSON form");
    Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
}
