//! The outbox as its sender and its administrators use it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use crate::error::Failure;
use crate::jobs::failure::metadata_failure;
use crate::jobs::requests::Page;

/// How notifications are leased, tried again and given up.
#[derive(Debug, Clone, Copy)]
pub struct SendingRules {
    /// How long one is not handed out again while somebody sends it.
    pub lease: Duration,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Attempts that fail for a reason that does not pass by itself, after which it is given up.
    pub refusals: i32,
    /// How long it is tried for at all.
    pub patience: Duration,
}

impl Default for SendingRules {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(300),
            refusals: 8,
            patience: Duration::from_secs(14 * 86_400),
        }
    }
}

/// A notification that is handed to a sender.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ToSend {
    /// The same however often it is sent.
    pub event_id: Uuid,
    /// What has happened.
    pub event_type: String,
    /// `COMPLETED`, `FAILED` or `WARNING`.
    pub status: String,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The fields of this type.
    pub body: Value,
    /// Which attempt this is, from 1.
    pub attempts: i32,
    lease_epoch: i64,
}

/// Where a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationState {
    /// It will be sent, or sent again.
    Pending,
    /// It was taken.
    Sent,
    /// It was given up; an administrator may resend it.
    Dead,
}

impl NotificationState {
    /// As the statements name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sent => "SENT",
            Self::Dead => "DEAD",
        }
    }
}

/// A notification as administrators see it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Notification {
    /// Its id.
    pub event_id: Uuid,
    /// What has happened.
    pub event_type: String,
    /// `COMPLETED`, `FAILED` or `WARNING`.
    pub status: String,
    /// The fields of this type, whole.
    pub body: Value,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// Attempts to send it.
    pub attempts: i32,
    /// When it is tried next, while it is pending.
    pub due_at: DateTime<Utc>,
    /// When it was taken.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub dead_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    pub error_code: Option<String>,
    /// The same, for the reader.
    pub error_message: Option<String>,
}

impl Notification {
    /// Where it is.
    pub fn state(&self) -> NotificationState {
        match (self.sent_at, self.dead_at) {
            (Some(_), _) => NotificationState::Sent,
            (None, Some(_)) => NotificationState::Dead,
            (None, None) => NotificationState::Pending,
        }
    }
}

/// How many notifications are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Waiting {
    /// Pending ones.
    pub pending: i64,
    /// Those that were given up.
    pub dead: i64,
}

/// Notifications in the metadata database.
#[derive(Debug, Clone)]
pub struct Outbox {
    pool: PgPool,
    rules: SendingRules,
}

impl Outbox {
    /// Over the metadata database.
    pub fn new(pool: PgPool, rules: SendingRules) -> Self {
        Self { pool, rules }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How it sends.
    pub fn rules(&self) -> &SendingRules {
        &self.rules
    }

    /// Hands out what is due, at most so many. What nobody says anything of comes up again when its lease has run out.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn claim(&self, most: i64) -> Result<Vec<ToSend>, Failure> {
        sqlx::query_as(include_str!("../sql/outbox/claim.sql"))
            .bind(most)
            .bind(self.rules.lease.as_secs_f64())
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)
    }

    /// Writes down that it was taken. `false` when somebody else has claimed it meanwhile: then it is sent again.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`; it is sent again when its lease has run out.
    pub async fn sent(&self, sent: &ToSend) -> Result<bool, Failure> {
        let noted = sqlx::query(include_str!("../sql/outbox/sent.sql"))
            .bind(sent.event_id)
            .bind(sent.lease_epoch)
            .execute(&self.pool)
            .await
            .map_err(metadata_failure)?;
        Ok(noted.rows_affected() == 1)
    }

    /// Writes down why it was not taken, and puts it back or gives it up: after so many failures that do not pass by
    /// themselves, or when it was tried for long enough. Returns whether it was given up.
    ///
    /// # Errors
    /// As [`Outbox::sent`].
    pub async fn failed(&self, tried: &ToSend, why: &Failure) -> Result<bool, Failure> {
        let SendingRules { first_pause, longest_pause, refusals, patience, .. } = self.rules;
        let doubled = first_pause.saturating_mul(2_u32.saturating_pow(tried.attempts.clamp(1, 30).unsigned_abs() - 1));
        // So that what failed together does not come back together.
        let pause = doubled.min(longest_pause).mul_f64(rand::random_range(0.5..1.5));
        let dead: Option<bool> = sqlx::query_scalar(include_str!("../sql/outbox/failed.sql"))
            .bind(tried.event_id)
            .bind(tried.lease_epoch)
            .bind(why.code.as_str())
            .bind(&why.message)
            .bind(!why.code.retryable())
            .bind(pause.as_secs_f64())
            .bind(refusals)
            .bind(patience.as_secs_f64())
            .fetch_optional(&self.pool)
            .await
            .map_err(metadata_failure)?;
        Ok(dead.unwrap_or(false))
    }

    /// Notifications, newest first; of one state, or all.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn list(
        &self,
        state: Option<NotificationState>,
        page: &Page<(DateTime<Utc>, Uuid)>,
    ) -> Result<Vec<Notification>, Failure> {
        sqlx::query_as(include_str!("../sql/outbox/list.sql"))
            .bind(state.map(NotificationState::as_str))
            .bind(page.after.map(|(at, _)| at))
            .bind(page.after.map(|(_, id)| id))
            .bind(page.limit)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)
    }

    /// How many are not sent.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn waiting(&self) -> Result<Waiting, Failure> {
        sqlx::query_as(include_str!("../sql/outbox/waiting.sql")).fetch_one(&self.pool).await.map_err(metadata_failure)
    }

    /// Forgets what was sent this long ago. Returns how many that were.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn forget_sent(&self, after: Duration) -> Result<u64, Failure> {
        let forgotten = sqlx::query(include_str!("../sql/outbox/forget.sql"))
            .bind(after.as_secs_f64())
            .execute(&self.pool)
            .await
            .map_err(metadata_failure)?;
        Ok(forgotten.rows_affected())
    }
}

/// Puts one that was given up back to be sent, with the same id, within a transaction. Returns how it was before, locked,
/// and whether it was put back: what is pending or sent stays so. `None` for an id that is unknown.
///
/// # Errors
/// `METADATA_UNAVAILABLE`; the transaction is then to be given up.
pub async fn resend(tx: &mut PgConnection, id: Uuid) -> Result<Option<(Notification, bool)>, Failure> {
    let found: Option<Notification> = sqlx::query_as(include_str!("../sql/outbox/lock.sql"))
        .bind(id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    let Some(found) = found else { return Ok(None) };
    let dead = found.state() == NotificationState::Dead;
    if dead {
        sqlx::query(include_str!("../sql/outbox/resend.sql")).bind(id).execute(tx).await.map_err(metadata_failure)?;
    }
    Ok(Some((found, dead)))
}
