//! From a request to partitions: what the rules grant of each table, what the warehouse has of it now, and how its
//! time is cut into files (`slices`). One table that cannot be planned fails alone.

use std::collections::{BTreeMap, BTreeSet};

use classification::rules::{ExportTable, ScheduledTenants, TypeProfile, WholeExport};
use classification::{CatalogColumn, Decision, Policy, PolicyContext, TableName, Whose};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Pipeline;
use super::encode::parquet::most_bytes;
use super::options::column_options;
use super::protect::guards;
use super::slices::slices;
use crate::error::{ErrorCode, Failure};
use crate::jobs::days::DayRevision;
use crate::jobs::outbox::DriftedColumn;
use crate::jobs::{ExportFormat, FileChoice, FileForm, JobKind, PlanTask, PlannedTable, TableFate, Tenant, Window};
use crate::rules::{ColumnDrift, DriftKind, Observed, Rules, TableDrift, refusal, undecided};
use crate::warehouse::{ColumnOptions, ScanSpec, TableShape, TimeSlice};

/// What is kept with a planned table, for its workers and its finalizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePlan {
    /// What may leave, and why.
    pub policy: Policy,
    /// The job's time range.
    pub window: Window,
    /// How its files are written.
    pub form: FileForm,
    /// The types of the policy's columns in the words of a manifest, in their order.
    pub manifest_types: Vec<String>,
    /// What is said of how single columns are written.
    #[serde(default)]
    pub options: BTreeMap<String, ColumnOptions>,
    /// The day of the schedule that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<TableDay>,
}

/// A table's place in a day of the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDay {
    /// The day, and which time it is exported.
    #[serde(flatten)]
    pub run: DayRevision,
    /// The table's folder, where its manifest is.
    pub folder: String,
    /// Whether it has files of its own only if it has changed; then they are in a hidden folder, where others may refer to
    /// them for ever.
    #[serde(default)]
    pub when_changed: bool,
}

/// Plans every table of a job. Returns the revision of the rules that it was planned under.
///
/// # Errors
/// Only what concerns the whole job: rules that do not hold, a warehouse or a metadata database that is away.
pub(super) async fn plan(pipeline: &Pipeline, task: &PlanTask) -> Result<(i64, Vec<PlannedTable>), Failure> {
    // Before the rules: see there.
    let observed = pipeline.rules.observed().await?;
    let rules = pipeline.rules.load().await?;
    pipeline.rules.keep(&rules).await?;
    let named: Option<BTreeSet<TableName>> =
        task.tables.as_ref().map(|names| names.iter().filter_map(|name| name.parse().ok()).collect());
    let wanted = wanted(&rules, task.kind, &task.tenant, named.as_ref());
    let names: Vec<TableName> = wanted.iter().map(|row| row.table_name.clone()).collect();
    let shapes: BTreeMap<TableName, TableShape> =
        pipeline.warehouse.catalog(&names).await?.into_iter().map(|shape| (shape.table.clone(), shape)).collect();

    let mut planned = Vec::with_capacity(wanted.len());
    for row in wanted {
        let table = row.table_name.clone();
        let fate = match plan_table(pipeline, task, (&rules, &observed), row, shapes.get(&table)).await {
            Ok(fate) => fate,
            // What may pass is waited for, and the whole plan made again; in the end the others go on without it.
            Err(failure) if failure.code.retryable() && !pipeline.queue.is_last(task.attempt) => return Err(failure),
            Err(failure) => TableFate::Fail(failure),
        };
        planned.push(PlannedTable { table, fate });
    }
    // Named when the request came, and taken away since.
    for table in named.into_iter().flatten().filter(|table| !names.contains(table)) {
        let why = format!("table '{table}' was offered when it was requested and is not any more");
        planned.push(PlannedTable { table, fate: TableFate::Fail(Failure::new(ErrorCode::TableNotOffered, why)) });
    }
    if !planned.iter().any(|table| !matches!(table.fate, TableFate::Skip(_))) {
        return Err(Failure::new(
            ErrorCode::NoTables,
            match task.kind {
                JobKind::OnDemand => {
                    "no table with a time column is enabled for on-demand export any more; see `data-exporter classification apply`"
                }
                JobKind::Scheduled => "no table is enabled for the schedule; see `data-exporter classification apply`",
            },
        ));
    }
    Ok((rules.revision, planned))
}

