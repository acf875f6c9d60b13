//! Notifications as administrators look after them: listed, and resent with an entry in the audit.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use crate::error::{ErrorCode, Failure};
use crate::identity::{Action, Actor, AuditLog};
use crate::jobs::outbox::{self, Notification, NotificationState, Outbox, SendingRules};
use crate::jobs::{Page, Tenant, begin_transaction, metadata_failure};

/// Lists and resends notifications.
#[derive(Debug, Clone)]
pub struct Notices {
    pool: PgPool,
    outbox: Outbox,
}

impl Notices {
    /// Over the metadata database.
    pub fn new(pool: PgPool) -> Self {
        Self { outbox: Outbox::new(pool.clone(), SendingRules::default()), pool }
    }

    /// Notifications, newest first; of one state, or all. Those that were sent are kept for a month.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn list(
        &self,
        state: Option<NotificationState>,
        page: &Page<(DateTime<Utc>, Uuid)>,
    ) -> Result<Vec<Notification>, Failure> {
        self.outbox.list(state, page).await
    }

    /// Puts a notification that was given up back to be sent, under the same id. Doing it again changes nothing, nor does
    /// it to one that is pending or was sent. Returns it as it is then; `None` for an id that is unknown.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn resend(&self, id: Uuid, by: &Actor) -> Result<Option<Notification>, Failure> {
        let mut transaction = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        let resent = resend_in(&mut transaction, id, by).await?;
        transaction.commit().await.map_err(metadata_failure)?;
        Ok(resent)
    }
}

async fn resend_in(transaction: &mut PgConnection, id: Uuid, by: &Actor) -> Result<Option<Notification>, Failure> {
    let Some((before, resent)) = outbox::resend(transaction, id).await? else { return Ok(None) };
    if !resent {
        return Ok(Some(before));
    }
    let action = Action {
        tenant: &Tenant::default(),
        action: "notification.resend",
        target: &id.to_string(),
        before: Some(json!({"state": "DEAD", "attempts": before.attempts, "error": before.error_code})),
        after: Some(json!({"state": "PENDING"})),
    };
    AuditLog::record(transaction, by, action).await?;
    Ok(Some(Notification { dead_at: None, ..before }))
}

/// What an id that is unknown answers.
pub fn unknown_notification() -> Failure {
    Failure::new(ErrorCode::NotFound, "there is no such notification; see the query notifications")
}
