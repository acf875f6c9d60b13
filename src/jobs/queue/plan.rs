//! Committing a plan: tables, partitions and directories, all or none.

use classification::TableName;
use serde_json::Value;
use sqlx::postgres::PgConnection;

use super::commit::{fail_status, settle};
use super::{Claim, PlanTask, Queue, QueueError};
use crate::error::{ErrorCode, Failure};
use crate::jobs::model::JobId;

/// What planning decided of one table.
#[derive(Debug, Clone)]
pub struct PlannedTable {
    /// The table.
    pub table: TableName,
    /// What happens to it.
    pub fate: TableFate,
}

/// What happens to a planned table.
#[derive(Debug, Clone)]
pub enum TableFate {
    /// It is exported.
    Export {
        /// The directory for its files; on demand `_r2`, `_r3`, … is added where it is taken.
        directory: String,
        /// Kept with the table; the finalizer reads it again.
        plan: Value,
        /// Its partitions, in the order of its files: what to read, and how many rows that may be (more than 0).
        partitions: Vec<(Value, f64)>,
    },
    /// It cannot be exported.
    Fail(Failure),
    /// It does not belong in this export, which is no failure.
    Skip(Failure),
}

impl Queue {
    /// Commits a plan: tables, partitions and directories, all or none. Tables that cannot be exported have failed
    /// already when this returns, and the others go on.
    pub async fn finish_plan(
        &self,
        task: &PlanTask,
        revision: i64,
        tables: Vec<PlannedTable>,
    ) -> Result<(), QueueError> {
        self.insist(|| self.commit_plan(task, revision, tables.clone())).await
    }

    async fn commit_plan(&self, task: &PlanTask, revision: i64, tables: Vec<PlannedTable>) -> Result<(), QueueError> {
        let (job, epoch, scheduled) = (task.job, task.epoch, task.day.is_some());
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let tenant: String = sqlx::query_scalar(include_str!("../sql/finish_planning.sql"))
                    .bind(job.0)
                    .bind(epoch)
                    .bind(revision)
                    .fetch_optional(&mut *tx)
                    .await?
                    .ok_or(QueueError::LeaseLost(Claim::Plan(job, epoch)))?;
                let mut fair_key: i64 = sqlx::query_scalar(include_str!("../sql/fair_start.sql"))
                    .bind(&tenant)
                    .bind(scheduled)
                    .fetch_one(&mut *tx)
                    .await?;
                for planned in tables {
                    insert_planned(tx, job, planned, scheduled, &mut fair_key).await?;
                }
                settle(tx, job).await
            })
        })
        .await
    }
}

async fn insert_planned(
    tx: &mut PgConnection,
    job: JobId,
    planned: PlannedTable,
    scheduled: bool,
    fair_key: &mut i64,
) -> Result<(), QueueError> {
    let name = planned.table.to_string();
    let insert =
        |state: &'static str, directory: Option<String>, plan: Option<Value>, total: usize, why: Option<Failure>| {
            sqlx::query(include_str!("../sql/insert_table.sql"))
                .bind(job.0)
                .bind(name.clone())
                .bind(state)
                .bind(directory)
                .bind(plan)
                .bind(i32::try_from(total).unwrap_or(i32::MAX))
                .bind(why.as_ref().map(|failure| failure.code.as_str()))
                .bind(why.map(|failure| failure.message))
        };
    match planned.fate {
        TableFate::Export { directory, plan, partitions } => {
            let Some(directory) = reserve(tx, job, &name, &directory, scheduled).await? else {
                let why = Failure::new(
                    ErrorCode::ManifestConflict,
                    format!(
                        "the folder '{directory}' belongs to another job; restate the day, which gets one of its own"
                    ),
                );
                insert("FAILED", None, None, 0, Some(why.clone())).execute(&mut *tx).await?;
                return fail_status(tx, job, &name, &why).await;
            };
            insert("EXTRACTING", Some(directory), Some(plan), partitions.len(), None).execute(&mut *tx).await?;
            for (ordinal, (scan, weight)) in (0_i32..).zip(partitions) {
                sqlx::query(include_str!("../sql/insert_partition.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(ordinal)
                    .bind(scan)
                    .bind(weight)
                    .bind(*fair_key)
                    .execute(&mut *tx)
                    .await?;
                *fair_key += 1;
            }
        }
        TableFate::Skip(why) => {
            insert("SKIPPED", None, None, 0, Some(why)).execute(&mut *tx).await?;
        }
        TableFate::Fail(why) => {
            insert("FAILED", None, None, 0, Some(why.clone())).execute(&mut *tx).await?;
            fail_status(tx, job, &name, &why).await?;
        }
    }
    Ok(())
}

/// The first free one of `directory`, `directory_r2`, `directory_r3`, …; or, where only this one will do, `None` if it
/// is taken.
async fn reserve(
    tx: &mut PgConnection,
    job: JobId,
    table: &str,
    directory: &str,
    only: bool,
) -> Result<Option<String>, QueueError> {
    for revision in 1.. {
        let wanted = if revision == 1 { directory.to_owned() } else { format!("{directory}_r{revision}") };
        let reserved: Option<String> = sqlx::query_scalar(include_str!("../sql/reserve_directory.sql"))
            .bind(wanted)
            .bind(job.0)
            .bind(table)
            .fetch_optional(&mut *tx)
            .await?;
        if reserved.is_some() || only {
            return Ok(reserved);
        }
    }
    unreachable!("there is always a next revision")
}
