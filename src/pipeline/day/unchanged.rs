//! Tables that are exported only when they have changed: whether what is staged is what was published last, and where.
//!
//! No counter of the warehouse is asked, since none is exact, outlives a crash and is on a standby: the table is read as on
//! any day, and what would leave is compared with what left. A table that has not changed is published by a manifest that
//! lists the files of the day on which it did. Those lie in a hidden folder that nothing ever writes to again, and pass
//! the gate once more before they are listed.

use std::sync::Arc;

use super::super::gate::{self, GateReport};
use super::super::plan::TablePlan;
use super::super::publish::UnchangedSince;
use super::super::{Pipeline, Stopped, stopped};
use super::content::identity;
use crate::error::{ErrorCode, Failure};
use crate::jobs::closing::Origin;
use crate::jobs::{Progress, PublishedFile, StagedPartition, TableTask};
use crate::storage::ObjectKey;

/// Days after which a table is exported again though it has not changed: who deletes old days from the bucket by their
/// age keeps what later ones refer to.
const LONGEST: i32 = 31;

/// What is published of a table that has not changed.
pub(in super::super) struct Unchanged {
    pub(in super::super) since: UnchangedSince,
    pub(in super::super) files: Vec<PublishedFile>,
    pub(in super::super) gate: GateReport,
}

/// Where what is staged of a table was published before, if it is to be exported only when it has changed and has not.
/// What the first finalizer decided holds for those that repeat its work. A day that is `restated` has files of its own, since
/// it takes the place of some; later days may refer to them.
pub(in super::super) async fn unchanged(
    pipeline: &Pipeline,
    task: &TableTask,
    plan: &TablePlan,
    restated: bool,
    progress: &Arc<Progress>,
    at_once: &(dyn Fn() -> usize + Sync),
) -> Result<Option<Unchanged>, Stopped> {
    if !plan.day.as_ref().is_some_and(|day| day.when_changed) {
        return Ok(None);
    }
    let Some(content) = identity(plan, &task.staged) else { return Ok(None) };
    let origin = match restated {
        false => pipeline.queue.same_content(task, &content, LONGEST).await.map_err(stopped)?,
        true => None,
    };
    let found = match origin {
        Some(origin) => checked(pipeline, task, plan, origin, progress, at_once).await?,
        None => None,
    };
    let origin = found.as_ref().map(|(origin, _)| origin.job);
    let decided = pipeline.queue.decide_content(task, &content, origin).await.map_err(stopped)?;
    if decided != origin {
        let why = "the files that it refers to are not there any more as they were; export the day again";
        return Err(Failure::new(ErrorCode::Internal, why).into());
    }
    Ok(found.map(|(origin, gate)| {
        let since = UnchangedSince { job_id: origin.job.to_string(), day: origin.day };
        Unchanged { since, files: origin.files, gate }
    }))
}

/// The origin, when its files are there and pass the gate under today's plan. One that does not is not referred to: the table
/// is exported as if it had changed.
async fn checked(
    pipeline: &Pipeline,
    task: &TableTask,
    plan: &TablePlan,
    origin: Origin,
    progress: &Arc<Progress>,
    at_once: &(dyn Fn() -> usize + Sync),
) -> Result<Option<(Origin, GateReport)>, Stopped> {
    let store = pipeline.store.as_ref();
    if origin.files.len() != task.staged.len() {
        return Ok(None);
    }
    let mut published = Vec::with_capacity(origin.files.len());
    for (file, staged) in origin.files.iter().zip(&task.staged) {
        match store.head(&ObjectKey::new(&file.key)?).await? {
            Some(there) if i64::try_from(there.size) == Ok(file.bytes) => published.push(StagedPartition {
                staging_key: file.key.clone(),
                row_count: file.rows,
                byte_count: file.bytes,
                sha256: file.sha256.clone(),
                etag: there.etag,
                ..staged.clone()
            }),
            _ => {
                tracing::warn!(job = %task.job, table = %task.table, since = %origin.day.date, "unchanged, but a file of then is gone; exporting again");
                return Ok(None);
            }
        }
    }
    match gate::pass(store, &published, plan, pipeline.settings.gate_sample, progress, at_once).await {
        Ok(report) => Ok(Some((origin, report))),
        Err(failure) if matches!(failure.code, ErrorCode::GateRefused | ErrorCode::GateFoundPersonalData) => {
            tracing::warn!(job = %task.job, table = %task.table, since = %origin.day.date, "unchanged, but the files of then do not pass the gate; exporting again");
            Ok(None)
        }
        Err(failure) => Err(failure.into()),
    }
}
