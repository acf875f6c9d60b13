//! Notifications, as administrators see them.

use async_graphql::{Enum, Json, SimpleObject};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::ExportError;
use crate::jobs::model::StoredError;
use crate::jobs::outbox;

/// Where a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "outbox::NotificationState")]
pub(in crate::api::graphql) enum NotificationState {
    /// It will be sent, or sent again.
    Pending,
    /// It was taken.
    Sent,
    /// It was given up; `resendNotification` puts it back.
    Dead,
}

/// Something that the outside is told, see docs/notifications.md.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct Notification {
    /// Its id, the same however often it is sent.
    event_id: String,
    /// What has happened, as `DAY_COMPLETED`.
    #[graphql(name = "type")]
    event_type: String,
    /// `COMPLETED`, `FAILED` or `WARNING`.
    status: String,
    /// Where it is.
    state: NotificationState,
    /// When it happened.
    occurred_at: DateTime<Utc>,
    /// Attempts to send it.
    attempts: i32,
    /// When it is tried next; null unless it is pending.
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it was taken.
    sent_at: Option<DateTime<Utc>>,
    /// When it was given up.
    dead_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed; null if it did not.
    error: Option<ExportError>,
    /// The fields of its type, also those that were left out of a message which was too large.
    body: Json<Value>,
}

impl From<outbox::Notification> for Notification {
    fn from(found: outbox::Notification) -> Self {
        let state = found.state();
        let error = StoredError::of(found.error_code, found.error_message);
        Self {
            event_id: found.event_id.to_string(),
            event_type: found.event_type,
            status: found.status,
            state: state.into(),
            occurred_at: found.occurred_at,
            attempts: found.attempts,
            next_attempt_at: (state == outbox::NotificationState::Pending).then_some(found.due_at),
            sent_at: found.sent_at,
            dead_at: found.dead_at,
            error: error.as_ref().map(ExportError::from),
            body: Json(found.body),
        }
    }
}
