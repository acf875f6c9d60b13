//! API keys in the metadata database.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use super::audit::{Action, Actor, AuditLog};
use super::{KeySecret, Role};
use crate::error::{ErrorCode, Failure};
use crate::jobs::{Tenant, begin_transaction, metadata_failure};

/// Longest life that a key can be given, in days: a hundred years.
const MOST_DAYS: i32 = 36_500;
/// Longest name.
const LONGEST_NAME: usize = 100;

/// A key that is wanted.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose.
    pub tenant: Tenant,
    /// What it may do.
    pub role: Role,
    /// What it is for, in the words of whoever makes it; 1 to 100 characters.
    pub name: String,
    /// Days until it ends; `None` for never.
    pub expires_days: Option<i32>,
}

/// A key as it may be shown: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct KeyInfo {
    /// Names it, for `key revoke`.
    pub id: Uuid,
    /// Its first characters, after `dex_`.
    pub prefix: String,
    /// Whose.
    pub tenant: String,
    /// `requester` or `admin`.
    pub role: String,
    /// What it is for.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// `active`, `expired` or `revoked`, by the database's clock.
    pub state: String,
}

/// What proving a key needs.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Names it.
    pub id: Uuid,
    /// The SHA-256 of the key.
    pub sha256: Vec<u8>,
    /// Whose.
    pub tenant: Tenant,
    /// What it may do.
    pub role: Role,
    /// What it is for.
    pub name: String,
    /// How long it works from now; `None`: until it is revoked. Zero for one that is revoked or expired.
    pub valid_for: Option<Duration>,
}

/// Makes, lists, revokes and finds keys.
#[derive(Debug, Clone)]
pub struct KeyStore {
    pool: PgPool,
}

impl KeyStore {
    /// Over the metadata database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Makes a key. The secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// `BAD_REQUEST` for a name or a life that cannot be, `METADATA_UNAVAILABLE`.
    pub async fn create(&self, wanted: &NewKey, actor: &Actor) -> Result<(KeySecret, KeyInfo), Failure> {
        let length = wanted.name.chars().count();
        if !(1..=LONGEST_NAME).contains(&length) || wanted.name.chars().any(char::is_control) {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                format!("a key's name has 1 to {LONGEST_NAME} characters, none of them a control character"),
            ));
        }
        if wanted.expires_days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
            return Err(Failure::new(ErrorCode::BadRequest, format!("a key works for 1 to {MOST_DAYS} days")));
        }
        let secret =
            KeySecret::new().map_err(|error| Failure::new(ErrorCode::Internal, format!("no randomness: {error}")))?;
        let mut transaction = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        let info: KeyInfo = sqlx::query_as(include_str!("sql/create_key.sql"))
            .bind(Uuid::now_v7())
            .bind(&secret.prefix)
            .bind(&secret.sha256[..])
            .bind(wanted.tenant.as_str())
            .bind(wanted.role.as_str())
            .bind(&wanted.name)
            .bind(wanted.expires_days)
            .fetch_one(&mut *transaction)
            .await
            .map_err(metadata_failure)?;
        let target = info.id.to_string();
        let action = Action {
            tenant: &wanted.tenant,
            action: "key.create",
            target: &target,
            before: None,
            after: Some(json!(info)),
        };
        AuditLog::record(&mut transaction, actor, action).await?;
        transaction.commit().await.map_err(metadata_failure)?;
        Ok((secret, info))
    }

    /// Every key, oldest first.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn list(&self) -> Result<Vec<KeyInfo>, Failure> {
        sqlx::query_as(include_str!("sql/list_keys.sql")).fetch_all(&self.pool).await.map_err(metadata_failure)
    }

    /// Ends a key. `None` for an id that no key has; one that is revoked already stays as it is.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn revoke(&self, id: Uuid, actor: &Actor) -> Result<Option<KeyInfo>, Failure> {
        let mut transaction = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        let before: Option<KeyInfo> = sqlx::query_as(include_str!("sql/lock_key.sql"))
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(metadata_failure)?;
        let Some(before) = before.filter(|key| key.revoked_at.is_none()) else {
            let known = sqlx::query_as(include_str!("sql/lock_key.sql")).bind(id);
            return known.fetch_optional(&mut *transaction).await.map_err(metadata_failure);
        };
        let after: KeyInfo = sqlx::query_as(include_str!("sql/revoke_key.sql"))
            .bind(id)
            .fetch_one(&mut *transaction)
            .await
            .map_err(metadata_failure)?;
        let (tenant, target) = (Tenant::new(&before.tenant), id.to_string());
        let action = Action {
            tenant: &tenant,
            action: "key.revoke",
            target: &target,
            before: Some(json!(before)),
            after: Some(json!(after)),
        };
        AuditLog::record(&mut transaction, actor, action).await?;
        transaction.commit().await.map_err(metadata_failure)?;
        Ok(Some(after))
    }

    /// The key with this prefix, whatever has become of it.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn find(&self, prefix: &str) -> Result<Option<StoredKey>, Failure> {
        type Row = (Uuid, Vec<u8>, String, String, String, Option<f64>);
        let row: Option<Row> = sqlx::query_as(include_str!("sql/find_key.sql"))
            .bind(prefix)
            .fetch_optional(&self.pool)
            .await
            .map_err(metadata_failure)?;
        // A role that this version does not know may do nothing.
        Ok(row.and_then(|(id, sha256, tenant, role, name, seconds)| {
            let valid_for = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
            Some(StoredKey { id, sha256, tenant: Tenant::new(tenant), role: Role::parse(&role)?, name, valid_for })
        }))
    }

    /// Notes that a key was used, at most once a minute.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn touch(&self, id: Uuid) -> Result<(), Failure> {
        sqlx::query(include_str!("sql/touch_key.sql"))
            .bind(id)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(metadata_failure)
    }
}
