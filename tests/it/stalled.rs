//! Requests that are stuck: which they are, clearing one, starting it again, and whoever commits in the same moment.

use std::time::Duration;

use data_exporter::error::ErrorCode;
use data_exporter::identity::Actor;
use data_exporter::jobs::{Claim, JobId, JobState, Queue, QueueError, Requests, TableState, Tenant};
use data_exporter::upkeep::{Cleared, StuckRequests};
use serde_json::{Value, json};
use sqlx::postgres::PgPool;

use crate::support::endpoint::Endpoint;
use crate::support::queue::{files, let_leases_run_out, plan, ready, settings, staged, submit, view};

const STALL: Duration = Duration::from_secs(300);

fn desk(pool: &PgPool) -> StuckRequests {
    StuckRequests::new(pool.clone(), STALL)
}

async fn clear(pool: &PgPool, job: JobId, resubmit: bool, force: bool) -> Result<Cleared, ErrorCode> {
    let by = Actor::command_line("operator");
    let cleared = desk(pool).clear(Some(&Tenant::default()), job, resubmit, force, &by).await;
    cleared.map(Option::unwrap).map_err(|failure| failure.code)
}

/// As if nothing had moved for ten minutes.
async fn age(pool: &PgPool) {
    for table in ["export_jobs", "export_job_tables", "export_job_partitions"] {
        let sql = format!("UPDATE {table} SET progress_at = progress_at - interval '10 minutes'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
    }
}

async fn audit(pool: &PgPool) -> Vec<(String, Value, Value)> {
    sqlx::query_as("SELECT actor, before, after FROM admin_audit WHERE action = 'request.clear' ORDER BY id")
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn slots(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM export_jobs WHERE slot IS NOT NULL").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn what_does_not_move_is_listed_with_all_that_is_known_of_it() {
    let (pool, queue) = ready("stalled_list").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 2)]).await;
    queue.claim_partition().await.unwrap().unwrap();
    let_leases_run_out(&pool).await;
    queue.reap().await.unwrap();
    let heir = Queue::new(pool.clone(), settings());
    heir.claim_partition().await.unwrap().unwrap();
    assert!(desk(&pool).list(None).await.unwrap().is_empty(), "it has just moved");
    age(&pool).await;
    let stuck = desk(&pool).list(Some(&Tenant::default())).await.unwrap();
    assert_eq!(stuck.len(), 1);
    let found = &stuck[0];
    assert_eq!((JobId(found.id), found.state.as_str()), (job, "RUNNING"));
    assert!((found.read_at - found.since).num_seconds() >= 600);
    assert_eq!((found.worker, found.crashes, found.attempts), (Some(heir.worker()), 1, 1));
    assert!(found.last_heartbeat.is_some() && found.reaper().contains("took work back"), "{found:?}");
    assert_eq!((found.tables.clone(), found.running, found.waiting), (vec!["cctv".into(), "way".into()], 1, 2));
    assert!(desk(&pool).list(Some(&Tenant::new("acme"))).await.unwrap().is_empty(), "another tenant's");
    // What moves again is not stalled.
    sqlx::raw_sql("UPDATE export_job_partitions SET progress_at = clock_timestamp() WHERE ordinal = 1")
        .execute(&pool)
        .await
        .unwrap();
    assert!(desk(&pool).list(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn clearing_ends_what_is_left_once_and_starts_the_range_again_once() {
    let (pool, queue) = ready("stalled_clear").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 1)]).await;
    let held = queue.claim_partition().await.unwrap().unwrap();
    assert_eq!(clear(&pool, job, false, false).await, Err(ErrorCode::NotStalled), "it goes on");
    age(&pool).await;
    let cleared = clear(&pool, job, true, false).await.unwrap();
    assert_eq!((cleared.state, cleared.already), (JobState::Failed, false));
    let new = cleared.resubmitted_as.unwrap();
    assert_eq!(slots(&pool).await, 0);
    assert!(matches!(queue.complete_partition(&held, staged("late")).await, Err(QueueError::LeaseLost(_))));
    let ended = view(&pool, job).await;
    let error = ended.error.unwrap();
    assert!(error.code == "STALLED" && error.message.contains("operator"), "{error:?}");
    assert!(ended.tables.iter().all(|table| table.error.as_ref().unwrap().code == "STALLED"));
    let again = view(&pool, new).await;
    assert_eq!((again.state, again.window, again.requested_by.as_str()), (JobState::Queued, ended.window, "operator"));

    for _ in 0..2 {
        let cleared = clear(&pool, job, true, false).await.unwrap();
        assert_eq!((cleared.already, cleared.resubmitted_as), (true, Some(new)));
    }
    let audit = audit(&pool).await;
    assert_eq!(audit.len(), 1, "what changed nothing is not written: {audit:?}");
    let (who, before, after) = &audit[0];
    assert_eq!((who.as_str(), before["state"].as_str()), ("operator", Some("RUNNING")));
    assert_eq!(after["resubmittedAs"], new.to_string());
    // The new one can be planned and finished.
    assert_eq!(plan(&queue, &[("way", 1)]).await.job, new);
}

