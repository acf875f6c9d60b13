//! One look at a job for everybody who watches it, at most every half second. Watchers are given the latest only:
//! whoever is slow misses what lies between, and nothing is kept for him.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::error::Failure;
use crate::jobs::{JobId, JobView, Requests, Tenant};

/// Between two looks at a job.
const EVERY: Duration = Duration::from_millis(500);
/// The same after the database has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Looks at once, so that watchers leave most connections to the database to those who ask.
const LOOKS: usize = 2;

/// What is known of a job.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Where it is.
    Job(Box<JobView>),
    /// The tenant has none of this id.
    Unknown,
    /// It could not be looked at.
    Failed(Failure),
}

impl News {
    fn is_last(&self) -> bool {
        match self {
            Self::Job(job) => job.state.is_final(),
            Self::Unknown | Self::Failed(_) => true,
        }
    }

    /// Whether somebody who knows `before` learns nothing from this.
    fn is_known_by(&self, before: &Option<Self>) -> bool {
        match (self, before) {
            (Self::Job(now), Some(Self::Job(before))) => {
                **now == JobView { read_at: now.read_at, ..(**before).clone() }
            }
            _ => false,
        }
    }
}

type Key = (Tenant, JobId);
type Watched = HashMap<Key, watch::Sender<Option<News>>>;

/// The jobs that are watched.
#[derive(Debug, Clone)]
pub(in crate::api::graphql) struct Hub {
    requests: Requests,
    watched: Arc<Mutex<Watched>>,
    looks: Arc<Semaphore>,
}

/// Somebody who watches a job.
#[derive(Debug)]
pub(super) struct Watcher {
    receiver: watch::Receiver<Option<News>>,
    ended: bool,
}

impl Hub {
    pub(in crate::api::graphql) fn new(requests: Requests) -> Self {
        Self { requests, watched: Arc::default(), looks: Arc::new(Semaphore::new(LOOKS)) }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a job of this tenant, beginning with where it is now.
    pub(super) fn watch(&self, tenant: Tenant, job: JobId) -> Watcher {
        let key = (tenant, job);
        let mut watched = self.lock();
        let receiver = match watched.get(&key) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = watch::channel(None);
                watched.insert(key.clone(), sender);
                tokio::spawn(self.clone().look(key));
                receiver
            }
        };
        let mut receiver = receiver;
        receiver.mark_changed();
        Watcher { receiver, ended: false }
    }

    /// Looks at a job until it ends or nobody watches any more.
    async fn look(self, key: Key) {
        let mut first = true;
        loop {
            let found = match self.looks.acquire().await {
                Ok(_look) => self.requests.find(&key.0, key.1).await,
                Err(_) => return,
            };
            let pause = if found.is_err() { AFTER_FAILURE } else { EVERY };
            let news = match found {
                Ok(Some(job)) => Some(News::Job(Box::new(job))),
                Ok(None) => Some(News::Unknown),
                // Whoever has just come is told; who has watched for a while need not notice a short absence.
                Err(failure) if first => Some(News::Failed(failure)),
                Err(_) => None,
            };
            first = false;
            if self.tell(&key, news) {
                return;
            }
            sleep(pause).await;
        }
    }

    /// Tells the watchers, and whether there is nobody left to be told or nothing left to tell. Under the lock, so
    /// that nobody begins to watch what is about to be forgotten.
    fn tell(&self, key: &Key, news: Option<News>) -> bool {
        let mut watched = self.lock();
        let Some(sender) = watched.get(key) else { return true };
        let last = news.as_ref().is_some_and(News::is_last);
        if let Some(news) = news {
            sender.send_if_modified(|before| {
                let modified = !news.is_known_by(before);
                *before = Some(news);
                modified
            });
        }
        let over = last || sender.receiver_count() == 0;
        if over {
            watched.remove(key);
        }
        over
    }
}

impl Watcher {
    /// What has changed since the last time; `None` after the end.
    pub(super) async fn next(&mut self) -> Option<News> {
        while !self.ended {
            if self.receiver.changed().await.is_err() {
                self.ended = true;
                return None;
            }
            if let Some(news) = self.receiver.borrow_and_update().clone() {
                self.ended = news.is_last();
                return Some(news);
            }
        }
        None
    }
}
