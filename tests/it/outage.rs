//! The queue's own database away while something is worked on: that is nobody's failed attempt and nobody's crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{Claim, JobState, Queue, QueueError, QueueSettings, Retry};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::startup;
use data_exporter::warehouse::postgres::PostgresOptions;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use url::Url;

use crate::line::{Line, Mode};
use crate::support::cluster;
use crate::support::days;
use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;
use crate::support::queue::{plan, ready, settings, staged, submit, view};
use crate::support::s3;

/// From now on, so many of these statements on a table fail as they do while a server shuts down.
async fn away(pool: &PgPool, times: i64, table: &str, event: &str, condition: &str) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("away_{table}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let statements = format!(
        "CREATE SEQUENCE {name};
         CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('{name}') <= {times} THEN
                 RAISE EXCEPTION 'terminating connection' USING ERRCODE = '57P01';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {name}()"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await.unwrap();
}

async fn worker(platform: &Platform) -> Running {
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    Running::with_settings(platform, warehouse, store, PipelineSettings::default())
}

/// Most attempts and crashes of anything, and how many objects were begun.
async fn counted(pool: &PgPool) -> (i32, i32, i64) {
    sqlx::query_as(
        "SELECT max(attempts), max(crashes), (SELECT count(*) FROM export_staged_objects) FROM (
             SELECT attempts, crashes FROM export_jobs UNION ALL SELECT attempts, crashes FROM export_job_tables
             UNION ALL SELECT attempts, crashes FROM export_job_partitions) AS counted",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_finished_while_the_database_is_away_is_committed_when_it_is_back() {
    let platform = Platform::sample("outage_commit", 8_000).await;
    away(&platform.metadata, 2, "export_jobs", "UPDATE", "OLD.state = 'PLANNING' AND NEW.state = 'RUNNING'").await;
    away(&platform.metadata, 3, "export_job_partitions", "UPDATE", "NEW.state = 'COMPLETED'").await;
    away(&platform.metadata, 3, "export_job_tables", "UPDATE", "NEW.state = 'COMPLETED'").await;
    let worker = worker(&platform).await;
    let view = worker.finished(worker.request(&["vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    assert_eq!(counted(&platform.metadata).await, (1, 0, 1), "nothing was done twice");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_goes_on_when_the_database_is_back() {
    let platform = Platform::sample("outage_publication", 8_000).await;
    // What is recorded of it on the way: the names of its files, that it is sealed, the manifest's text.
    for column in ["publication", "sealed_at", "manifest"] {
        let condition = format!("OLD.{column} IS NULL AND NEW.{column} IS NOT NULL");
        away(&platform.metadata, 2, "export_job_tables", "UPDATE", &condition).await;
    }
    let worker = worker(&platform).await;
    let view = worker.finished(worker.request(&["vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    assert_eq!(counted(&platform.metadata).await, (1, 0, 1), "nothing was done twice");
    worker.stop().await;
}

/// The one question of a publication that only reads: a trigger cannot refuse it, a view can.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_restated_table_supersedes_is_asked_for_until_the_database_is_back() {
    let platform = days::platform_of("outage_superseded", &["a"]).await;
    let (day, worker) = (days::day("UTC", "2026-03-02"), days::worker(&platform).await);
    let (first, _) = days::told(&platform, &day, None).await;
    let question = include_str!("../../src/jobs/sql/days/superseded.sql").lines().next().unwrap().replace('\'', "''");
    let away = format!(
        "CREATE SEQUENCE asked;
         CREATE FUNCTION answers() RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
             IF starts_with(current_query(), '{question}') AND nextval('asked') <= 3 THEN
                 RAISE EXCEPTION 'terminating connection' USING ERRCODE = '57P01';
             END IF;
             RETURN true;
         END $$;
         ALTER TABLE table_export_job_statuses RENAME TO statuses;
         CREATE VIEW table_export_job_statuses AS SELECT * FROM statuses WHERE answers()"
    );
    sqlx::raw_sql(AssertSqlSafe(away)).execute(&platform.metadata).await.unwrap();
    let (second, succeeded) = days::told(&platform, &day, None).await;
    assert!(succeeded, "{second}");
    let asked: i64 = sqlx::query_scalar("SELECT last_value FROM asked").fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(asked, 4, "asked in vain three times");
    let rows = |summary: &serde_json::Value| summary["tables"][0]["rows"].as_i64();
    assert!(rows(&first).is_some(), "{first}");
    assert_eq!(second["tables"][0]["supersedes"]["rows"].as_i64(), rows(&first), "{second}");
    let (attempts, crashes, _) = counted(&platform.metadata).await;
    assert_eq!((attempts, crashes), (1, 0), "nothing was done twice");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_could_not_be_recorded_does_not_count() {
    let platform = Platform::sample("outage_attempt", 8_000).await;
    // More often than a partition may fail.
    away(&platform.metadata, 5, "export_staged_objects", "INSERT", "true").await;
    let worker = worker(&platform).await;
    let view = worker.finished(worker.request(&["vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let (attempts, crashes, _) = counted(&platform.metadata).await;
    assert_eq!((attempts, crashes), (1, 0));
    worker.stop().await;
}

/// The answer to a claim comes when a third of its lease is over, or all but all of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_late_is_renewed_at_once_or_put_back_and_costs_nothing() {
    for (seconds, epochs) in [(2.2, 1), (5.1, 2)] {
        let platform = Platform::sample(&format!("outage_late_claim_{epochs}"), 8_000).await;
        for (table, state) in
            [("export_jobs", "PLANNING"), ("export_job_partitions", "RUNNING"), ("export_job_tables", "FINALIZING")]
        {
            // A lease holds for 6 s, from before this on; nobody takes it back, so that whoever has it must let go.
            let slow = format!(
                "CREATE SEQUENCE slow_{table};
                 CREATE FUNCTION slow_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                     IF nextval('slow_{table}') = 1 THEN
                         PERFORM pg_sleep({seconds});
                         NEW.lease_until := clock_timestamp() + interval '30 s';
                     END IF;
                     RETURN NEW;
                 END $$;
                 CREATE TRIGGER slow BEFORE UPDATE ON {table} FOR EACH ROW
                     WHEN (NEW.state = '{state}' AND OLD.worker IS NULL AND NEW.worker IS NOT NULL)
                     EXECUTE FUNCTION slow_{table}()"
            );
            sqlx::raw_sql(AssertSqlSafe(slow)).execute(&platform.metadata).await.unwrap();
        }
        let worker = worker(&platform).await;
        let view = worker.finished(worker.request(&["vms"]).await).await;
        assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
        assert_eq!(counted(&platform.metadata).await, (1, 0, 1), "{seconds} s");
        let found: Vec<i64> = sqlx::query_scalar(
            "SELECT lease_epoch FROM export_jobs UNION ALL SELECT lease_epoch FROM export_job_tables
             UNION ALL SELECT lease_epoch FROM export_job_partitions",
        )
        .fetch_all(&platform.metadata)
        .await
        .unwrap();
        assert!(found.iter().all(|found| *found >= epochs), "{seconds} s: {found:?}");
        worker.stop().await;
    }
}

/// What stands between takes connections and hangs up, as balancers do while the server is away.
#[tokio::test]
async fn a_proxy_that_hangs_up_is_a_database_that_is_away() {
    let (pool, _) = ready("outage_proxy").await;
    let server: Url = cluster::url("outage_proxy").parse().unwrap();
    let line = Line::to(server.port().unwrap()).await;
    let mut through = server.clone();
    through.set_port(Some(line.port)).unwrap();
    let through = PgPoolOptions::new().max_connections(2).connect(through.as_str()).await.unwrap();
    let queue = Queue::new(through, QueueSettings { lease: Duration::from_secs(60), ..settings() });
    submit(&pool, "default").await;
    plan(&queue, &[("way", 2)]).await;
    let (first, second) =
        (queue.claim_partition().await.unwrap().unwrap(), queue.claim_partition().await.unwrap().unwrap());
    line.set(Mode::Cut);
    let back = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        line.set(Mode::Open);
    };
    let claim = Claim::Partition(second.id, second.epoch);
    let (completed, released, ()) =
        tokio::join!(queue.complete_partition(&first, staged("s")), queue.release(&claim), back);
    completed.unwrap();
    released.unwrap();
}

/// A plan that fails for good is ended when the database is back, by the worker that knows why.
#[tokio::test]
async fn a_plan_that_failed_is_ended_when_the_database_is_back() {
    let (pool, queue) = ready("outage_plan").await;
    let job = submit(&pool, "default").await;
    let task = queue.claim_plan().await.unwrap().unwrap();
    away(&pool, 2, "export_jobs", "UPDATE", "NEW.state = 'FAILED'").await;
    let failure = Failure::new(ErrorCode::RulesInvalid, "the rules cannot be read");
    queue.fail_plan(&task, &failure, Retry::Never).await.unwrap();
    let view = view(&pool, job).await;
    assert_eq!((view.state, view.error.unwrap().code.as_str()), (JobState::Failed, "RULES_INVALID"));
}

/// The answer to the first time may have been lost.
#[tokio::test]
async fn an_attempt_is_recorded_as_often_as_it_takes() {
    let (pool, queue) = ready("outage_recorded").await;
    submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let task = queue.claim_partition().await.unwrap().unwrap();
    for _ in 0..2 {
        queue.record_attempt(&task, "key").await.unwrap();
        queue.record_upload(&task, "key", "upload").await.unwrap();
    }
    // Clean-up has been here: whoever asks again has lost the lease long ago.
    sqlx::raw_sql("UPDATE export_staged_objects SET removed_at = clock_timestamp()").execute(&pool).await.unwrap();
    assert!(matches!(queue.record_attempt(&task, "key").await, Err(QueueError::LeaseLost(_))));
}

/// A claim whose answer was lost on its way: the worker lives and knows nothing of it.
#[tokio::test]
async fn a_lease_that_a_living_worker_never_heard_of_is_no_crash() {
    let (pool, _) = ready("outage_claim").await;
    let long = QueueSettings { lease: Duration::from_secs(60), ..settings() };
    let queue = Queue::new(pool.clone(), long);
    submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 3)]).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(queue.claim_partition().await.unwrap().unwrap());
    }
    let reaper = Queue::new(pool.clone(), long);
    // Renewed so long ago, each for a minute.
    let renewed = async |id: i64, ago: f64| {
        let sql = "UPDATE export_job_partitions SET heartbeat_at = clock_timestamp() - make_interval(secs => $2),
                   lease_until = clock_timestamp() - make_interval(secs => $2 - 60.0) WHERE id = $1";
        sqlx::query(sql).bind(id).bind(ago).execute(&pool).await.unwrap();
    };
    let crashes = async |id: i64| -> i32 {
        let sql = "SELECT crashes FROM export_job_partitions WHERE id = $1 AND state = 'PENDING'";
        sqlx::query_scalar(sql).bind(id).fetch_one(&pool).await.unwrap()
    };
    renewed(held[0].id, 65.0).await;
    renewed(held[1].id, 20.0).await;
    // What it has done since tells as much as what it still does.
    queue.complete_partition(&held[1], staged("s")).await.unwrap();
    assert_eq!(reaper.reap().await.unwrap(), 1);
    assert_eq!(crashes(held[0].id).await, 0, "its worker has renewed what it knows of since");
    // A worker that died had not renewed everything in one moment either: some of it was claimed later.
    let aged = "UPDATE export_job_partitions SET heartbeat_at = clock_timestamp() - interval '70 s' WHERE id = $1";
    sqlx::query(aged).bind(held[1].id).execute(&pool).await.unwrap();
    renewed(held[2].id, 65.0).await;
    renewed(held[3].id, 46.0).await;
    assert_eq!(reaper.reap().await.unwrap(), 1);
    assert_eq!(crashes(held[2].id).await, 1);
}

/// Frozen, or cut off without a word: its connection stays open, and the server cannot tell.
#[tokio::test]
async fn who_stops_in_the_middle_of_a_transaction_keeps_nobody_waiting() {
    let (pool, _) = ready("outage_locks").await;
    submit(&pool, "default").await;
    let (frozen, _) = startup::connect_metadata(&cluster::url("outage_locks").into()).await.unwrap();
    let mut transaction = frozen.begin().await.unwrap();
    let locked = "SELECT id FROM export_jobs FOR UPDATE";
    sqlx::query(locked).execute(&mut *transaction).await.unwrap();
    // Waits for as long as it takes; without an end to it this test has none.
    let waits = tokio::time::timeout(Duration::from_secs(90), sqlx::query(locked).execute(&pool)).await;
    waits.expect("the lock is never given back").unwrap();
    assert!(sqlx::query("SELECT 1").execute(&mut *transaction).await.is_err(), "its transaction is over");
}
