//! Taking work: what is handed to a worker, and the statements that hand it out.

use chrono::{DateTime, NaiveDate, Utc};
use classification::TableName;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Queue, QueueError};
use crate::jobs::days::DayRevision;
use crate::jobs::format::{Compression, ExportFormat, FileChoice};
use crate::jobs::model::{JobId, JobKind, Tenant, Window};
use crate::jobs::report::FileReport;

/// A job to plan.
#[derive(Debug, Clone)]
pub struct PlanTask {
    /// The job.
    pub job: JobId,
    /// What started it.
    pub kind: JobKind,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its time range.
    pub window: Window,
    /// The day of the schedule that it is.
    pub day: Option<DayRevision>,
    /// The tables named; `None` for all that are offered.
    pub tables: Option<Vec<String>>,
    /// What was said of its files.
    pub files: FileChoice,
    /// The lease's epoch.
    pub epoch: i64,
    /// This attempt, from 1.
    pub attempt: i32,
}

/// A partition to extract.
#[derive(Debug, Clone)]
pub struct PartitionTask {
    /// The partition.
    pub id: i64,
    /// Its job.
    pub job: JobId,
    /// Its table.
    pub table: TableName,
    /// Its place among the table's files, from 0.
    pub ordinal: i32,
    /// What to read, as the planner wrote it.
    pub scan: Value,
    /// The table's plan, as the planner wrote it.
    pub plan: Value,
    /// How many partitions the table has.
    pub partitions: i32,
    /// How often a standby has ended a scan of it: these are no attempts.
    pub conflicts: i32,
    /// The lease's epoch.
    pub epoch: i64,
    /// This attempt, from 1.
    pub attempt: i32,
}

/// A table to publish.
#[derive(Debug, Clone)]
pub struct TableTask {
    /// Its job.
    pub job: JobId,
    /// The table.
    pub table: TableName,
    /// The directory reserved for its files, without a slash at the end.
    pub directory: String,
    /// Its plan, as the planner wrote it.
    pub plan: Value,
    /// What its partitions have staged, in order.
    pub staged: Vec<StagedPartition>,
    /// The lease's epoch.
    pub epoch: i64,
    /// This attempt, from 1.
    pub attempt: i32,
}

/// What a committed partition has staged.
#[derive(Debug, Clone, FromRow)]
pub struct StagedPartition {
    /// Its place among the table's files, from 0.
    pub ordinal: i32,
    /// What was read.
    pub scan: Value,
    /// Where the object is.
    pub staging_key: String,
    /// Rows.
    pub row_count: i64,
    /// Bytes.
    pub byte_count: i64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// As the store gave it.
    pub etag: String,
    /// The snapshot that it was read under, if it was one that others read too.
    pub snapshot_id: Option<Uuid>,
    /// What was done to its values.
    #[sqlx(json)]
    pub report: FileReport,
}

/// How often a claim looks for another free connection at once; after that the next look does.
const CONNECTION_TRIES: usize = 5;

impl Queue {
    /// Takes a job to plan, with a slot of its tenant.
    pub async fn claim_plan(&self) -> Result<Option<PlanTask>, QueueError> {
        #[derive(FromRow)]
        struct Row {
            id: Uuid,
            kind: String,
            tenant: String,
            window_start: DateTime<Utc>,
            window_end: DateTime<Utc>,
            tables: Option<Vec<String>>,
            format: Option<String>,
            compression: Option<String>,
            lease_epoch: i64,
            attempts: i32,
            export_date: Option<NaiveDate>,
            revision: Option<i32>,
        }
        let claimed: Result<Option<Row>, sqlx::Error> = sqlx::query_as(include_str!("../sql/claim_job.sql"))
            .bind(self.worker)
            .bind(self.settings.lease.as_secs_f64())
            .bind(self.settings.max_active_jobs)
            .bind(self.only_job.map(|job| job.0))
            .bind(self.settings.max_crashes)
            .fetch_optional(&self.pool)
            .await;
        let row = match claimed {
            // Another replica took the same slot in the same moment; the index decided, and the next look finds another.
            Err(error) if is_unique_violation(&error) => None,
            other => other?,
        };
        row.map(|row| {
            let kind = JobKind::parse(&row.kind).ok_or_else(|| stored_by_newer("export_jobs.kind"))?;
            Ok(PlanTask {
                job: JobId(row.id),
                kind,
                tenant: Tenant::new(row.tenant),
                window: Window { start: row.window_start, end: row.window_end },
                day: row.export_date.zip(row.revision).map(|(date, revision)| DayRevision { date, revision }),
                tables: row.tables,
                files: FileChoice {
                    format: known(row.format, ExportFormat::parse, "export_jobs.format")?,
                    compression: known(row.compression, Compression::parse, "export_jobs.compression")?,
                },
                epoch: row.lease_epoch,
                attempt: row.attempts,
            })
        })
        .transpose()
    }