/// The tables of a job: those named, or all that are on for its kind.
fn wanted<'r>(
    rules: &'r Rules,
    kind: JobKind,
    tenant: &Tenant,
    named: Option<&BTreeSet<TableName>>,
) -> Vec<&'r ExportTable> {
    rules
        .set
        .tables()
        .filter(|row| row.enabled)
        .filter(|row| match kind {
            JobKind::OnDemand => row.on_demand,
            JobKind::Scheduled => row.scheduled,
        })
        // Without a tenant column a table is the default tenant's alone; who names it all the same hears so.
        .filter(|row| named.is_some() || row.tenant_column.is_some() || tenant.as_str() == Tenant::DEFAULT)
        .filter(|row| named.is_none_or(|named| named.contains(&row.table_name)))
        .collect()
}

async fn plan_table(
    pipeline: &Pipeline,
    task: &PlanTask,
    (rules, observed): (&Rules, &Observed),
    row: &ExportTable,
    shape: Option<&TableShape>,
) -> Result<TableFate, Failure> {
    let table = &row.table_name;
    if row.time_column.is_none() && task.day.is_none() {
        let why = format!("table '{table}' has no time column, so no time range can be cut from it");
        return Ok(TableFate::Skip(Failure::new(ErrorCode::TableWithoutTime, why)));
    }
    let shape = shape.ok_or_else(|| {
        Failure::new(
            ErrorCode::TableNotFound,
            format!("table '{table}' does not exist in the warehouse, or the role may not see it; correct export_tables or grant SELECT"),
        )
    })?;
    let catalog: Vec<CatalogColumn> = shape.columns.iter().map(|column| column.catalog.clone()).collect();
    let context =
        PolicyContext { today: rules.today, tenant: whose(task, row)?, pseudonyms: pipeline.pseudonyms.is_some() };
    let drift = TableDrift::of(&rules.set, table, &catalog, observed);
    drift.report();
    pipeline.queue.tell_drift(task.job, &table.to_string(), drift.columns().iter().map(drifted).collect()).await?;
    let policy = Policy::compile(&rules.set, table, &catalog, context).map_err(|error| refusal(&error))?;
    drift.refuse(&policy)?;
    let options = column_options(pipeline, shape).await?;
    let type_profile = row.type_profile.unwrap_or(TypeProfile::Portable);
    let manifest_types = manifest_types(&policy, shape, type_profile, &options)?;
    let form = FileForm { formula_guard: pipeline.settings.formula_guard, ..task.files.form(FileChoice::of(row))? };

    // The schedule exports a table without a time column whole.
    let slice = row.time_column.as_ref().map(|time_column| TimeSlice {
        column: time_column.clone(),
        unit: row.time_unit.into(),
        zone: row.time_zone.clone(),
        start: task.window.start,
        end: task.window.end,
    });
    let whole = ScanSpec {
        table: table.clone(),
        columns: policy.columns.clone(),
        rows: policy.rows.clone(),
        slice: slice.clone(),
        guards: guards(&policy, slice.as_ref(), &options)?,
        type_profile,
        options: options.clone(),
    };
    let most = if form.format == ExportFormat::Parquet { most_bytes(policy.columns.len()) } else { u64::MAX };
    let target = pipeline.settings.partition_target_bytes.min(most);
    let expected = pipeline.warehouse.estimate(&whole).await?;
    // Where nothing large is read from end to end, an index finds these rows too; elsewhere whoever asks for an
    // explanation waits for them.
    let partitions = match &slice {
        None => vec![(stored(&whole), expected.rows.max(1.0))],
        Some(slice) => {
            if expected.read_whole.is_empty() {
                tell_timeless(pipeline, table, slice, &policy).await;
            }
            slices(pipeline.warehouse.as_ref(), &whole, &expected, task.window, target)
                .await?
                .into_iter()
                .map(|cut| {
                    let slice = Some(TimeSlice { start: cut.start, end: cut.end, ..slice.clone() });
                    (stored(&ScanSpec { slice, ..whole.clone() }), cut.rows.max(1.0))
                })
                .collect()
        }
    };
    pipeline.rules.observe(table, &policy.columns, observed, rules.revision).await?;
    let when_changed = row.whole_export == Some(WholeExport::WhenChanged);
    let day = task.day.map(|run| TableDay { folder: pipeline.layout.scheduled(run.date, table), run, when_changed });
    let directory = match &day {
        Some(day) if when_changed => pipeline.layout.hidden(&day.folder, day.run.revision),
        Some(day) => pipeline.layout.revision(&day.folder, day.run.revision),
        None => pipeline.layout.on_demand(&task.tenant, table, task.window),
    };
    let plan = TablePlan { policy, window: task.window, form, manifest_types, options, day };
    Ok(TableFate::Export { directory, plan: stored(&plan), partitions })
}

