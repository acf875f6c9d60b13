//! A message as receivers get it: one JSON object, of a documented version and a bounded size.

use std::sync::Arc;

use chrono::NaiveDate;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::jobs::outbox::ToSend;

/// The version of the body. Fields may be added to a version; another one begins when a field changes its meaning or goes.
pub const VERSION: u32 = 1;
/// What SNS takes of a message with its attributes, in bytes
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-quotas.html>: 256 KiB).
pub const LARGEST: usize = 256 * 1024;
/// What a message keeps free for the names, types and values of its attributes.
const ATTRIBUTES: usize = 1024;
/// Lists that a message which is too large goes without. Their counts stay.
const LISTS: [&str; 5] = ["tables", "missing", "skipped", "columns", "openTables"];
/// Bytes of a text that a shortened message keeps of it.
const LONGEST_TEXT: usize = 1024;

/// What names the installation in its messages.
#[derive(Clone)]
pub struct Origin {
    /// The environment.
    pub environment: String,
    /// The address of a day's folder, without a slash at its end.
    pub folder: Arc<dyn Fn(NaiveDate) -> String + Send + Sync>,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("environment", &self.environment).finish_non_exhaustive()
    }
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same however often it is sent.
    pub event_id: Uuid,
    /// What has happened.
    pub event_type: String,
    /// Where.
    pub environment: String,
    /// `COMPLETED`, `FAILED` or `WARNING`.
    pub status: String,
    /// The JSON.
    pub text: String,
}

impl Message {
    /// Of a notification. The same one gives the same text.
    pub fn of(notification: &ToSend, origin: &Origin) -> Self {
        let mut fields = Map::new();
        fields.insert("version".to_owned(), json!(VERSION));
        fields.insert("eventId".to_owned(), json!(notification.event_id));
        fields.insert("type".to_owned(), json!(notification.event_type));
        fields.insert("status".to_owned(), json!(notification.status));
        fields.insert("occurredAt".to_owned(), json!(notification.occurred_at));
        fields.insert("environment".to_owned(), json!(origin.environment));
        if let Value::Object(body) = &notification.body {
            fields.extend(body.clone());
        }
        if let Some(summary) = summary(notification, origin) {
            fields.insert("summary".to_owned(), json!(summary));
        }
        let mut text = Value::Object(fields.clone()).to_string();
        if text.len() > LARGEST - ATTRIBUTES {
            text = shortened(fields).to_string();
        }
        Self {
            event_id: notification.event_id,
            event_type: notification.event_type.clone(),
            environment: origin.environment.clone(),
            status: notification.status.clone(),
            text,
        }
    }
}

/// Where the summary of a day that has ended is: what a shortened message points at.
fn summary(notification: &ToSend, origin: &Origin) -> Option<String> {
    let ended = ["DAY_COMPLETED", "DAY_COMPLETED_WITH_FAILURES", "DAY_RESTATED"];
    if !ended.contains(&notification.event_type.as_str()) {
        return None;
    }
    let date: NaiveDate = notification.body.get("date")?.as_str()?.parse().ok()?;
    let name = if notification.status == "COMPLETED" { "_SUCCESS" } else { "_FAILED" };
    Some(format!("{}/{name}", (origin.folder)(date)))
}

/// Without its lists, and with every text cut: what is left is a few fields of bounded length.
fn shortened(mut fields: Map<String, Value>) -> Value {
    let mut left_out = Map::new();
    for list in LISTS {
        if let Some(Value::Array(entries)) = fields.remove(list) {
            left_out.insert(list.to_owned(), json!(entries.len()));
        }
    }
    fields.insert("shortened".to_owned(), json!(true));
    fields.insert("leftOut".to_owned(), Value::Object(left_out));
    let mut body = Value::Object(fields);
    cut_texts(&mut body);
    body
}

fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONGEST_TEXT => {
            let end = (0..=LONGEST_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        Value::Array(values) => values.iter_mut().for_each(cut_texts),
        Value::Object(fields) => fields.values_mut().for_each(cut_texts),
        _ => {}
    }
}
