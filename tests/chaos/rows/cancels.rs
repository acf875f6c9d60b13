//! Requests cancelled in mid-upload, every second one while a worker of it is frozen.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::oracle::Oracle;
use crate::stage::{Stage, TABLES, until};
use crate::store::Storm;
use crate::support::s3;
use crate::table::Row;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, random: &mut StdRng, times: usize) -> Row {
    let mut row = Row::new(format!("cancelled {times} times, half of them with a worker frozen"));
    stage.crew(3, &[]).await;
    stage.store.order(Storm::Slow(40_000)).await;
    let mark = stage.mark().await;
    let (mut aborted, mut with_frozen) = (Vec::new(), Vec::new());
    for time in 0..times {
        let job = stage.request(&TABLES).await;
        let uploading = format!(
            "SELECT min(p.worker::text)::uuid FROM export_job_partitions AS p
             JOIN export_staged_objects AS s ON s.partition_id = p.id AND s.lease_epoch = p.lease_epoch
             WHERE p.job_id = '{job}' AND p.state = 'RUNNING' AND s.upload_id IS NOT NULL"
        );
        until("something is being uploaded", || async { stage.one::<Option<Uuid>>(&uploading).await.is_some() }).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
        let holder: Option<Uuid> = stage.one(&uploading).await;
        let frozen = stage.workers.iter().find(|worker| time % 2 == 1 && Some(worker.id) == holder);
        if let Some(worker) = frozen {
            worker.signal("STOP");
        }
        let asked = Instant::now();
        let answer = stage.ask(&format!("mutation {{ cancelRequest(requestId: \"{job}\") {{ status }} }}")).await;
        assert!(answer.is_some_and(|answer| answer["errors"].is_null()));
        until("its uploads are gone", || async { uploads(stage, job).await == 0 }).await;
        if frozen.is_some() { &mut with_frozen } else { &mut aborted }.push(asked.elapsed());
        if let Some(worker) = frozen {
            until("it is cancelled without the frozen one", || async {
                stage.one(&format!("SELECT slot IS NULL FROM export_jobs WHERE id = '{job}'")).await
            })
            .await;
            worker.signal("CONT");
        }
    }
    stage.store.order(Storm::Calm).await;
    let unfinished = oracle.account(stage, mark, &mut row).await;
    // What was still being written when it was told has been aborted or deleted by now, or is recorded to be.
    let deadline = Instant::now() + Duration::from_secs(30);
    let left = loop {
        let recorded: Vec<(String,)> =
            stage.all("SELECT staging_key FROM export_staged_objects WHERE removed_at IS NULL").await;
        let stored = staged(stage).await;
        let left = recorded.len().max(stored.len());
        if left == 0 || Instant::now() > deadline {
            row.saw(format!("recorded: {recorded:?}; in the bucket: {stored:?}"));
            break left;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let otherwise = unfinished.iter().filter(|(_, state)| state != "CANCELLED").count();
    row.note("requests cancelled", unfinished.len() - otherwise);
    row.exactly("requests that ended otherwise", otherwise, 0);
    row.times("from cancelling to aborted uploads", aborted, Some(Duration::from_secs(5)));
    row.times("the same with a frozen worker", with_frozen, None);
    row.exactly("staged objects and uploads left", left, 0);
    row
}

/// Open uploads of a job.
async fn uploads(stage: &Stage, job: Uuid) -> usize {
    let client = s3::bare_client(&stage.store.endpoint);
    let prefix = format!("dev/_staging/{job}/");
    let open = client.list_multipart_uploads().bucket(s3::BUCKET).prefix(prefix).send().await.unwrap();
    open.uploads().len()
}

/// Objects and open uploads under staging names.
async fn staged(stage: &Stage) -> Vec<String> {
    let client = s3::bare_client(&stage.store.endpoint);
    let objects = client.list_objects_v2().bucket(s3::BUCKET).prefix("dev/_staging/").send().await.unwrap();
    let open = client.list_multipart_uploads().bucket(s3::BUCKET).send().await.unwrap();
    let objects = objects.contents().iter().filter_map(|object| object.key());
    objects.chain(open.uploads().iter().filter_map(|upload| upload.key())).map(str::to_owned).collect()
}
