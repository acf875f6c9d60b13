//! The log as receiver, for installations that have named no topic.

use async_trait::async_trait;

use super::{Message, Notifier};
use crate::error::Failure;

/// Writes messages to the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    async fn send(&self, message: &Message) -> Result<(), Failure> {
        let Message { event_id, event_type, environment, status, text } = message;
        // What somebody should look at is there, too, where the log is only of what somebody should look at.
        match status.as_str() {
            "COMPLETED" => tracing::info!(%event_id, event_type, environment, status, body = text, "notification"),
            _ => tracing::warn!(%event_id, event_type, environment, status, body = text, "notification"),
        }
        Ok(())
    }
}
