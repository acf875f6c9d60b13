//! What becomes of files that were published long ago.
//!
//! A job on demand that ended long ago becomes EXPIRED: from that moment no link to it is handed out, and links of our
//! own are refused. Then its files go, manifests first, so that who starts at a manifest sees all of them or none. Only
//! what the database records as this job's is deleted. Whoever is interrupted leaves the rest to the next.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::failure::metadata_failure;
use super::model::{JobId, PublishedFile};
use super::queue::{Queue, QueueError};
use super::requests::Requests;
use crate::error::Failure;

/// How long a replica has for the files of one job before another may take it.
const PURGING: Duration = Duration::from_secs(300);

/// A published table whose files are to go.
#[derive(Debug, Clone)]
pub struct ToPurge {
    /// The table.
    pub table: String,
    /// Its manifest, `s3://bucket/key`.
    pub manifest_url: Option<String>,
    /// Keys of its files.
    pub keys: Vec<String>,
}

/// A job whose files would go.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ToRetain {
    /// The job.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: String,
    /// Its state, as stored.
    pub state: String,
    /// When it ended.
    pub completed_at: DateTime<Utc>,
    /// Its tables that are published.
    pub tables: Vec<String>,
    /// Their files.
    pub files: i64,
    /// Bytes of these.
    pub bytes: i64,
    /// Until when links work that were handed out; the files go after that.
    pub linked_until: Option<DateTime<Utc>>,
}

impl Requests {
    /// What retention would do now.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn to_retain(&self, keep: Duration) -> Result<Vec<ToRetain>, Failure> {
        sqlx::query_as(include_str!("sql/to_retain.sql"))
            .bind(keep.as_secs_f64())
            .fetch_all(self.pool())
            .await
            .map_err(metadata_failure)
    }
}

impl Queue {
    /// Lets some of the jobs expire that ended longer ago than `keep`. Returns how many were looked at: 0 when there
    /// are none left.
    pub async fn expire(&self, keep: Duration) -> Result<usize, QueueError> {
        let done: Vec<(Uuid, bool)> =
            sqlx::query_as(include_str!("sql/expire_jobs.sql")).bind(keep.as_secs_f64()).fetch_all(self.pool()).await?;
        let expired = done.iter().filter(|(_, published)| *published).count();
        if expired > 0 {
            tracing::info!(jobs = expired, "expired");
        }
        Ok(done.len())
    }

    /// Takes an expired job whose files are to go, and what is recorded of it.
    pub async fn claim_purge(&self) -> Result<Option<(JobId, Vec<ToPurge>)>, QueueError> {
        let job: Option<Uuid> = sqlx::query_scalar(include_str!("sql/claim_purge.sql"))
            .bind(PURGING.as_secs_f64())
            .fetch_optional(self.pool())
            .await?;
        let Some(job) = job else { return Ok(None) };
        let tables: Vec<(String, Option<String>, Json<Vec<PublishedFile>>)> =
            sqlx::query_as(include_str!("sql/tables_to_purge.sql")).bind(job).fetch_all(self.pool()).await?;
        let tables = tables.into_iter().map(|(table, manifest_url, files)| ToPurge {
            table,
            manifest_url,
            keys: files.0.into_iter().map(|file| file.key).collect(),
        });
        Ok(Some((JobId(job), tables.collect())))
    }

    /// Notes that nothing of a table is left.
    pub async fn purged_table(&self, job: JobId, table: &str) -> Result<(), QueueError> {
        sqlx::query(include_str!("sql/purged_table.sql")).bind(job.0).bind(table).execute(self.pool()).await?;
        Ok(())
    }

    /// Notes that nothing of a job is left, if that is so.
    pub async fn purged_job(&self, job: JobId) -> Result<(), QueueError> {
        sqlx::query(include_str!("sql/purged_job.sql")).bind(job.0).execute(self.pool()).await?;
        Ok(())
    }
}
