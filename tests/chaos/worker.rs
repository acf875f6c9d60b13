//! Workers: processes of the real program, each over a line of its own to the metadata database, and what they wrote.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::process::Child;
use uuid::Uuid;

use crate::line::Line;

/// One process.
#[derive(Debug)]
pub(crate) struct Worker {
    /// As the queue knows it.
    pub(crate) id: Uuid,
    pub(crate) child: Child,
    pub(crate) line: Line,
    pub(crate) log: PathBuf,
}

impl Worker {
    /// Waits until it works, and learns its id.
    pub(crate) async fn ready(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.id.is_nil() {
            let said = self.said(DateTime::UNIX_EPOCH, &["worker started"]);
            let id = said.first().and_then(|(_, line)| line.split("worker=").nth(1)?.split_whitespace().next());
            self.id = id.and_then(|id| id.parse().ok()).unwrap_or_default();
            let ended = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "a worker did not start: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let Some(process) = self.child.id() else { return };
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
        assert!(sent.unwrap().success(), "kill -{name} {process}");
    }

    /// Waits for its end and tells its exit code.
    pub(crate) async fn ended(&mut self, patience: Duration) -> Option<i32> {
        tokio::time::timeout(patience, self.child.wait()).await.ok()?.unwrap().code()
    }

    /// The most memory that it ever had, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        let status = self.child.id().and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok());
        let peak = status.as_deref().unwrap_or_default().lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// What it wrote from `since` on that holds one of these, with its time.
    pub(crate) fn said(&self, since: DateTime<Utc>, any: &[&str]) -> Vec<(DateTime<Utc>, String)> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().filter(|line| any.iter().any(|part| line.contains(part)));
        lines
            .filter_map(|line| {
                let at = line.split_whitespace().next()?.parse().ok()?;
                Some((at, line.to_owned()))
            })
            .filter(|(at, _)| *at >= since)
            .collect()
    }
}
