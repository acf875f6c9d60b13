//! What the API does with jobs: submit one, and read what became of it. Nothing here runs an export or asks a
//! warehouse, so a slow warehouse never slows an answer.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeZone, Utc};
use classification::TableName;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::model::{
    ExportFormat, JobId, JobKind, JobState, JobView, PublishedFile, StoredError, TableExportStatus, TableState,
    TableView, Tenant, Window,
};
use crate::error::{ErrorCode, Failure};

/// The longest range of one request, in seconds.
pub const LONGEST_RANGE_SECONDS: i64 = 86_400;
/// How many requests of one tenant may wait for a slot.
const MOST_WAITING: i64 = 100;
/// Epoch values from here on (the year 5138) are milliseconds by mistake.
const SURELY_MILLISECONDS: u64 = 100_000_000_000;

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
    /// The file format.
    pub format: ExportFormat,
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
    /// The format of its scheduled exports; `None` for one that this version cannot write.
    pub format: Option<ExportFormat>,
}

/// Submits requests and reads jobs.
#[derive(Debug, Clone)]
pub struct Requests {
    pool: PgPool,
}

/// What makes two submissions under one idempotency key the same: everything the requester chose.
#[derive(Serialize)]
struct Body<'a> {
    start: i64,
    end: i64,
    tables: Option<Vec<String>>,
    format: &'a str,
}

impl Requests {
    /// Over the metadata database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Validates a request and queues it. Returns the new job's id, or that of the job which the same tenant
    /// submitted before with the same idempotency key and the same arguments.
    ///
    /// # Errors
    /// `RANGE_INVALID`, `RANGE_TOO_LONG`, `RANGE_IN_FUTURE`, `TABLE_NOT_OFFERED`, `TABLE_WITHOUT_TIME`, `NO_TABLES`,
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
        let body = Body {
            start: request.start,
            end: request.end,
            tables: tables.as_ref().map(|named| named.iter().map(ToString::to_string).collect()),
            format: request.format.as_str(),
        };
        let body_hash = Sha256::digest(serde_json::to_vec(&body).expect("a body of plain values serialises")).to_vec();
        if let Some(known) = self.submitted_before(request, &body_hash).await? {
            return Ok(known);
        }