#[tokio::test]
async fn a_range_whose_table_was_disabled_is_not_started_again_and_not_cleared_for_it() {
    let (pool, queue) = ready("stalled_disabled").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 1)]).await;
    age(&pool).await;
    sqlx::raw_sql("UPDATE export_tables SET enabled = false WHERE table_name = 'way'").execute(&pool).await.unwrap();
    let by = Actor::command_line("operator");
    let refused = desk(&pool).clear(None, job, true, false, &by).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TableNotOffered);
    assert!(refused.message.contains("'way'") && refused.message.contains("not cleared"), "{}", refused.message);
    assert_eq!(view(&pool, job).await.state, JobState::Running, "nothing was changed");
    assert!(audit(&pool).await.is_empty());
    assert_eq!(clear(&pool, job, false, false).await.unwrap().state, JobState::Failed);
    assert_eq!(clear(&pool, job, true, false).await, Err(ErrorCode::TableNotOffered));
    sqlx::raw_sql("UPDATE export_tables SET enabled = true").execute(&pool).await.unwrap();
    assert!(clear(&pool, job, true, false).await.unwrap().resubmitted_as.is_some());
    assert_eq!(audit(&pool).await.len(), 2);
}

#[tokio::test]
async fn what_waits_or_has_ended_is_not_cleared_and_what_moves_only_by_force() {
    let (pool, queue) = ready("stalled_force").await;
    let waiting = submit(&pool, "default").await;
    assert_eq!(clear(&pool, waiting, false, true).await, Err(ErrorCode::NotStalled));
    let task = queue.claim_plan().await.unwrap().unwrap();
    assert_eq!(clear(&pool, waiting, false, false).await, Err(ErrorCode::NotStalled));
    assert_eq!(clear(&pool, waiting, false, true).await.unwrap().state, JobState::Failed, "while it was planned");
    assert!(matches!(queue.finish_plan(&task, 1, Vec::new()).await, Err(QueueError::LeaseLost(_))));

    let cancelled = submit(&pool, "default").await;
    Requests::new(pool.clone()).cancel(&Tenant::default(), cancelled, "x").await.unwrap();
    age(&pool).await;
    assert_eq!(clear(&pool, cancelled, true, true).await, Err(ErrorCode::NotStalled));
    let by = Actor::command_line("operator");
    assert!(desk(&pool).clear(Some(&Tenant::new("acme")), waiting, false, true, &by).await.unwrap().is_none());
}

