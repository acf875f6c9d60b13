//! What the rules do to a table, and where they and the warehouse have come apart.

use async_graphql::{Enum, SimpleObject};
use chrono::{DateTime, Utc};

use super::Long;
use crate::explain::{self, Explanation, Fate};
use crate::rules::{ColumnDrift, DriftKind};

/// What becomes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Fate")]
pub(in crate::api::graphql) enum ColumnFate {
    /// Its values leave as they are.
    Kept,
    /// It leaves, and some of its values or all of them are changed.
    Changed,
    /// It does not leave.
    LeftOut,
}

/// How a column has come apart from its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "DriftKind", name = "DriftKind")]
pub(in crate::api::graphql) enum Drifted {
    /// The warehouse has it, and nobody has classified it: it does not leave.
    New,
    /// It is classified, and the warehouse has it no more.
    Missing,
    /// Its type is not the one that was classified: if it would leave, its table fails.
    Retyped,
}

/// What would leave of a table, and why.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ExplainedExport {
    /// The table.
    table: String,
    /// The first instant of the range.
    start: Option<DateTime<Utc>>,
    /// The first instant after the range.
    end: Option<DateTime<Utc>>,
    /// How often the rules had changed.
    rules_revision: Long,
    /// Equal policies have equal hashes: the one in the manifest of an export made under it. Null where no column may
    /// leave.
    policy_hash: Option<String>,
    /// Why an export would fail as things stand; everything else is then what would leave without that.
    refused: Option<Refusal>,
    /// The columns, in the warehouse's order.
    columns: Vec<ExplainedColumn>,
    /// The rows that may leave, in words.
    rows: String,
    /// The rules that hold rows back.
    row_rules: Vec<ExplainedRule>,
    /// The asker's rows in the range; null unless asked for.
    rows_in_window: Option<Long>,
    /// Those of them that would be exported.
    rows_exported: Option<Long>,
    /// The asker's rows whose time is NULL or infinite: they belong to no range, and no export has them.
    rows_without_time: Option<Long>,
    /// What should be looked at.
    warnings: Vec<String>,
}

/// Why an export would fail.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct Refusal {
    /// Stable, in SCREAMING_SNAKE_CASE; each has a page in the documentation.
    code: String,
    /// One or two sentences for the reader.
    message: String,
}

/// One column, and why.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ExplainedColumn {
    /// Its name.
    name: String,
    /// Its type; null for one that the warehouse lacks.
    #[graphql(name = "type")]
    sql_type: Option<String>,
    /// What becomes of it.
    fate: ColumnFate,
    /// The rule that decided it.
    rule: String,
    /// What is done to its values, in this order.
    changes: Vec<String>,
}

/// A rule that holds rows back.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ExplainedRule {
    /// The rule.
    rule: String,
    /// The rows that it lets through, in words.
    rows: String,
    /// How many of the asker's rows in the range it holds back, whatever other rules say of them. Null for the rule
    /// that keeps tenants apart: what others have is theirs to know.
    rows_held_back: Option<Long>,
}

/// A column that has come apart from its rule.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct UnclassifiedColumn {
    /// The table.
    table: String,
    /// The column.
    column: String,
    /// Its type now; null for one that is missing.
    #[graphql(name = "type")]
    sql_type: Option<String>,
    /// The type that was classified; null where it is not known, since the column never left.
    previous_type: Option<String>,
    /// How it has come apart.
    kind: Drifted,
    /// The kind of personal data that its name speaks of, such as `EMAIL`; null where it speaks of none.
    suspected: Option<String>,
    /// What to do about it.
    suggestion: String,
    /// The missing column that this one probably was: no other two have their type.
    renamed_from: Option<String>,
}

impl From<Explanation> for ExplainedExport {
    fn from(explanation: Explanation) -> Self {
        let counts = explanation.counts;
        Self {
            table: explanation.table.to_string(),
            start: explanation.window.map(|window| window.start),
            end: explanation.window.map(|window| window.end),
            rules_revision: Long(explanation.rules_revision),
            policy_hash: explanation.policy_hash,
            refused: explanation.refused.map(|refused| Refusal { code: refused.code, message: refused.message }),
            columns: explanation.columns.into_iter().map(Into::into).collect(),
            rows: explanation.rows,
            row_rules: explanation.row_rules.into_iter().map(Into::into).collect(),
            rows_in_window: counts.map(|counts| Long(counts.in_window)),
            rows_exported: counts.map(|counts| Long(counts.exported)),
            rows_without_time: counts.and_then(|counts| counts.timeless).map(Long),
            warnings: explanation.warnings,
        }
    }
}

impl From<explain::ExplainedColumn> for ExplainedColumn {
    fn from(column: explain::ExplainedColumn) -> Self {
        let explain::ExplainedColumn { name, sql_type, fate, rule, changes } = column;
        Self { name, sql_type, fate: fate.into(), rule, changes }
    }
}

impl From<explain::ExplainedRule> for ExplainedRule {
    fn from(rule: explain::ExplainedRule) -> Self {
        Self { rule: rule.rule, rows: rule.rows, rows_held_back: rule.rows_held_back.map(Long) }
    }
}

impl From<ColumnDrift> for UnclassifiedColumn {
    fn from(drift: ColumnDrift) -> Self {
        Self {
            table: drift.table.to_string(),
            column: drift.column,
            sql_type: drift.sql_type,
            previous_type: drift.previous_type,
            kind: drift.kind.into(),
            suspected: drift.suspected.map(str::to_owned),
            suggestion: drift.suggestion,
            renamed_from: drift.renamed_from,
        }
    }
}
