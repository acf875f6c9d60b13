//! What the API does with jobs: submit one, and read what became of it. Nothing here runs an export or asks a
//! warehouse, so a slow warehouse never slows an answer.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use classification::TableName;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use super::failure::metadata_failure;
use super::format::{Compression, ExportFormat, FileChoice};
use super::model::{JobId, JobKind, JobView, TableExportStatus, Tenant, Window};
use super::range::window_of;
use super::submission::{Submission, submitted_before};
use super::view::{JobRow, TableRow};
use crate::error::{ErrorCode, Failure};

/// A request as it was made.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// Whose it is.
    pub tenant: Tenant,
    /// Who asks.
    pub requested_by: String,
    /// First second inside, since 1970-01-01T00:00:00Z.
    pub start: i64,
    /// First second outside.
    pub end: i64,
    /// The tables asked for; `None` for all that are offered.
    pub tables: Option<Vec<String>>,
    /// What is said of its files.
    pub files: FileChoice,
    /// Makes a repeated submission the same request.
    pub idempotency_key: Option<String>,
}

/// A stretch of a list: at most `limit` entries after a position.
#[derive(Debug, Clone)]
pub struct Page<C> {
    /// The last entry seen; `None` for the beginning.
    pub after: Option<C>,
    /// Entries, at most.
    pub limit: i64,
}

/// Which table exports are asked for; `None` means any.
#[derive(Debug, Clone, Default)]
pub struct StatusFilter {
    /// Of this table.
    pub table: Option<String>,
    /// `IN-PROGRESS`, `COMPLETED` or `FAILED`.
    pub status: Option<String>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Of days of the schedule from this one on.
    pub from: Option<NaiveDate>,
    /// Of days of the schedule up to this one.
    pub to: Option<NaiveDate>,
    /// Of this revision.
    pub revision: Option<i32>,
    /// Only the latest revision of each table of a day.
    pub latest: bool,
}

/// A table that the rules allow to be exported.
#[derive(Debug, Clone)]
pub struct ExportableTable {
    /// The table.
    pub name: TableName,
    /// Whether requests may name it.
    pub on_demand: bool,
    /// Whether the schedule exports it.
    pub scheduled: bool,
    /// The column that time ranges are cut by.
    pub time_column: Option<String>,
    /// Its own format, where a request names none; `None` for one that this version cannot write.
    pub format: Option<ExportFormat>,
    /// The compression of files of that format, where a request names none; `None` for one that this version cannot
    /// write.
    pub compression: Option<Compression>,
}

/// Submits requests and reads jobs.
#[derive(Debug, Clone)]
pub struct Requests {
    pool: PgPool,
    joining: Option<Duration>,
}

/// What makes two submissions under one idempotency key the same: everything the requester chose.
#[derive(Serialize)]
struct Body<'a> {
    start: i64,
    end: i64,
    tables: Option<Vec<String>>,
    format: Option<&'a str>,
    compression: Option<&'a str>,
}

