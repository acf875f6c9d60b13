//! What administrators did. One function writes it, in the transaction of what was done, so that neither is there
//! without the other.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::{PgConnection, PgPool};

use crate::error::Failure;
use crate::jobs::{Page, Tenant, metadata_failure};

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The identity's subject, or the account on the command line.
    pub name: String,
    /// `command line`, or the way of a request.
    pub origin: String,
    /// The request's id, where it was one.
    pub request_id: Option<String>,
}

impl Actor {
    /// Somebody at a shell.
    pub fn command_line(account: impl Into<String>) -> Self {
        Self { name: account.into(), origin: "command line".to_owned(), request_id: None }
    }
}

/// What was done. Never with a secret in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Action<'a> {
    /// Whose affair it is: administrators of this tenant see it.
    pub tenant: &'a Tenant,
    /// What, as `key.create`.
    pub action: &'a str,
    /// On what.
    pub target: &'a str,
    /// How it was.
    pub before: Option<Value>,
    /// How it is now.
    pub after: Option<Value>,
}

/// A row of the audit.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct AuditEntry {
    /// Counts up; a list's cursor.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// From where.
    pub origin: String,
    /// What.
    pub action: String,
    /// On what.
    pub target: String,
    /// How it was.
    pub before: Option<Value>,
    /// How it is since.
    pub after: Option<Value>,
    /// The request that did it.
    pub request_id: Option<String>,
}

/// Reads and writes the audit.
#[derive(Debug, Clone)]
pub struct AuditLog {
    pool: PgPool,
}

impl AuditLog {
    /// Over the metadata database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Writes what is done, within the transaction that does it.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`; the transaction is then to be given up.
    pub async fn record(transaction: &mut PgConnection, actor: &Actor, action: Action<'_>) -> Result<(), Failure> {
        sqlx::query(include_str!("sql/record_audit.sql"))
            .bind(&actor.name)
            .bind(action.tenant.as_str())
            .bind(&actor.origin)
            .bind(action.action)
            .bind(action.target)
            .bind(action.before)
            .bind(action.after)
            .bind(&actor.request_id)
            .execute(transaction)
            .await
            .map(drop)
            .map_err(metadata_failure)
    }

    /// A tenant's entries, newest first. The cursor is an entry's id.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn list(&self, tenant: &Tenant, page: &Page<i64>) -> Result<Vec<AuditEntry>, Failure> {
        sqlx::query_as(include_str!("sql/list_audit.sql"))
            .bind(tenant.as_str())
            .bind(page.after)
            .bind(page.limit)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)
    }
}
