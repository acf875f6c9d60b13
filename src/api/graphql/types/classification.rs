//! The rules as they are.

use async_graphql::{Enum, Json, SimpleObject};
use classification::Code;
use classification::rules::{self, RestrictionKind};
use serde_json::Value;

use super::{Date, Long};
use crate::rules::{RuleChange, Rules};

/// What a column, a source or a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Code")]
pub(in crate::api::graphql) enum ClassificationCode {
    /// No restriction: it leaves.
    Nr,
    /// Mixed: it depends on the row's source.
    Mx,
    /// Do not export.
    De,
    /// Handle with care: it leaves as its restriction says, or not at all.
    Hwc,
}

/// What a restriction is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "RestrictionKind")]
pub(in crate::api::graphql) enum RestrictedKind {
    /// A column of the table.
    Column,
    /// A metric of the long table.
    Metric,
    /// A source of the table's rows.
    Source,
}

/// All rules, or those that concern one table.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct Classification {
    /// How often the rules have changed. A job keeps the revision that it was planned under.
    revision: Long,
    /// Which tables are exported, and what their columns mean.
    tables: Vec<TableRule>,
    /// What each column is. A column that is not here does not leave.
    columns: Vec<ColumnRule>,
    /// What each source of data is, for all tables.
    sources: Vec<SourceRule>,
    /// What each metric of a long table is.
    metrics: Vec<MetricRule>,
    /// What HWC does.
    restrictions: Vec<Restriction>,
    /// What holds, but is probably not meant.
    notes: Vec<String>,
}

/// A table that the rules name.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct TableRule {
    /// Its name.
    table: String,
    /// Whether it is exported at all.
    enabled: bool,
    /// Whether it is offered on demand.
    on_demand: bool,
    /// Whether the schedule exports it.
    scheduled: bool,
    /// The column that says when a row happened.
    time_column: Option<String>,
    /// The column that names a row's source.
    source_column: Option<String>,
    /// A long table's column that names the metric.
    metric_column: Option<String>,
    /// A long table's column that holds the metric's value.
    value_column: Option<String>,
    /// The column that names the tenant to whom a row belongs.
    tenant_column: Option<String>,
    /// What becomes of a denied cell of a column that is MX: `drop_row` or `null_cell`.
    denied_cell: String,
    /// Whether an unclassified column makes the table fail.
    strict: bool,
}

/// What a column is.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ColumnRule {
    /// The table.
    table: String,
    /// The column.
    column: String,
    /// Its code.
    classification: ClassificationCode,
    /// Who attests that it holds no personal data.
    pii_exempt_by: Option<String>,
    /// Why.
    pii_exempt_reason: Option<String>,
    /// The last day on which the attestation counts.
    pii_exempt_until: Option<Date>,
}

/// What a source is.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct SourceRule {
    /// The source, as the source columns hold it.
    source: String,
    /// Its code.
    classification: ClassificationCode,
}

/// What a metric of a long table is.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct MetricRule {
    /// The table.
    table: String,
    /// The metric, as the metric column holds it.
    metric: String,
    /// Its code.
    classification: ClassificationCode,
}

/// What HWC does to a column, a metric or a source of a table.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct Restriction {
    /// The table.
    table: String,
    /// What `name` is the name of.
    kind: RestrictedKind,
    /// The column, metric or source.
    name: String,
    /// What is done.
    action: String,
    /// The action's parameters.
    params: Json<Value>,
    /// Who answers for it.
    owner: Option<String>,
    /// Why this is enough.
    reason: Option<String>,
    /// The last day on which it counts.
    expires_at: Option<Date>,
}

/// What a change of a rule has done.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ChangedRule {
    /// Whether anything was written; false when the rule was so already.
    changed: bool,
    /// The rule before, with the columns of its table as keys; null where there was none.
    before: Option<Json<Value>>,
    /// The rule since.
    after: Json<Value>,
    /// How often the rules have changed. Jobs that were planned before keep the rules that they were planned under.
    revision: Long,
    /// What holds since, but is probably not meant.
    notes: Vec<String>,
}

impl Classification {
    /// Those of one table, or all.
    pub(in crate::api::graphql) fn of(rules: &Rules, table: Option<&classification::TableName>) -> Self {
        let asked = |name: &classification::TableName| table.is_none_or(|table| table == name);
        let rows = rules.set.rows();
        Self {
            revision: Long(rules.revision),
            tables: rows.export_tables.into_iter().filter(|row| asked(&row.table_name)).map(Into::into).collect(),
            columns: rows
                .data_column_classification
                .into_iter()
                .filter(|row| asked(&row.table_name))
                .map(Into::into)
                .collect(),
            sources: rows
                .actual_data_classifications
                .into_iter()
                .map(|row| SourceRule { source: row.source, classification: row.classification.into() })
                .collect(),
            metrics: rows
                .long_table_data_classifications
                .into_iter()
                .filter(|row| asked(&row.table_name))
                .map(|row| MetricRule {
                    table: row.table_name.to_string(),
                    metric: row.metric_name,
                    classification: row.classification.into(),
                })
                .collect(),
            restrictions: rows
                .column_restrictions
                .into_iter()
                .filter(|row| asked(&row.table_name))
                .map(Into::into)
                .collect(),
            notes: rules.set.notes(),
        }
    }
}

impl From<rules::ExportTable> for TableRule {
    fn from(row: rules::ExportTable) -> Self {
        Self {
            table: row.table_name.to_string(),
            enabled: row.enabled,
            on_demand: row.on_demand,
            scheduled: row.scheduled,
            time_column: row.time_column,
            source_column: row.source_column,
            metric_column: row.metric_column,
            value_column: row.value_column,
            tenant_column: row.tenant_column,
            denied_cell: row.denied_cell.to_string(),
            strict: row.strict,
        }
    }
}

impl From<rules::ColumnRule> for ColumnRule {
    fn from(row: rules::ColumnRule) -> Self {
        Self {
            table: row.table_name.to_string(),
            column: row.column_name,
            classification: row.classification.into(),
            pii_exempt_by: row.pii_exempt_by,
            pii_exempt_reason: row.pii_exempt_reason,
            pii_exempt_until: row.pii_exempt_until.map(Date),
        }
    }
}

impl From<rules::Restriction> for Restriction {
    fn from(row: rules::Restriction) -> Self {
        Self {
            table: row.table_name.to_string(),
            kind: row.kind.into(),
            name: row.name,
            action: row.action.to_string(),
            params: Json(row.params),
            owner: row.owner,
            reason: row.reason,
            expires_at: row.expires_at.map(Date),
        }
    }
}

impl From<RuleChange> for ChangedRule {
    fn from(change: RuleChange) -> Self {
        Self {
            changed: change.changed,
            before: change.before.map(Json),
            after: Json(change.after),
            revision: Long(change.revision),
            notes: change.notes,
        }
    }
}