/// Whose rows leave: on demand the requester's; by the schedule those that a data owner has named.
fn whose<'t>(task: &'t PlanTask, row: &ExportTable) -> Result<Whose<'t>, Failure> {
    if task.day.is_none() {
        return Ok(Whose::One(task.tenant.as_str()));
    }
    match undecided(row) {
        Some(failure) => Err(failure),
        None if row.scheduled_tenants == Some(ScheduledTenants::All) => Ok(Whose::All),
        None => Ok(Whose::One(task.tenant.as_str())),
    }
}

/// A column's drift as it is told.
fn drifted(column: &ColumnDrift) -> DriftedColumn {
    DriftedColumn {
        name: column.column.clone(),
        change: match column.kind {
            DriftKind::New => "NEW",
            DriftKind::Missing => "MISSING",
            DriftKind::Retyped => "RETYPED",
        },
        sql_type: column.sql_type.clone(),
        previous_type: column.previous_type.clone(),
        suggestion: column.suggestion.clone(),
    }
}

/// Says how many rows would leave if they had a time. They belong to no window; that they cannot be counted fails no
/// export.
async fn tell_timeless(pipeline: &Pipeline, table: &TableName, slice: &TimeSlice, policy: &Policy) {
    match pipeline.warehouse.count_timeless(table, slice, &policy.rows).await {
        Ok(0) => {}
        Ok(rows) => {
            tracing::warn!(%table, rows, "rows whose time is NULL or infinite belong to no range and are not exported")
        }
        Err(error) => tracing::warn!(%table, code = %error.code(), "rows without a time could not be counted"),
    }
}

/// The manifest's types of a policy's columns, or the column that cannot be exported.
fn manifest_types(
    policy: &Policy,
    shape: &TableShape,
    profile: TypeProfile,
    options: &BTreeMap<String, ColumnOptions>,
) -> Result<Vec<String>, Failure> {
    let plain = ColumnOptions::default();
    policy
        .columns
        .iter()
        .map(|column| {
            let found = shape.columns.iter().find(|candidate| candidate.catalog.name == column.name);
            let options = options.get(&column.name).unwrap_or(&plain);
            found.and_then(|found| found.manifest_type_under(profile, options)).ok_or_else(|| {
                Failure::new(
                    ErrorCode::TypeUnsupported,
                    format!(
                        "column '{}' of '{}' has type {}, which cannot be exported; classify the column 'de' to leave it out",
                        column.name, policy.table, column.sql_type
                    ),
                )
            })
        })
        .collect()
}

fn stored<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("plans are made of plain values")
}

impl TablePlan {
    /// Reads what [`plan`] stored.
    pub(super) fn read(value: Value) -> Result<Self, Failure> {
        serde_json::from_value(value).map_err(|_| {
            Failure::new(
                ErrorCode::Internal,
                "the table was planned by another version of the exporter; request it again",
            )
        })
    }

    /// The decisions, for the file and the manifest.
    pub fn decisions(&self) -> &[Decision] {
        &self.policy.decisions
    }
}
