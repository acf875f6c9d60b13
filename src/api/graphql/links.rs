//! Links on their way into an answer: made, written down, and only then shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::LinkSettings;
use super::super::auth::Identity;
use crate::error::Failure;
use crate::jobs::{JobKind, JobState, JobView, TableState};
use crate::links::{HandOut, LinkBook, LinkKind, Visitor};
use crate::storage::{ObjectKey, ObjectStore};

/// What making links needs.
pub(super) struct Links {
    pub(super) book: LinkBook,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) settings: LinkSettings,
}

/// The links of one answer.
#[derive(Clone)]
pub(super) struct HandedOut {
    pub(super) urls: BTreeMap<String, Vec<String>>,
    /// When the first of them ends; `None` without links.
    pub(super) expires_at: Option<DateTime<Utc>>,
}

impl Links {
    /// A link for every published file. The files of an expired job are gone, so nothing leads to them.
    pub(super) async fn hand_out(
        &self,
        job: &JobView,
        identity: &Identity,
        visitor: &Visitor,
    ) -> Result<HandedOut, Failure> {
        let published = job.tables.iter().filter(|table| table.state == TableState::Completed);
        let files: Vec<(String, String)> = published
            .filter(|_| job.state != JobState::Expired)
            .flat_map(|table| table.files.iter().map(|file| (table.name.to_string(), file.key.clone())))
            .collect();
        let ttl = self.life_left(job);
        if files.is_empty() || ttl.is_zero() {
            return Ok(HandedOut { urls: BTreeMap::new(), expires_at: None });
        }
        let links = |kind, valid_for| HandOut {
            job: job.id,
            tenant: &job.tenant,
            subject: &identity.subject,
            kind,
            valid_for,
            files: &files,
        };
        let mut urls: BTreeMap<String, Vec<String>> = BTreeMap::new();
        match &self.settings.redirect_to {
            None => {
                let (signed, shortest, longest) = self.presign(&files, ttl).await?;
                for ((table, _), url) in files.iter().zip(signed) {
                    urls.entry(table.clone()).or_default().push(url);
                }
                self.book.hand_out(&links(LinkKind::Presigned, longest), visitor).await?;
                // Counted from when the job was read, just before: never later than the truth.
                let life = TimeDelta::from_std(shortest).ok();
                let expires_at = life.and_then(|life| job.read_at.checked_add_signed(life));
                Ok(HandedOut { urls, expires_at })
            }
            Some(public_url) => {
                let grant = self.book.hand_out(&links(LinkKind::Redirect, ttl), visitor).await?;
                for (table, key) in &files {
                    let token = self.book.token(&grant, key).await?;
                    urls.entry(table.clone()).or_default().push(format!("{public_url}/v1/files/{token}"));
                }
                Ok(HandedOut { urls, expires_at: Some(grant.expires_at) })
            }
        }
    }

    /// How long a link to the job's files may work: never longer than they are kept, or it would lead to nothing.
    fn life_left(&self, job: &JobView) -> Duration {
        let Some(ended) = job.completed_at.filter(|_| job.kind == JobKind::OnDemand) else { return self.settings.ttl };
        let age = (job.read_at - ended).to_std().unwrap_or_default();
        let left = Duration::from_secs(self.settings.retention.saturating_sub(age).as_secs());
        left.min(self.settings.ttl)
    }

    /// Signed links in the order of the files, and how long the first and the last of them to end work.
    async fn presign(
        &self,
        files: &[(String, String)],
        ttl: Duration,
    ) -> Result<(Vec<String>, Duration, Duration), Failure> {
        let mut urls = Vec::with_capacity(files.len());
        let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
        for (_, key) in files {
            let link = self.store.presign_get(&ObjectKey::new(key.as_str())?, ttl).await?;
            (shortest, longest) = (shortest.min(link.valid_for), longest.max(link.valid_for));
            urls.push(link.url);
        }
        Ok((urls, shortest, longest))
    }
}
