//! Who was handed which links, who came with one, and which still hold.
//!
//! Everything is written before it is answered: a link that cannot be audited is not handed out, and one that cannot
//! be audited is not followed. Only the metadata database's clock counts. This module knows no object store: what it
//! says is that somebody may be sent to a file, never where that is.

mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::token::{Claim, KEY_BYTES};
use crate::error::Failure;
use crate::identity::{Action, Actor, AuditLog};
use crate::jobs::{JobId, Tenant, begin_transaction, metadata_failure};

/// How long a presigned link works that a link of our own redirects to.
pub const REDIRECT_LIFE: Duration = Duration::from_secs(300);
/// How long a process goes on with a key that somebody may have deleted.
const KEY_LIFE: Duration = Duration::from_secs(60);

/// What kind of links is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// They lead to the object store, which asks nobody: they work until they end.
    Presigned,
    /// They lead to this service, which checks, writes down and redirects.
    Redirect,
}

impl LinkKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Presigned => "presigned",
            Self::Redirect => "redirect",
        }
    }
}

/// Where a request came from, for the audit.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// The client, without its port: the other end of the connection, or behind trusted proxies who connected to them.
    pub address: Option<String>,
    /// `X-Forwarded-For` as it came: what proxies on the way, or anybody else, claim.
    pub forwarded_for: Option<String>,
    /// What the client calls itself.
    pub user_agent: Option<String>,
    /// The id of the request.
    pub request_id: String,
}

/// Links on their way to a requester.
#[derive(Debug)]
pub struct HandOut<'a> {
    /// The job whose files they lead to.
    pub job: JobId,
    /// Whose it is.
    pub tenant: &'a Tenant,
    /// Who asks.
    pub subject: &'a str,
    /// Which kind they are.
    pub kind: LinkKind,
    /// How long the last of them works.
    pub valid_for: Duration,
    /// Table and object key of each.
    pub files: &'a [(String, String)],
}

/// Links that were handed out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Grant {
    /// Its id.
    pub id: Uuid,
    /// When they end.
    pub expires_at: DateTime<Utc>,
}

/// A link of our own that is truly ours.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Link {
    grant_id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// The table.
    pub table_name: String,
    /// The file.
    pub object_key: String,
    revoked: bool,
    expired: bool,
    seconds_left: f64,
}

impl Link {
    /// How long it works yet.
    pub fn life(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds_left).unwrap_or_default()
    }
}

/// What became of a link of our own.
#[derive(Debug, Clone)]
pub enum Found {
    /// Not ours, or of a job that is gone.
    Unknown,
    /// Its end has come, or its file was deleted.
    Expired(Link),
    /// An administrator has ended it.
    Revoked(Link),
    /// It holds.
    Valid(Link),
}

/// What revoking has done.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Revocation {
    /// Grants that it has ended; 0 when there were none left.
    pub revoked: i64,
    /// When links of the job were last revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Until when presigned links work that nobody can revoke.
    pub presigned_until: Option<DateTime<Utc>>,
    /// Until when somebody who was redirected just before may begin the download.
    pub redirected_until: Option<DateTime<Utc>>,
}

/// The book of links, in the metadata database.
#[derive(Debug, Clone)]
pub struct LinkBook {
    pool: PgPool,
    key: Arc<Mutex<Option<CachedKey>>>,
}

struct CachedKey {
    secret: [u8; KEY_BYTES],
    since: Instant,
}

/// The key is a secret.
impl std::fmt::Debug for CachedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedKey").finish_non_exhaustive()
    }
}

