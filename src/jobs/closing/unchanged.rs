//! Tables that have not changed since an earlier day: which one that is, and that it is decided once.

use chrono::NaiveDate;
use sqlx::types::Json;
use uuid::Uuid;

use crate::jobs::days::DayRevision;
use crate::jobs::model::{JobId, PublishedFile};
use crate::jobs::queue::{Claim, Queue, QueueError, TableTask};

/// The export of an earlier day whose files a table refers to that has not changed since.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The job that wrote them.
    pub job: JobId,
    /// Its day and revision.
    pub day: DayRevision,
    /// The files.
    pub files: Vec<PublishedFile>,
}

impl Queue {
    /// Where a table of this content was published already, on a day before this job's and at most `days` before it, so that
    /// it can be referred to; or what was decided of it before.
    ///
    /// # Errors
    /// The database's.
    pub async fn same_content(&self, task: &TableTask, content: &str, days: i32) -> Result<Option<Origin>, QueueError> {
        let found: Option<(Uuid, NaiveDate, i32, Json<Vec<PublishedFile>>)> =
            sqlx::query_as(include_str!("../sql/days/same_content.sql"))
                .bind(task.job.0)
                .bind(task.table.to_string())
                .bind(content)
                .bind(days)
                .fetch_optional(self.pool())
                .await?;
        Ok(found.map(|(job, date, revision, files)| Origin {
            job: JobId(job),
            day: DayRevision { date, revision },
            files: files.0,
        }))
    }

    /// Decides that a table refers to the files of `origin`, or has its own, unless that is decided already. Returns what
    /// holds.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], and the database's.
    pub async fn decide_content(
        &self,
        task: &TableTask,
        content: &str,
        origin: Option<JobId>,
    ) -> Result<Option<JobId>, QueueError> {
        let decided: Option<Option<Uuid>> = sqlx::query_scalar(include_str!("../sql/days/decide_content.sql"))
            .bind(task.job.0)
            .bind(task.table.to_string())
            .bind(task.epoch)
            .bind(content)
            .bind(origin.map(|job| job.0))
            .fetch_optional(self.pool())
            .await?;
        let lost = || QueueError::LeaseLost(Claim::Table(task.job, task.table.clone(), task.epoch));
        Ok(decided.ok_or_else(lost)?.map(JobId))
    }
}
