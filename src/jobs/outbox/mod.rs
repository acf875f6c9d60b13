//! What there is to tell the outside: events, written down in the transaction of the fact that they tell of.
//!
//! So nothing is told that did not happen, and nothing that happened is forgotten, whichever process dies when. Sending
//! is somebody else's: the store here only hands out what is due, under a lease whose epoch fences what is said of it
//! afterwards. No event holds a cell's value: tables, columns, types, counts, codes, addresses, and messages of ours.

mod body;
mod store;
mod watch;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::closing::EndedDay;
use super::model::JobId;
use super::stalled::StalledJob;
use crate::error::{ErrorCode, Failure};

pub use store::{Notification, NotificationState, Outbox, SendingRules, ToSend, Waiting, resend};

/// What has happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A day's job has ended, and its summary is written.
    DayEnded {
        /// How it ended.
        day: Box<EndedDay>,
    },
    /// A day was due for so long, and nobody has begun it.
    DayNotStarted {
        /// Which one.
        day: LateDay,
    },
    /// A table of a day has failed for good.
    TableFailed {
        /// Where.
        place: Place,
        /// The table.
        table: String,
        /// Why.
        why: Failure,
    },
    /// The last gate has found personal data in a table, of any kind of export. Nothing of it was published.
    GateFinding {
        /// Where.
        place: Place,
        /// The table.
        table: String,
        /// What was found, without a value.
        why: Failure,
    },
    /// A table's columns and its rules have come apart in another way than was told last.
    ColumnDrift {
        /// The job whose planning saw it.
        job: JobId,
        /// The table.
        table: String,
        /// Every column that has come apart from its rules.
        columns: Vec<DriftedColumn>,
    },
    /// Nothing of a request or a day moves.
    RequestStalled {
        /// Which, and what is known of it.
        job: Box<StalledJob>,
        /// The day that it exports, if it is one of the schedule.
        day: Option<DayOf>,
    },
}

/// The day of a job.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DayOf {
    /// The schedule.
    pub schedule: String,
    /// The date.
    pub export_date: NaiveDate,
    /// Which time it is exported.
    pub revision: i32,
}

/// A job, with its day if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub tenant: String,
    /// `on_demand` or `scheduled`.
    pub kind: String,
    /// Its day.
    pub day: Option<DayOf>,
}

/// A day that nobody has begun in time.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LateDay {
    /// The schedule.
    pub schedule: String,
    /// The date.
    pub export_date: NaiveDate,
    /// The fire that it is exported by.
    pub fire_at: DateTime<Utc>,
    /// Since when it could have begun.
    pub since: DateTime<Utc>,
    /// Its job; `None` when the fire was missed, and nothing will begin it.
    pub job_id: Option<Uuid>,
}

/// A column that has come apart from its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftedColumn {
    /// Its name.
    pub name: String,
    /// `NEW`, `MISSING` or `RETYPED`.
    pub change: &'static str,
    /// Its type now.
    pub sql_type: Option<String>,
    /// The type that it left with.
    pub previous_type: Option<String>,
    /// What to do about it.
    pub suggestion: String,
}

/// Writes an event down, within the transaction of the fact.
///
/// # Errors
/// The database's; the transaction is then to be given up.
pub async fn tell(tx: &mut PgConnection, event: &Event) -> Result<(), sqlx::Error> {
    let told = body::of(event);
    sqlx::query(include_str!("../sql/outbox/tell.sql"))
        .bind(Uuid::now_v7())
        .bind(told.once)
        .bind(told.event_type)
        .bind(told.status)
        .bind(told.day.as_ref().map(|day| &day.schedule))
        .bind(told.day.as_ref().map(|day| day.export_date))
        .bind(told.day.as_ref().map(|day| day.revision))
        .bind(told.job)
        .bind(told.table)
        .bind(told.body)
        .execute(tx)
        .await
        .map(drop)
}

/// Tells that a table has failed: of a day always, since nobody waits in front of it as requesters do, who see it in
/// the status of their request; and of any export what the last gate has found.
pub(super) async fn tell_failed(
    tx: &mut PgConnection,
    job: JobId,
    table: &str,
    why: &Failure,
) -> Result<(), sqlx::Error> {
    let found = why.code == ErrorCode::GateFoundPersonalData;
    let (kind, tenant): (String, String) =
        sqlx::query_as(include_str!("../sql/outbox/kind.sql")).bind(job.0).fetch_one(&mut *tx).await?;
    let scheduled = kind == "scheduled";
    if !scheduled && !found {
        return Ok(());
    }
    let place = Place { job, tenant, kind, day: day_of(tx, job).await? };
    if found {
        let event = Event::GateFinding { place: place.clone(), table: table.to_owned(), why: why.clone() };
        tell(tx, &event).await?;
    }
    if scheduled {
        tell(tx, &Event::TableFailed { place, table: table.to_owned(), why: why.clone() }).await?;
    }
    Ok(())
}

async fn day_of(tx: &mut PgConnection, job: JobId) -> Result<Option<DayOf>, sqlx::Error> {
    sqlx::query_as(include_str!("../sql/outbox/day_of.sql")).bind(job.0).fetch_optional(tx).await
}
