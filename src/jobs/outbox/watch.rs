//! What is told although nobody does it: days that do not begin, requests that stand still, columns that drift.
//!
//! Any number of processes may look at the same time; each of these is told once, by a key of its own.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::store::Outbox;
use super::{DriftedColumn, Event, LateDay, day_of, tell};
use crate::error::Failure;
use crate::jobs::days::Now;
use crate::jobs::failure::metadata_failure;
use crate::jobs::model::JobId;
use crate::jobs::queue::{Queue, QueueError};
use crate::jobs::stalled::StalledJob;
use crate::jobs::transaction::begin_transaction;

impl Outbox {
    /// Tells of requests and days of which nothing has moved for `stall`, once for each time that one stands still.
    /// Returns how many stand still now.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn tell_stalled(&self, stall: Duration) -> Result<usize, Failure> {
        let found: Vec<StalledJob> = sqlx::query_as(include_str!("../sql/stalled.sql"))
            .bind(None::<String>)
            .bind(stall.as_secs_f64())
            .fetch_all(self.pool())
            .await
            .map_err(metadata_failure)?;
        let count = found.len();
        let mut connection = self.pool().acquire().await.map_err(metadata_failure)?;
        for job in found {
            let day = day_of(&mut connection, JobId(job.id)).await.map_err(metadata_failure)?;
            let event = Event::RequestStalled { job: Box::new(job), day };
            tell(&mut connection, &event).await.map_err(metadata_failure)?;
        }
        Ok(count)
    }

    /// Tells of days that could have begun `deadline` ago and that nobody has begun, and of fires that were missed and
    /// are not caught up; each once. Returns how many there are now. Fires that nobody has decided are not seen here: with
    /// no scheduler running, nobody knows of them.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn tell_late_days(&self, deadline: Duration, now: Now) -> Result<usize, Failure> {
        let now = match now {
            Now::OfDatabase => None,
            Now::At(at) => Some(at),
        };
        let late: Vec<LateDay> = sqlx::query_as(include_str!("../sql/outbox/late_days.sql"))
            .bind(deadline.as_secs_f64())
            .bind(now)
            .fetch_all(self.pool())
            .await
            .map_err(metadata_failure)?;
        let count = late.len();
        let mut connection = self.pool().acquire().await.map_err(metadata_failure)?;
        for day in late {
            tell(&mut connection, &Event::DayNotStarted { day }).await.map_err(metadata_failure)?;
        }
        Ok(count)
    }
}

impl Queue {
    /// Tells how a table's columns and its rules have come apart, unless the same was told last. Without columns it is
    /// noted that they have not: what drifts afterwards is new.
    pub async fn tell_drift(&self, job: JobId, table: &str, columns: Vec<DriftedColumn>) -> Result<(), QueueError> {
        if columns.is_empty() {
            let forget = sqlx::query(include_str!("../sql/outbox/no_drift.sql")).bind(table);
            return Ok(forget.execute(self.pool()).await.map(drop)?);
        }
        let mut tx = begin_transaction(self.pool()).await?;
        let is_new: Option<i32> = sqlx::query_scalar(include_str!("../sql/outbox/drift.sql"))
            .bind(table)
            .bind(digest(&columns))
            .fetch_optional(&mut *tx)
            .await?;
        if is_new.is_some() {
            tell(&mut tx, &Event::ColumnDrift { job, table: table.to_owned(), columns }).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// What tells one drift from another: the columns, what happened to them, and their types.
fn digest(columns: &[DriftedColumn]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for column in columns {
        let texts = [
            Some(column.name.as_str()),
            Some(column.change),
            column.sql_type.as_deref(),
            column.previous_type.as_deref(),
        ];
        for text in texts {
            // With its length, so that no two lists of texts look alike.
            let text = text.unwrap_or("\0");
            digest.update(text.len().to_be_bytes());
            digest.update(text);
        }
    }
    digest.finalize().to_vec()
}
