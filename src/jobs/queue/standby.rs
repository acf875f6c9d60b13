//! What reading from a standby asks of the queue: to wait until it has caught up, and to cut what it could not finish.
//! Neither is an attempt.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::{Claim, PartitionTask, Queue, QueueError};
use crate::error::Failure;

impl Queue {
    /// Gives a plan or a partition back because what it needs is not there yet, and lets its job wait so long. What runs
    /// of the job goes on. `why` is told meanwhile.
    pub async fn pause(&self, claim: &Claim, pause: Duration, why: &Failure) -> Result<(), QueueError> {
        let (statement, epoch) = match claim {
            Claim::Plan(job, epoch) => (sqlx::query(include_str!("../sql/pause_job.sql")).bind(job.0), epoch),
            Claim::Partition(id, epoch) => (sqlx::query(include_str!("../sql/pause_partition.sql")).bind(id), epoch),
            // What is published has been read already.
            Claim::Table(..) => return self.release(claim).await,
        };
        let found = statement
            .bind(epoch)
            .bind(pause.as_secs_f64())
            .bind(why.code.as_str())
            .bind(&why.message)
            .fetch_optional(&self.pool)
            .await?;
        found.map(drop).ok_or_else(|| QueueError::LeaseLost(claim.clone()))
    }

    /// Puts a partition back in these pieces, in their order, to be claimed after a pause; a single one is the partition
    /// as it was. Its files' places stay in order, those behind it move up. All of it or nothing.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], also when the job is being ended.
    pub async fn cut_partition(
        &self,
        task: &PartitionTask,
        pieces: Vec<Value>,
        pause: Duration,
        why: &Failure,
    ) -> Result<(), QueueError> {
        let (id, epoch, job, table) = (task.id, task.epoch, task.job, task.table.to_string());
        let (code, message) = (why.code.as_str(), why.message.clone());
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let lost = || QueueError::LeaseLost(Claim::Partition(id, epoch));
                let count = i32::try_from(pieces.len()).map_err(|_| lost())?;
                let mut pieces = pieces.into_iter();
                let first = pieces.next().ok_or_else(lost)?;
                sqlx::query(include_str!("../sql/lock_partitions.sql"))
                    .bind(job.0)
                    .bind(&table)
                    .execute(&mut *tx)
                    .await?;
                let cut: Option<(Uuid, String)> = sqlx::query_as(include_str!("../sql/cut_partition.sql"))
                    .bind(id)
                    .bind(epoch)
                    .bind(first)
                    .bind(i64::from(count))
                    .bind(pause.as_secs_f64())
                    .bind(code)
                    .bind(message)
                    .fetch_optional(&mut *tx)
                    .await?;
                cut.ok_or_else(lost)?;
                sqlx::query(include_str!("../sql/make_room.sql")).bind(id).bind(count - 1).execute(&mut *tx).await?;
                for (place, scan) in (1_i32..).zip(pieces) {
                    sqlx::query(include_str!("../sql/insert_piece.sql"))
                        .bind(id)
                        .bind(place)
                        .bind(scan)
                        .execute(&mut *tx)
                        .await?;
                }
                let counted: Option<Uuid> = sqlx::query_scalar(include_str!("../sql/count_pieces.sql"))
                    .bind(job.0)
                    .bind(&table)
                    .bind(count - 1)
                    .fetch_optional(&mut *tx)
                    .await?;
                counted.ok_or_else(lost)?;
                sqlx::query(include_str!("../sql/uncount_attempt.sql"))
                    .bind(job.0)
                    .bind(&table)
                    .execute(&mut *tx)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}