        let now: DateTime<Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool).await.map_err(metadata_failure)?;
        let window = window_of(request.start, request.end, now)?;
        self.check_offered(tables.as_ref()).await?;
        let waiting: i64 = sqlx::query_scalar(include_str!("sql/waiting_requests.sql"))
            .bind(request.tenant.as_str())
            .bind(MOST_WAITING)
            .fetch_one(&self.pool)
            .await
            .map_err(metadata_failure)?;
        if waiting >= MOST_WAITING {
            return Err(Failure::new(
                ErrorCode::TooManyRequests,
                format!(
                    "{MOST_WAITING} requests of tenant '{}' are waiting already; try again when some have ended",
                    request.tenant.as_str()
                ),
            ));
        }

        let id = JobId::new();
        let inserted: Option<Uuid> = sqlx::query_scalar(include_str!("sql/submit.sql"))
            .bind(id.0)
            .bind(request.tenant.as_str())
            .bind(&request.requested_by)
            .bind(window.start)
            .bind(window.end)
            .bind(&body.tables)
            .bind(request.format.as_str())
            .bind(&request.idempotency_key)
            .bind(&body_hash)
            .fetch_optional(&self.pool)
            .await
            .map_err(metadata_failure)?;
        if inserted.is_some() {
            return Ok(id);
        }
        // Somebody submitted the same key between our look and our insert; theirs is committed and visible now.
        self.submitted_before(request, &body_hash).await?.ok_or_else(|| {
            Failure::new(
                ErrorCode::MetadataUnavailable,
                "a request with this idempotency key is being removed; try again",
            )
        })
    }

    async fn submitted_before(&self, request: &NewRequest, body_hash: &[u8]) -> Result<Option<JobId>, Failure> {
        let Some(key) = &request.idempotency_key else { return Ok(None) };
        let known: Option<(Uuid, Vec<u8>)> =
            sqlx::query_as("SELECT id, body_hash FROM export_jobs WHERE tenant = $1 AND idempotency_key = $2")
                .bind(request.tenant.as_str())
                .bind(key)
                .fetch_optional(&self.pool)
                .await
                .map_err(metadata_failure)?;
        match known {
            Some((_, hash)) if hash != body_hash => Err(Failure::new(
                ErrorCode::IdempotencyKeyReused,
                "this idempotencyKey was used before with other arguments; choose a new one",
            )),
            known => Ok(known.map(|(id, _)| JobId(id))),
        }
    }

    /// Every named table must be offered and have a time column; without names, at least one such table must exist.
    async fn check_offered(&self, named: Option<&BTreeSet<TableName>>) -> Result<(), Failure> {
        let offered: Vec<(String, bool)> = sqlx::query_as(include_str!("sql/offered_tables.sql"))
            .fetch_all(&self.pool)
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
                    "no table with a time column is enabled for on-demand export; see `data-exporter classification apply`",
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
                format!(
                    "table '{timeless}' has no time column, so no time range can be cut from it; it is exported whole by the schedule"
                ),
            ));
        }
        Ok(())
    }

    /// The enabled tables, by name.
    pub async fn export_tables(&self) -> Result<Vec<ExportableTable>, Failure> {
        let rows: Vec<(String, bool, bool, Option<String>, Option<String>)> =
            sqlx::query_as(include_str!("sql/export_tables.sql"))
                .fetch_all(&self.pool)
                .await
                .map_err(metadata_failure)?;
        // A name that is none cannot be exported either; the worker says so where it matters.
        let tables = rows.into_iter().filter_map(|(name, on_demand, scheduled, time_column, format)| {
            let format = format.as_deref().map_or(Some(ExportFormat::Parquet), ExportFormat::parse);
            Some(ExportableTable { name: name.parse().ok()?, on_demand, scheduled, time_column, format })
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
        Ok(self.with_tables(job.into_iter().collect()).await?.pop())
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

/// The range of a request, or what is wrong with it.
fn window_of(start: i64, end: i64, now: DateTime<Utc>) -> Result<Window, Failure> {
    let invalid = |why: String| Err(Failure::new(ErrorCode::RangeInvalid, why));
    if start.unsigned_abs() >= SURELY_MILLISECONDS || end.unsigned_abs() >= SURELY_MILLISECONDS {
        return invalid(format!(
            "startTime {start} and endTime {end} look like milliseconds; give whole seconds since 1970-01-01T00:00:00Z"
        ));
    }
    if start < 0 {
        return invalid(format!("startTime {start} is before 1970-01-01T00:00:00Z; give whole seconds since then"));
    }
    if start == end {
        return invalid(format!(
            "the range is empty: startTime and endTime are both {start}, and endTime is not included"
        ));
    }
    if start > end {
        return invalid(format!("the range is reversed: startTime {start} is after endTime {end}"));
    }
    if end - start > LONGEST_RANGE_SECONDS {
        return Err(Failure::new(
            ErrorCode::RangeTooLong,
            format!(
                "the range has {} seconds; at most {LONGEST_RANGE_SECONDS} (one day) are allowed in one request",
                end - start
            ),
        ));
    }
    if end > now.timestamp() {
        return Err(Failure::new(
            ErrorCode::RangeInFuture,
            format!(
                "endTime {end} is in the future: it is {} now; only time that has passed can be exported",
                now.timestamp()
            ),
        ));
    }
    let at = |seconds| Utc.timestamp_opt(seconds, 0).single().expect("seconds within the checked bounds are a time");
    Ok(Window { start: at(start), end: at(end) })
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

/// What the outside is told when the metadata database fails; the cause goes to the log here, once.
pub(crate) fn metadata_failure(error: sqlx::Error) -> Failure {
    let state = match &error {
        sqlx::Error::Database(database) => database.code().map(|code| code.into_owned()),
        _ => None,
    };
    // The text of a database error can hold values of the statement; its SQLSTATE cannot.
    match &state {
        Some(state) => tracing::error!(sqlstate = %state, "metadata database refused a statement"),
        None => tracing::error!(kind = %transport_kind(&error), "metadata database cannot be used"),
    }
    let message = match state.as_deref() {
        Some("53100") => "the metadata database's disk is full; nothing was stored. Free space and try again",
        _ => "the metadata database cannot be used now; nothing was stored. Try again",
    };
    Failure::new(ErrorCode::MetadataUnavailable, message)
}

fn transport_kind(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(io) => io.kind().to_string(),
        sqlx::Error::PoolTimedOut => "no free connection".to_owned(),
        sqlx::Error::RowNotFound => "row not found".to_owned(),
        sqlx::Error::ColumnDecode { index, .. } => format!("column {index} cannot be decoded"),
        sqlx::Error::ColumnNotFound(name) => format!("column {name} is missing"),
        _ => "connection failed".to_owned(),
    }
}

#[derive(sqlx::FromRow)]
struct JobRow {
    id: Uuid,
    kind: String,
    tenant: String,
    requested_by: String,
    window_start: DateTime<Utc>,
    window_end: DateTime<Utc>,
    format: String,
    state: String,
    error_code: Option<String>,
    error_message: Option<String>,
    queued_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    read_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct TableRow {
    job_id: Uuid,
    table_name: String,
    state: String,
    files: Option<Json<Vec<PublishedFile>>>,
    error_code: Option<String>,
    error_message: Option<String>,
    weight: f64,
    done_weight: f64,
    rows: i64,
    bytes: i64,
}

/// Below this until the end, so that 100 is said of nothing that is not published.
const ALMOST: f64 = 99.9;

impl JobRow {
    fn into_view(self, tables: Vec<TableRow>) -> Option<JobView> {
        let state = JobState::parse(&self.state)?;
        let (done, all) = tables.iter().fold((0.0, 0.0), |(done, all), t| (done + t.done_weight, all + t.weight));
        let progress = match state {
            JobState::Completed | JobState::Expired => 100.0,
            _ => percent(done, all),
        };
        Some(JobView {
            id: JobId(self.id),
            kind: JobKind::parse(&self.kind)?,
            tenant: Tenant::new(self.tenant),
            requested_by: self.requested_by,
            window: Window { start: self.window_start, end: self.window_end },
            format: ExportFormat::parse(&self.format)?,
            state,
            progress,
            tables: tables.into_iter().map(TableRow::into_view).collect::<Option<_>>()?,
            error: StoredError::of(self.error_code, self.error_message),
            queued_at: self.queued_at,
            started_at: self.started_at,
            completed_at: self.completed_at,
            read_at: self.read_at,
        })
    }
}

impl TableRow {
    fn into_view(self) -> Option<TableView> {
        let state = TableState::parse(&self.state)?;
        let files = self.files.map(|files| files.0).unwrap_or_default();
        let published = state == TableState::Completed;
        Some(TableView {
            name: self.table_name.parse().ok()?,
            state,
            progress: if published { 100.0 } else { percent(self.done_weight, self.weight) },
            rows: if published { files.iter().map(|file| file.rows).sum() } else { self.rows },
            bytes: if published { files.iter().map(|file| file.bytes).sum() } else { self.bytes },
            files,
            error: StoredError::of(self.error_code, self.error_message),
        })
    }
}

fn percent(done: f64, all: f64) -> f64 {
    if all > 0.0 { (100.0 * done / all).clamp(0.0, ALMOST) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let now = Utc.timestamp_opt(1_800_000_000, 0).unwrap();
        for (start, end, expected) in [
            (1_799_000_000, 1_799_086_400, Ok(())),
            (1_799_999_999, 1_800_000_000, Ok(())),
            (0, 1, Ok(())),
            (1_799_000_000, 1_799_086_401, Err(ErrorCode::RangeTooLong)),
            (1_799_999_999, 1_800_000_001, Err(ErrorCode::RangeInFuture)),
            (1_799_000_000, 1_799_000_000, Err(ErrorCode::RangeInvalid)),
            (1_799_000_001, 1_799_000_000, Err(ErrorCode::RangeInvalid)),
            (1_799_000_000_000, 1_799_086_400_000, Err(ErrorCode::RangeInvalid)),
            (-1, 1, Err(ErrorCode::RangeInvalid)),
            (i64::MIN + 1, i64::MAX, Err(ErrorCode::RangeInvalid)),
            (i64::MIN, 0, Err(ErrorCode::RangeInvalid)),
        ] {
            let got = window_of(start, end, now).map(drop).map_err(|failure| failure.code);
            assert_eq!(got, expected, "{start}..{end}");
        }
    }

    #[test]
    fn milliseconds_are_named_in_the_message() {
        let failure =
            window_of(1_799_000_000_000, 1_799_000_060_000, Utc.timestamp_opt(1_800_000_000, 0).unwrap()).unwrap_err();
        assert!(failure.message.contains("milliseconds") && failure.message.contains("1799000000000"), "{failure}");
    }

    #[test]
    fn percent_stays_below_100_and_survives_nothing() {
        for (done, all, expected) in [(0.0, 0.0, 0.0), (1.0, 2.0, 50.0), (2.0, 2.0, ALMOST), (3.0, 2.0, ALMOST)] {
            assert_eq!(percent(done, all), expected);
        }
    }
}