/// Against the commit of the last table: either it is complete and clearing is refused, or it is cleared and the commit
/// finds its lease lost. A sealed one is given to somebody else to finish.
#[tokio::test]
async fn against_completion_one_of_both_wins() {
    let (pool, queue) = ready("stalled_race").await;
    let mut seen = [0, 0];
    for round in 0..30_u64 {
        let job = submit(&pool, "default").await;
        plan(&queue, &[("way", 1)]).await;
        let task = queue.claim_partition().await.unwrap().unwrap();
        queue.complete_partition(&task, staged(&format!("s{round}"))).await.unwrap();
        let table = queue.claim_table().await.unwrap().unwrap();
        age(&pool).await;
        let sealed = round % 3 == 0;
        if sealed {
            queue.seal(&table).await.unwrap();
        }
        let finishing = async {
            tokio::time::sleep(Duration::from_millis(30 - round)).await;
            queue.complete_table(&table, files(), "s3://b/m".to_owned()).await
        };
        let clearing = async {
            tokio::time::sleep(Duration::from_millis(round)).await;
            clear(&pool, job, false, false).await
        };
        let (finished, cleared) = tokio::join!(finishing, clearing);
        let mut ended = view(&pool, job).await;
        match (finished, cleared) {
            (Ok(()), Err(ErrorCode::NotStalled)) => {
                assert_eq!(ended.state, JobState::Completed, "round {round}");
                seen[0] += 1;
            }
            (Err(QueueError::LeaseLost(_)), Ok(cleared)) => {
                if sealed {
                    assert_eq!(cleared.state, JobState::Cancelling);
                    let again = queue.claim_table().await.unwrap().unwrap();
                    queue.complete_table(&again, files(), "s3://b/m".to_owned()).await.unwrap();
                    queue.end_jobs().await.unwrap();
                    ended = view(&pool, job).await;
                    assert_eq!(ended.state, JobState::Completed, "nothing was left to be ended");
                } else {
                    assert_eq!((cleared.state, ended.state), (JobState::Failed, JobState::Failed), "round {round}");
                    assert_eq!(ended.tables[0].state, TableState::Failed);
                }
                seen[1] += 1;
            }
            other => panic!("round {round}: {other:?}"),
        }
        assert_eq!(slots(&pool).await, 0, "round {round}");
    }
    assert!(seen.iter().all(|times| *times > 0), "the race was never close: {seen:?}");
}

/// A job whose cancellation hangs on a worker that heartbeats and does not let go.
#[tokio::test]
async fn a_cancellation_that_does_not_end_can_be_cleared() {
    let (pool, queue) = ready("stalled_cancelling").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let held = queue.claim_partition().await.unwrap().unwrap();
    Requests::new(pool.clone()).cancel(&Tenant::default(), job, "x").await.unwrap();
    age(&pool).await;
    assert_eq!(desk(&pool).list(None).await.unwrap()[0].state, "CANCELLING");
    assert_eq!(clear(&pool, job, false, false).await.unwrap().state, JobState::Failed);
    queue.abandon(&Claim::Partition(held.id, held.epoch)).await.unwrap();
    assert_eq!(slots(&pool).await, 0);
}

#[tokio::test]
async fn over_graphql_they_are_listed_and_cleared() {
    let endpoint = Endpoint::start("stalled_graphql").await;
    let queue = Queue::new(endpoint.pool.clone(), settings());
    let job = submit(&endpoint.pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    age(&endpoint.pool).await;
    let list = "{ stalledRequests { requestId state tables idleSeconds reaper worker lastError { code } } }";
    let listed = endpoint.data(list, json!({})).await;
    let found = &listed["stalledRequests"][0];
    assert_eq!((found["requestId"].as_str(), found["state"].as_str()), (Some(&*job.to_string()), Some("RUNNING")));
    assert!(found["idleSeconds"].as_i64().unwrap() >= 600);
    let clear = "mutation ($id: String!) { clearStalledRequest(requestId: $id, resubmit: true) { requestId state resubmittedAs alreadyCleared } }";
    let id = json!({"id": job.to_string()});
    let cleared = endpoint.data(clear, id.clone()).await["clearStalledRequest"].take();
    assert_eq!((cleared["state"].as_str(), cleared["alreadyCleared"].as_bool()), (Some("FAILED"), Some(false)));
    let again = endpoint.data(clear, id).await["clearStalledRequest"].take();
    assert_eq!(again["resubmittedAs"], cleared["resubmittedAs"]);
    let (code, _) = endpoint.refusal(clear, json!({"id": "nobody's"})).await;
    assert_eq!(code, "NOT_FOUND");
    let fresh = cleared["resubmittedAs"].as_str().unwrap();
    let (code, message) = endpoint.refusal(clear, json!({"id": fresh})).await;
    assert!(code == "NOT_STALLED" && message.contains("waits"), "{message}");
    assert_eq!(endpoint.data(list, json!({})).await["stalledRequests"], json!([]));
}
