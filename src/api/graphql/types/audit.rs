//! What administrators did.

use async_graphql::{Json, SimpleObject};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::identity;

/// One thing that an administrator did.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct AuditEntry {
    /// When, by the metadata database's clock.
    at: DateTime<Utc>,
    /// Who: `key:NAME:PREFIX`, `jwt:SUB`, `local`, or the account at a shell.
    actor: String,
    /// From where: `command line`, or the way of a request.
    origin: String,
    /// What, as `key.create`.
    action: String,
    /// On what.
    target: String,
    /// How it was; null where there was nothing.
    before: Option<Json<Value>>,
    /// How it is since; null where there is nothing any more.
    after: Option<Json<Value>>,
    /// The request that did it; null at a shell.
    request_id: Option<String>,
}

impl From<identity::AuditEntry> for AuditEntry {
    fn from(entry: identity::AuditEntry) -> Self {
        Self {
            at: entry.at,
            actor: entry.actor,
            origin: entry.origin,
            action: entry.action,
            target: entry.target,
            before: entry.before.map(Json),
            after: entry.after.map(Json),
            request_id: entry.request_id,
        }
    }
}