impl LinkBook {
    /// Over the metadata database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, key: Arc::default() }
    }

    /// Writes down that links are handed out. Whoever asks again within a minute is given the same grant.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`: then none may be handed out.
    pub async fn hand_out(&self, links: &HandOut<'_>, visitor: &Visitor) -> Result<Grant, Failure> {
        let (tables, keys): (Vec<&str>, Vec<&str>) =
            links.files.iter().map(|(table, key)| (table.as_str(), key.as_str())).unzip();
        sqlx::query_as(include_str!("sql/hand_out.sql"))
            .bind(Uuid::new_v4())
            .bind(links.job.0)
            .bind(links.tenant.as_str())
            .bind(links.subject)
            .bind(links.kind.as_str())
            .bind(links.valid_for.as_secs_f64())
            .bind(tables)
            .bind(keys)
            .bind(&visitor.address)
            .bind(&visitor.forwarded_for)
            .bind(&visitor.user_agent)
            .bind(&visitor.request_id)
            .fetch_one(&self.pool)
            .await
            .map_err(metadata_failure)
    }

    /// The last element of the address of a link of our own.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn token(&self, grant: &Grant, object_key: &str) -> Result<String, Failure> {
        let claim =
            Claim { grant: grant.id, file: token::file_of(object_key), ends: grant.expires_at.timestamp_micros() };
        Ok(claim.sign(&self.secret().await?))
    }

    /// What became of the link with this token. A token that is not ours asks the database nothing.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn find(&self, token: &str) -> Result<Found, Failure> {
        let Some(claim) = Claim::read(token, &self.secret().await?) else { return Ok(Found::Unknown) };
        let link: Option<Link> = sqlx::query_as(include_str!("sql/find_link.sql"))
            .bind(claim.grant)
            .bind(&claim.file[..])
            .bind(DateTime::from_timestamp_micros(claim.ends))
            .fetch_optional(&self.pool)
            .await
            .map_err(metadata_failure)?;
        Ok(match link {
            None => Found::Unknown,
            Some(link) if link.revoked => Found::Revoked(link),
            Some(link) if link.expired => Found::Expired(link),
            Some(link) => Found::Valid(link),
        })
    }

    /// Writes down that somebody is let through; false if the link has ended meanwhile, and then nobody may be.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`: then nobody may be let through.
    pub async fn redirected(&self, link: &Link, visitor: &Visitor) -> Result<bool, Failure> {
        let written = sqlx::query(include_str!("sql/redirected.sql"))
            .bind(link.grant_id)
            .bind(&link.table_name)
            .bind(&link.object_key)
            .bind(&visitor.address)
            .bind(&visitor.forwarded_for)
            .bind(&visitor.user_agent)
            .bind(&visitor.request_id)
            .execute(&self.pool)
            .await
            .map_err(metadata_failure)?;
        Ok(written.rows_affected() == 1)
    }

    /// Writes down that somebody was turned away, and why.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn refused(&self, link: &Link, why: &str, visitor: &Visitor) -> Result<(), Failure> {
        sqlx::query(include_str!("sql/refused.sql"))
            .bind(link.grant_id)
            .bind(&link.table_name)
            .bind(&link.object_key)
            .bind(&visitor.address)
            .bind(&visitor.forwarded_for)
            .bind(&visitor.user_agent)
            .bind(&visitor.request_id)
            .bind(why)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(metadata_failure)
    }

    /// Ends every link of our own to the files of a job; `None` if the tenant has no such job. New ones may be asked
    /// for: to keep somebody from that, take its key away.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn revoke(&self, tenant: &Tenant, job: JobId, by: &Actor) -> Result<Option<Revocation>, Failure> {
        let mut transaction = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        let revocation: Option<Revocation> = sqlx::query_as(include_str!("sql/revoke.sql"))
            .bind(job.0)
            .bind(tenant.as_str())
            .bind(&by.name)
            .bind(REDIRECT_LIFE.as_secs_f64())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(metadata_failure)?;
        if let Some(revocation) = &revocation {
            let (target, after) = (job.to_string(), serde_json::json!({"revoked": revocation.revoked}));
            let action = Action { tenant, action: "links.revoke", target: &target, before: None, after: Some(after) };
            AuditLog::record(&mut transaction, by, action).await?;
        }
        transaction.commit().await.map_err(metadata_failure)?;
        Ok(revocation)
    }

    /// The key that all replicas share; the first that needs one makes it.
    async fn secret(&self) -> Result<[u8; KEY_BYTES], Failure> {
        let mut cached = self.key.lock().await;
        if let Some(key) = cached.as_ref().filter(|key| key.since.elapsed() < KEY_LIFE) {
            return Ok(key.secret);
        }
        let since = Instant::now();
        sqlx::query("INSERT INTO export_link_key (secret) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(&rand::random::<[u8; KEY_BYTES]>()[..])
            .execute(&self.pool)
            .await
            .map_err(metadata_failure)?;
        let stored: Vec<u8> = sqlx::query_scalar("SELECT secret FROM export_link_key")
            .fetch_one(&self.pool)
            .await
            .map_err(metadata_failure)?;
        let secret = stored.try_into().map_err(|_| {
            Failure::new(
                crate::error::ErrorCode::MetadataUnavailable,
                "the key of links in export_link_key is damaged; delete its row, and ask for new links",
            )
        })?;
        *cached = Some(CachedKey { secret, since });
        Ok(secret)
    }
}