    /// Takes the next due partition.
    pub async fn claim_partition(&self) -> Result<Option<PartitionTask>, QueueError> {
        #[derive(FromRow)]
        struct Row {
            id: i64,
            job_id: Uuid,
            table_name: String,
            ordinal: i32,
            scan: Value,
            lease_epoch: i64,
            attempts: i32,
            conflicts: i32,
            plan: Value,
            partitions_total: i32,
        }
        let mut tries = 0;
        let row: Option<Row> = loop {
            let claimed: Result<Option<Row>, sqlx::Error> = sqlx::query_as(include_str!("../sql/claim_partition.sql"))
                .bind(self.worker)
                .bind(self.settings.lease.as_secs_f64())
                .bind(self.only_job.map(|job| job.0))
                .bind(self.settings.readers())
                .bind(self.settings.max_crashes)
                .fetch_optional(&self.pool)
                .await;
            match claimed {
                // Another worker took the same connection in the same moment; there may be others.
                Err(error) if is_unique_violation(&error) && tries < CONNECTION_TRIES => tries += 1,
                Err(error) if is_unique_violation(&error) => break None,
                other => break other?,
            }
        };
        row.map(|row| {
            Ok(PartitionTask {
                id: row.id,
                job: JobId(row.job_id),
                table: stored_table(&row.table_name)?,
                ordinal: row.ordinal,
                scan: row.scan,
                plan: row.plan,
                partitions: row.partitions_total,
                conflicts: row.conflicts,
                epoch: row.lease_epoch,
                attempt: row.attempts,
            })
        })
        .transpose()
    }

    /// Takes a table whose partitions are all staged.
    pub async fn claim_table(&self) -> Result<Option<TableTask>, QueueError> {
        #[derive(FromRow)]
        struct Row {
            job_id: Uuid,
            table_name: String,
            directory: String,
            plan: Value,
            lease_epoch: i64,
            attempts: i32,
        }
        let row: Option<Row> = sqlx::query_as(include_str!("../sql/claim_table.sql"))
            .bind(self.worker)
            .bind(self.settings.lease.as_secs_f64())
            .bind(self.only_job.map(|job| job.0))
            .bind(self.settings.max_crashes)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let staged: Vec<StagedPartition> = sqlx::query_as(include_str!("../sql/staged_partitions.sql"))
            .bind(row.job_id)
            .bind(&row.table_name)
            .fetch_all(&self.pool)
            .await?;
        Ok(Some(TableTask {
            job: JobId(row.job_id),
            table: stored_table(&row.table_name)?,
            directory: row.directory,
            plan: row.plan,
            staged,
            epoch: row.lease_epoch,
            attempt: row.attempts,
        }))
    }
}

fn stored_table(name: &str) -> Result<TableName, QueueError> {
    name.parse().map_err(|_| stored_by_newer("table_name"))
}

fn known<T>(
    text: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
    what: &'static str,
) -> Result<Option<T>, QueueError> {
    text.map(|text| parse(&text).ok_or_else(|| stored_by_newer(what))).transpose()
}

fn stored_by_newer(what: &'static str) -> QueueError {
    QueueError::Database(sqlx::Error::Protocol(format!("{what} holds something this version does not know")))
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.is_unique_violation())
}
