//! The demo: it ends with 0 only after everything was compared, starts again on what it left, and leaves nothing running.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::platform::bare_program;

/// A folder that the account of PostgreSQL can enter, also when this runs as root.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("exporter-demo-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn demo(folder: &Path, more: &[&str]) -> tokio::process::Command {
    let mut arguments = vec!["demo", "--rows", "6000", "--data-dir", folder.to_str().unwrap()];
    arguments.extend(more);
    bare_program(&arguments)
}

/// The process that PostgreSQL's own file names still runs.
fn postgres_runs(folder: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join("postgres/cluster/postmaster.pid")) else { return false };
    // Just made, and not written yet.
    let Some(process) = text.lines().next() else { return false };
    Path::new("/proc").join(process.trim()).join("cmdline").exists()
}

#[tokio::test]
async fn once_compares_every_table_and_the_second_start_finds_the_first() {
    let folder = folder();
    // Settings of a real installation are around; the demo must not meet them.
    let mut first = demo(folder.path(), &["--once", "--json"]);
    first.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").env("EXPORTER_BUCKET", "real-bucket");
    for mut command in [first, demo(folder.path(), &["--once", "--json"])] {
        let done = command.output().await.unwrap();
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["status"]["status"], "Completed");
        let compared = report["compared"].as_object().unwrap();
        assert_eq!(compared.len(), 7);
        assert!(compared.values().all(|rows| rows.as_i64().unwrap() > 0), "{compared:?}");
        // By the schedule the table without a time, too.
        let nightly = report["scheduled"].as_object().unwrap();
        assert_eq!(nightly.len(), 8);
        assert!(compared.iter().all(|(table, rows)| nightly[table] == *rows), "{nightly:?}");
        assert!(nightly["road_class_reference"].as_i64().unwrap() > 0);
        assert!(!postgres_runs(folder.path()));
    }
}

#[tokio::test]
async fn it_stays_up_until_ctrl_c_and_ends_what_it_started() {
    let folder = folder();
    let mut child = demo(folder.path(), &["--port", "0"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut address = String::new();
    while let Some(line) = said.next_line().await.unwrap() {
        if let Some(url) = line.strip_prefix("GraphiQL").map(str::trim) {
            address = url.to_owned();
            break;
        }
        assert!(Instant::now() < deadline);
    }
    let page = reqwest::get(&address).await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(postgres_runs(folder.path()));
    let process = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(!postgres_runs(folder.path()));
}

#[tokio::test]
async fn a_demo_that_is_killed_takes_its_postgres_with_it() {
    let folder = folder();
    let mut child = demo(folder.path(), &["--port", "0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !postgres_runs(folder.path()) {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while postgres_runs(folder.path()) {
        assert!(Instant::now() < deadline, "PostgreSQL outlived its exporter");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let again = demo(folder.path(), &["--once"]).output().await.unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
}