impl Requests {
    /// Over the metadata database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, joining: None }
    }

    /// Lets a request join an identical one of its tenant that waits or is worked on under the same rules; one of which
    /// nothing has moved for `stall` is not joined.
    pub fn joining(mut self, stall: Duration) -> Self {
        self.joining = Some(stall);
        self
    }

    pub(in crate::jobs) fn joins(&self) -> Option<Duration> {
        self.joining
    }

    pub(in crate::jobs) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Validates a request and queues it. Returns the new job's id, or that of the job which the same tenant
    /// submitted before with the same idempotency key and the same arguments, or that this one has joined.
    ///
    /// # Errors
    /// `BAD_REQUEST`, `RANGE_INVALID`, `RANGE_TOO_LONG`, `RANGE_IN_FUTURE`, `TABLE_NOT_OFFERED`, `TABLE_WITHOUT_TIME`, `NO_TABLES`,
    /// `IDEMPOTENCY_KEY_REUSED`, `TOO_MANY_REQUESTS`, `METADATA_UNAVAILABLE`.
    pub async fn submit(&self, request: &NewRequest) -> Result<JobId, Failure> {
        let tables = request.tables.as_deref().map(named_tables).transpose()?;
        let sound = |key: &String| (1..=255).contains(&key.chars().count()) && !key.contains('\0');
        if !request.idempotency_key.as_ref().is_none_or(sound) {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                "idempotencyKey must have 1 to 255 characters, none of them NUL",
            ));
        }
        request.files.form(FileChoice::default())?;
        let body = Body {
            start: request.start,
            end: request.end,
            tables: tables.as_ref().map(|named| named.iter().map(ToString::to_string).collect()),
            format: request.files.format.map(ExportFormat::as_str),
            compression: request.files.compression.map(Compression::as_str),
        };
        let body_hash = Sha256::digest(serde_json::to_vec(&body).expect("a body of plain values serialises")).to_vec();
        let mut connection = self.pool.acquire().await.map_err(metadata_failure)?;
        if let Some(known) = submitted_before(&mut connection, request, &body_hash).await? {
            return Ok(known);
        }

        let window = window(&mut connection, request.start, request.end).await?;
        check_offered(&mut connection, &request.tenant, tables.as_ref()).await?;
        drop(connection);
        let submission = Submission { request, window, tables: body.tables, body_hash };
        self.insert_or_join(&submission).await
    }

    /// A table and a range as [`Requests::submit`] would take them from this tenant.
    ///
    /// # Errors
    /// `RANGE_INVALID`, `RANGE_TOO_LONG`, `RANGE_IN_FUTURE`, `TABLE_NOT_OFFERED`, `TABLE_WITHOUT_TIME`,
    /// `METADATA_UNAVAILABLE`.
    pub async fn offered(
        &self,
        tenant: &Tenant,
        table: &str,
        start: i64,
        end: i64,
    ) -> Result<(TableName, Window), Failure> {
        let named = named_tables(&[table.to_owned()])?;
        let mut connection = self.pool.acquire().await.map_err(metadata_failure)?;
        let window = window(&mut connection, start, end).await?;
        check_offered(&mut connection, tenant, Some(&named)).await?;
        let table = named.into_iter().next();
        Ok((table.ok_or_else(|| Failure::new(ErrorCode::Internal, "a named table has no name"))?, window))
    }

    /// The enabled tables that this tenant may export, by name.
    pub async fn export_tables(&self, tenant: &Tenant) -> Result<Vec<ExportableTable>, Failure> {
        #[derive(sqlx::FromRow)]
        struct Row {
            table_name: String,
            on_demand: bool,
            scheduled: bool,
            time_column: Option<String>,
            format: Option<String>,
            compression: Option<String>,
        }
        let rows: Vec<Row> = sqlx::query_as(include_str!("sql/export_tables.sql"))
            .bind(tenant.as_str())
            .bind(Tenant::DEFAULT)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)?;
        // A name that is none cannot be exported either; the worker says so where it matters.
        let tables = rows.into_iter().filter_map(|row| {
            let format = row.format.as_deref().map_or(Some(ExportFormat::Parquet), ExportFormat::parse);
            let compression = match row.compression.as_deref() {
                Some(word) => Compression::parse(word),
                None => format.map(ExportFormat::usual_compression),
            };
            let (name, Row { on_demand, scheduled, time_column, .. }) = (row.table_name.parse().ok()?, row);
            Some(ExportableTable { name, on_demand, scheduled, time_column, format, compression })
        });
        Ok(tables.collect())
    }

    /// One job of a tenant. `None` for an id that is unknown or another tenant's.
    pub async fn find(&self, tenant: &Tenant, id: JobId) -> Result<Option<JobView>, Failure> {
        let job: Option<JobRow> = sqlx::query_as(include_str!("sql/find_job.sql"))
            .bind(id.0)
            .bind(tenant.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(metadata_failure)?;
        match job {
            Some(job) => Ok(self.with_tables(vec![job]).await?.pop()),
            None => self.find_archived(tenant, id).await,
        }
    }

    /// A tenant's jobs, newest first. The cursor is a job's `(queued_at, id)`.
    pub async fn list(&self, tenant: &Tenant, page: &Page<(DateTime<Utc>, JobId)>) -> Result<Vec<JobView>, Failure> {
        let jobs: Vec<JobRow> = sqlx::query_as(include_str!("sql/list_jobs.sql"))
            .bind(tenant.as_str())
            .bind(page.after.map(|(at, _)| at))
            .bind(page.after.map(|(_, id)| id.0))
            .bind(page.limit)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)?;
        self.with_tables(jobs).await
    }

    /// A tenant's table exports, newest first. The cursor is a row's `(started_at, job_id, table_name)`.
    pub async fn table_statuses(
        &self,
        tenant: &Tenant,
        filter: &StatusFilter,
        page: &Page<(DateTime<Utc>, Uuid, String)>,
    ) -> Result<Vec<TableExportStatus>, Failure> {
        sqlx::query_as(include_str!("sql/list_statuses.sql"))
            .bind(tenant.as_str())
            .bind(&filter.table)
            .bind(&filter.status)
            .bind(filter.kind.map(JobKind::as_str))
            .bind(filter.job.map(|job| job.0))
            .bind(page.after.as_ref().map(|after| after.0))
            .bind(page.after.as_ref().map(|after| after.1))
            .bind(page.after.as_ref().map(|after| after.2.clone()))
            .bind(page.limit)
            .bind(filter.from)
            .bind(filter.to)
            .bind(filter.revision)
            .bind(filter.latest)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)
    }

    /// Whether the metadata database answers.
    pub async fn ping(&self) -> Result<(), Failure> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop).map_err(metadata_failure)
    }

    async fn with_tables(&self, jobs: Vec<JobRow>) -> Result<Vec<JobView>, Failure> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
        let rows: Vec<TableRow> = sqlx::query_as(include_str!("sql/tables_of_jobs.sql"))
            .bind(ids)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)?;
        let mut tables: HashMap<Uuid, Vec<TableRow>> = HashMap::new();
        for row in rows {
            tables.entry(row.job_id).or_default().push(row);
        }
        jobs.into_iter()
            .map(|job| {
                let of_job = tables.remove(&job.id).unwrap_or_default();
                job.into_view(of_job).ok_or_else(|| {
                    Failure::new(
                        ErrorCode::Internal,
                        "a job was stored by a newer version of the exporter; update this one",
                    )
                })
            })
            .collect()
    }
}

