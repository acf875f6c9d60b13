//! What the store does when a server misbehaves, shown with the faults of local mode's server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use data_exporter::local::s3::{Fault, LocalS3, Operation};
use data_exporter::storage::s3::{S3Settings, S3Store};
use data_exporter::storage::{ObjectStore, PutOutcome, StorageError, UploadId, UploadedPart};

use crate::support::s3::{ACCESS_KEY, BUCKET, MIB, SECRET_KEY, key, local, noise};

/// An upload of two parts that is ready to be completed, and its size.
async fn ready(store: &S3Store, at: &str) -> (UploadId, Vec<UploadedPart>, u64) {
    let at = key(at);
    let id = store.create_multipart(&at, "text/plain").await.unwrap();
    let mut parts = Vec::new();
    for (number, size) in [(1, 5 * MIB), (2, 10)] {
        parts.push(store.upload_part(&at, &id, number, noise(number.into(), size)).await.unwrap());
    }
    (id, parts, 5 * MIB as u64 + 10)
}

async fn started() -> (tempfile::TempDir, LocalS3, S3Store) {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let store = server.store(BUCKET).await.unwrap();
    (dir, server, store)
}

#[tokio::test]
async fn passing_faults_are_tried_again() {
    let (_dir, server, store) = started().await;
    let faults = server.faults();
    let at = key("passing");
    store.put_if_absent(&at, Bytes::from_static(b"here"), "text/plain").await.unwrap();
    for fault in [Fault::SlowDown, Fault::DropRequest, Fault::DropAnswer] {
        let before = faults.seen(Operation::GetObject);
        faults.next(Operation::GetObject, 3, fault);
        assert_eq!(store.get(&at).await.unwrap(), "here", "{fault:?}");
        assert!(faults.seen(Operation::GetObject) >= before + 4, "{fault:?}: the faults were met");
        faults.next(Operation::UploadPart, 3, fault);
        let (id, parts, size) = ready(&store, "passing-parts").await;
        faults.next(Operation::CreateMultipart, 1, fault);
        store.complete_multipart(&key("passing-parts"), &id, &parts, size).await.unwrap();
        faults.clear();
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_put_is_told_as_already_there() {
    let (_dir, server, store) = started().await;
    server.faults().next(Operation::PutObject, 1, Fault::DropAnswer);
    let at = key("lost");
    let outcome = store.put_if_absent(&at, Bytes::from_static(b"mine"), "text/plain").await.unwrap();
    assert_eq!(outcome, PutOutcome::AlreadyThere);
    assert_eq!(store.get(&at).await.unwrap(), "mine");
    server.shutdown().await;
}

#[tokio::test]
async fn an_unclear_complete_is_settled_by_looking() {
    let (_dir, server, store) = started().await;
    let faults = server.faults();
    for (number, fault) in
        [Fault::DropAnswer, Fault::ErrorBodyAfter, Fault::ErrorBody, Fault::SlowDown, Fault::DropRequest]
            .into_iter()
            .enumerate()
    {
        let at = format!("unclear/{number}");
        let (id, parts, size) = ready(&store, &at).await;
        let before = faults.seen(Operation::CompleteMultipart);
        faults.next(Operation::CompleteMultipart, 1, fault);
        let meta = store.complete_multipart(&key(&at), &id, &parts, size).await.unwrap();
        assert!(faults.seen(Operation::CompleteMultipart) > before);
        assert_eq!(store.head(&key(&at)).await.unwrap(), Some(meta), "{fault:?}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_complete_that_never_succeeds_says_so_and_may_be_tried_again() {
    let (_dir, server, _) = started().await;
    let mut settings = server.settings(BUCKET);
    settings.attempts = 2;
    let store = S3Store::connect(settings).await.unwrap();
    let (id, parts, size) = ready(&store, "never").await;
    let at = key("never");
    for fault in [Fault::ErrorBody, Fault::DropRequest, Fault::SlowDown] {
        server.faults().next(Operation::CompleteMultipart, 2, fault);
        let error = store.complete_multipart(&at, &id, &parts, size).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable { .. }), "{fault:?}: {error:?}");
        assert_eq!(store.head(&at).await.unwrap(), None, "{fault:?}");
        server.faults().clear();
    }
    // An object of the same name and size is not ours.
    store.put_if_absent(&at, noise(9, size as usize), "text/plain").await.unwrap();
    server.faults().next(Operation::CompleteMultipart, 2, Fault::DropRequest);
    assert!(store.complete_multipart(&at, &id, &parts, size).await.is_err());
    server.faults().clear();
    store.complete_multipart(&at, &id, &parts, size).await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn an_upload_that_is_gone_is_told_as_gone() {
    let (_dir, server, _) = started().await;
    let mut settings = server.settings(BUCKET);
    settings.attempts = 2;
    let store = S3Store::connect(settings).await.unwrap();
    let (id, parts, size) = ready(&store, "gone").await;
    let at = key("gone");
    store.abort_multipart(&at, &id).await.unwrap();
    let late = store.upload_part(&at, &id, 3, Bytes::from_static(b"late")).await;
    assert!(matches!(late, Err(StorageError::UploadGone { .. })), "{late:?}");
    // Also where the answer to Complete says something else.
    for fault in [None, Some(Fault::SlowDown), Some(Fault::DropRequest)] {
        if let Some(fault) = fault {
            server.faults().next(Operation::CompleteMultipart, 2, fault);
        }
        let complete = store.complete_multipart(&at, &id, &parts, size).await;
        assert!(matches!(complete, Err(StorageError::UploadGone { .. })), "{fault:?}: {complete:?}");
        server.faults().clear();
    }
    server.shutdown().await;
}

#[tokio::test]
async fn half_of_all_requests_failing_stops_nothing() {
    let (_dir, server, _) = started().await;
    let mut settings = server.settings(BUCKET);
    settings.attempts = 20;
    let store = S3Store::connect(settings).await.unwrap();
    server.faults().often(None, 50, Fault::SlowDown);
    for number in 0..3 {
        let at = format!("half/{number}");
        let (id, parts, size) = ready(&store, &at).await;
        store.complete_multipart(&key(&at), &id, &parts, size).await.unwrap();
    }
    server.faults().clear();
    let whole = [noise(1, 5 * MIB), noise(2, 10)].concat();
    for number in 0..3 {
        assert!(store.get(&key(&format!("half/{number}"))).await.unwrap() == whole);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_bucket_lost_in_mid_run_is_named() {
    let (_dir, server, store) = started().await;
    let at = key("a");
    let (id, parts, size) = ready(&store, "a").await;
    server.faults().lose_bucket(BUCKET);
    let results = [
        store.check().await.err(),
        store.upload_part(&at, &id, 3, Bytes::from_static(b"x")).await.err(),
        store.complete_multipart(&at, &id, &parts, size).await.err(),
        store.abort_multipart(&at, &id).await.err(),
        store.get(&at).await.err(),
        store.head(&at).await.err(),
        store.copy(&at, "\"e\"", &key("b")).await.err(),
    ];
    for error in results {
        assert!(matches!(error, Some(StorageError::BucketNotFound { .. })), "{error:?}");
    }
    server.faults().restore_bucket(BUCKET);
    store.complete_multipart(&at, &id, &parts, size).await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    let (_dir, server, store) = started().await;
    server.faults().often(None, 100, Fault::Denied);
    let error = store.get(&key("a")).await.unwrap_err();
    assert!(matches!(&error, StorageError::Denied { detail, .. } if detail == "AccessDenied"), "{error:?}");
    assert_eq!(server.faults().seen(Operation::GetObject), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_told_by_the_kind_of_fault() {
    let (_dir, plain, _) = started().await;
    let cases = [
        ("http://127.0.0.1:1".to_owned(), "connection refused"),
        (plain.endpoint().replace("http://", "https://"), "TLS failure"),
        ("http://there-is-no-such-host.invalid".to_owned(), "the host's name cannot be resolved"),
    ];
    for (endpoint, kind) in cases {
        let mut settings = S3Settings::new(BUCKET);
        settings.endpoint = Some(endpoint);
        settings.path_style = true;
        settings.attempts = 2;
        settings.credentials = Some((ACCESS_KEY.to_owned(), SECRET_KEY.into()));
        let store = S3Store::connect(settings).await.unwrap();
        let error = store.check().await.unwrap_err();
        assert!(matches!(&error, StorageError::Unavailable { detail, .. } if detail == kind), "{error:?}");
    }
}

#[tokio::test]
async fn a_slow_line_is_slow_and_not_broken() {
    let (_dir, server, store) = started().await;
    server.faults().bandwidth(Some(400_000));
    let at = key("slow");
    let body = noise(1, 200_000);
    let begin = Instant::now();
    store.put_if_absent(&at, body.clone(), "text/plain").await.unwrap();
    assert_eq!(store.get(&at).await.unwrap(), body);
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    server.shutdown().await;
}

#[tokio::test]
async fn an_orderly_end_lets_requests_finish() {
    let (_dir, server, store) = started().await;
    server.faults().next(Operation::PutObject, 1, Fault::Delay(Duration::from_millis(400)));
    let at = key("late");
    let putting =
        tokio::spawn(async move { store.put_if_absent(&at, Bytes::from_static(b"late"), "text/plain").await });
    while server.faults().seen(Operation::PutObject) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begin = Instant::now();
    server.shutdown().await;
    assert_eq!(putting.await.unwrap().unwrap(), PutOutcome::Created);
    assert!(begin.elapsed() < Duration::from_secs(3), "idle connections do not hold it up");
}
