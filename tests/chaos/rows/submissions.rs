//! A tenant who asks for everything at once, and one who asks for the same thing again and again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::oracle::Oracle;
use crate::stage::{Stage, request};
use crate::table::Row;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle) -> Row {
    let mut row = Row::new("200 submissions at once by a tenant, 50 with one idempotency key");
    stage.crew(3, &[("EXPORTER_MAX_ACTIVE_JOBS_PER_TENANT", "3")]).await;
    let mark = stage.mark().await;
    let (most, stop) = (Arc::new(AtomicI64::new(0)), CancellationToken::new());
    let watching = tokio::spawn({
        let (pool, most, stop) = (stage.metadata.clone(), Arc::clone(&most), stop.clone());
        async move {
            while !stop.is_cancelled() {
                let active = sqlx::query_scalar("SELECT count(*) FROM export_jobs WHERE slot IS NOT NULL");
                most.fetch_max(active.fetch_one(&pool).await.unwrap(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let key = format!(", idempotencyKey: \"{}\"", mark.note);
    let one = request(&["reading_c"], &key);
    let same = join_all((0..50).map(|_| stage.ask(&one))).await;
    let ids: BTreeSet<String> =
        same.iter().flatten().filter_map(|a| Some(a["data"]["requestData"].as_str()?.to_owned())).collect();
    row.exactly(
        "answers to the 50 without an id",
        50 - same.iter().flatten().filter(|a| a["errors"].is_null()).count(),
        0,
    );
    row.exactly("requests that the 50 became", ids.len(), 1);
    let many = request(&["reading_c"], "");
    let answers = join_all((0..200).map(|_| stage.ask(&many))).await;
    let code = |a: &serde_json::Value| Some(a["errors"][0]["extensions"]["code"].as_str()?.to_owned());
    let taken: Vec<String> =
        answers.iter().flatten().filter_map(|a| Some(a["data"]["requestData"].as_str()?.to_owned())).collect();
    let refused = answers.iter().flatten().filter(|a| code(a).as_deref() == Some("TOO_MANY_REQUESTS")).count();
    let other = |a: &serde_json::Value| !a["errors"].is_null() && code(a).as_deref() != Some("TOO_MANY_REQUESTS");
    for answer in same.iter().chain(&answers).filter(|answer| answer.as_ref().is_none_or(other)).take(3) {
        row.saw(format!("an answer to a submission: {answer:?}"));
    }
    row.note("of 200: taken, refused with TOO_MANY_REQUESTS", format!("{}, {refused}", taken.len()));
    row.exactly("of 200: answered otherwise", 200 - taken.len() - refused, 0);
    let desk: &Stage = stage;
    for some in taken.chunks(20) {
        join_all(some.iter().skip(1).map(|id| async move {
            desk.ask(&format!("mutation {{ cancelRequest(requestId: \"{id}\") {{ status }} }}")).await
        }))
        .await;
    }
    let unfinished = oracle.account(stage, mark, &mut row).await;
    let failed = unfinished.iter().filter(|(_, state)| state != "CANCELLED").count();
    row.exactly("requests neither complete nor cancelled", failed, 0);
    stop.cancel();
    watching.await.unwrap();
    row.at_most("most active at once", usize::try_from(most.load(Ordering::Relaxed)).unwrap(), 3);
    row
}