/// The range of a request, by the database's clock.
async fn window(connection: &mut PgConnection, start: i64, end: i64) -> Result<Window, Failure> {
    let now: DateTime<Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connection).await.map_err(metadata_failure)?;
    window_of(start, end, now)
}

/// Every named table must be offered to this tenant and have a time column; without names, at least one such table must exist.
pub(super) async fn check_offered(
    connection: &mut PgConnection,
    tenant: &Tenant,
    named: Option<&BTreeSet<TableName>>,
) -> Result<(), Failure> {
    let offered: Vec<(String, bool)> = sqlx::query_as(include_str!("sql/offered_tables.sql"))
        .bind(tenant.as_str())
        .bind(Tenant::DEFAULT)
        .fetch_all(connection)
        .await
        .map_err(metadata_failure)?;
    let offered: HashMap<TableName, bool> =
        offered.into_iter().filter_map(|(table, has_time)| Some((table.parse().ok()?, has_time))).collect();
    let Some(named) = named else {
        return if offered.values().any(|has_time| *has_time) {
            Ok(())
        } else {
            Err(Failure::new(
                ErrorCode::NoTables,
                "no table with a time column is enabled for on-demand export by this tenant; see `data-exporter classification apply`",
            ))
        };
    };
    let mut missing: Vec<String> =
        named.iter().filter(|t| !offered.contains_key(t)).map(|t| format!("'{t}'")).collect();
    if !missing.is_empty() {
        missing.sort();
        return Err(Failure::new(
            ErrorCode::TableNotOffered,
            format!("not offered for on-demand export: {}; query exportTables lists what is", missing.join(", ")),
        ));
    }
    if let Some(timeless) = named.iter().find(|table| offered.get(table) == Some(&false)) {
        return Err(Failure::new(
            ErrorCode::TableWithoutTime,
            format!("table '{timeless}' has no time column, so no time range can be cut from it; leave it out"),
        ));
    }
    Ok(())
}

/// The tables of a request, each once.
fn named_tables(names: &[String]) -> Result<BTreeSet<TableName>, Failure> {
    if names.is_empty() {
        return Err(Failure::new(
            ErrorCode::NoTables,
            "tables is an empty list; name at least one, or leave it out for all",
        ));
    }
    names
        .iter()
        .map(|name| {
            name.parse::<TableName>().map_err(|error| Failure::new(ErrorCode::TableNotOffered, error.to_string()))
        })
        .collect()
}
