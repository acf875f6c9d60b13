//! Who holds a moment of the warehouse for a table's partitions. A holder's lease is as short as any; nothing fails when
//! it is lost, and what is known of a file is what its partition's commit has recorded.

use std::time::Duration;

use classification::TableName;
use uuid::Uuid;

use super::model::JobId;
use super::queue::{Queue, QueueError, QueueSettings};

/// A snapshot that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SharedSnapshot {
    /// Ours: what commits record.
    pub id: Uuid,
    /// The warehouse's: what scans name; `None` while the holder asks for it.
    pub token: Option<String>,
}

impl QueueSettings {
    /// How many of the connections to the warehouse may hold snapshots: a quarter of a limited number, at least one of
    /// two. `None`: any number.
    pub fn holders(&self) -> Option<i32> {
        match (self.snapshot_max, self.max_warehouse_connections) {
            (Duration::ZERO, _) => Some(0),
            (_, 0) => None,
            (_, 1) => Some(0),
            (_, limit) => Some((limit / 4).max(1)),
        }
    }

    /// How many of them are left for partitions; 0: any number.
    pub(super) fn readers(&self) -> i32 {
        match self.max_warehouse_connections {
            0 => 0,
            limit => limit - self.holders().unwrap_or(0),
        }
    }
}

impl Queue {
    /// The snapshot that is held for a table.
    ///
    /// # Errors
    /// Those of the metadata database, as of everything here.
    pub async fn find_snapshot(&self, job: JobId, table: &TableName) -> Result<Option<SharedSnapshot>, QueueError> {
        let found = sqlx::query_as(include_str!("sql/find_snapshot.sql")).bind(job.0).bind(table.to_string());
        Ok(found.fetch_optional(self.pool()).await?)
    }

    /// Becomes the holder of a new snapshot for a table. `None` when somebody else is, when it would come too late for
    /// one of the partitions, or when too many are held already.
    pub async fn begin_snapshot(&self, job: JobId, table: &TableName) -> Result<Option<Uuid>, QueueError> {
        let begun: Result<Option<Uuid>, sqlx::Error> = sqlx::query_scalar(include_str!("sql/begin_snapshot.sql"))
            .bind(Uuid::new_v4())
            .bind(job.0)
            .bind(table.to_string())
            .bind(self.worker())
            .bind(self.settings().lease.as_secs_f64())
            .bind(self.settings().holders())
            .fetch_optional(self.pool())
            .await;
        match begun {
            // Another worker began it, or took the same connection, in the same moment.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(None),
            other => Ok(other?),
        }
    }

    /// Says what others import a snapshot by; false when it came too late.
    pub async fn tell_snapshot(&self, id: Uuid, token: &str) -> Result<bool, QueueError> {
        let told: Option<Uuid> = sqlx::query_scalar(include_str!("sql/tell_snapshot.sql"))
            .bind(id)
            .bind(token)
            .fetch_optional(self.pool())
            .await?;
        Ok(told.is_some())
    }

    /// Holds a snapshot on; false when it was held for long enough or nobody needs it any more.
    pub async fn keep_snapshot(&self, id: Uuid) -> Result<bool, QueueError> {
        let kept: Option<Uuid> = sqlx::query_scalar(include_str!("sql/keep_snapshot.sql"))
            .bind(id)
            .bind(self.settings().lease.as_secs_f64())
            .bind(self.settings().snapshot_max.as_secs_f64())
            .fetch_optional(self.pool())
            .await?;
        Ok(kept.is_some())
    }

    /// Says that a snapshot is not held any more.
    pub async fn end_snapshot(&self, id: Uuid) -> Result<(), QueueError> {
        sqlx::query(include_str!("sql/end_snapshot.sql")).bind(id).execute(self.pool()).await?;
        Ok(())
    }

    /// Ends the snapshots whose holder is gone.
    pub async fn reap_snapshots(&self) -> Result<u64, QueueError> {
        Ok(sqlx::query(include_str!("sql/reap_snapshots.sql")).execute(self.pool()).await?.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_and_partitions_share_the_connections() {
        for (limit, seconds, holders, readers) in [
            (0, 900, None, 0),
            (0, 0, Some(0), 0),
            (1, 900, Some(0), 1),
            (2, 900, Some(1), 1),
            (2, 0, Some(0), 2),
            (7, 900, Some(1), 6),
            (8, 900, Some(2), 6),
        ] {
            let settings = QueueSettings {
                max_warehouse_connections: limit,
                snapshot_max: Duration::from_secs(seconds),
                ..QueueSettings::default()
            };
            assert_eq!((settings.holders(), settings.readers()), (holders, readers), "{limit} {seconds}");
        }
    }
}
