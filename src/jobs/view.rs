//! From rows of the metadata database to what the outside sees of a job.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::format::{Compression, ExportFormat, FileChoice};
use super::model::{
    JobId, JobKind, JobState, JobView, Pause, PublishedFile, StoredError, TableState, TableView, Tenant, Window,
};

#[derive(sqlx::FromRow)]
pub(super) struct JobRow {
    pub(super) id: Uuid,
    kind: String,
    tenant: String,
    requested_by: String,
    window_start: DateTime<Utc>,
    window_end: DateTime<Utc>,
    format: Option<String>,
    compression: Option<String>,
    state: String,
    error_code: Option<String>,
    error_message: Option<String>,
    queued_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    read_at: DateTime<Utc>,
    paused_until: Option<DateTime<Utc>>,
    paused_code: Option<String>,
    paused_message: Option<String>,
}

#[derive(sqlx::FromRow)]
pub(super) struct TableRow {
    pub(super) job_id: Uuid,
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
    pub(super) fn into_view(self, tables: Vec<TableRow>) -> Option<JobView> {
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
            files: FileChoice {
                format: parsed(self.format, ExportFormat::parse)?,
                compression: parsed(self.compression, Compression::parse)?,
            },
            state,
            progress,
            tables: tables.into_iter().map(TableRow::into_view).collect::<Option<_>>()?,
            error: StoredError::of(self.error_code, self.error_message),
            queued_at: self.queued_at,
            started_at: self.started_at,
            completed_at: self.completed_at,
            read_at: self.read_at,
            pause: self
                .paused_until
                .and_then(|until| Some(Pause { until, why: StoredError::of(self.paused_code, self.paused_message)? })),
        })
    }
}

/// What may be NULL: `None` inside for that, outside for a word that a newer version wrote.
fn parsed<T>(text: Option<String>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| parse(&text).map(Some))
}

impl TableRow {
    pub(super) fn into_view(self) -> Option<TableView> {
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
    fn percent_stays_below_100_and_survives_nothing() {
        for (done, all, expected) in [(0.0, 0.0, 0.0), (1.0, 2.0, 50.0), (2.0, 2.0, ALMOST), (3.0, 2.0, ALMOST)] {
            assert_eq!(percent(done, all), expected);
        }
    }
}
