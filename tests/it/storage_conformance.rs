//! What every object store must do, shown on the server of local mode and on a foreign one.
//!
//! The foreign server accepts any signature and any checksum: what a store must refuse is tested on ours alone.

use std::time::Duration;

use bytes::Bytes;
use data_exporter::storage::s3::{S3Settings, S3Store};
use data_exporter::storage::{ObjectStore, PutOutcome, StorageError, UploadId};

use crate::support::s3::{ACCESS_KEY, BUCKET, MIB, Moto, SECRET_KEY, key, local, noise};

/// A store, and the same store seen otherwise.
struct Stores {
    store: S3Store,
    /// The same bucket; copies in parts above 6 MiB.
    copies_in_parts: S3Store,
    /// A bucket that does not exist.
    lost: S3Store,
}

impl Stores {
    async fn connect(settings: S3Settings) -> Self {
        let small = S3Settings { copy_at_once: 6 << 20, copy_part: 5 << 20, ..settings.clone() };
        let lost = S3Settings { bucket: "there-is-no-such-bucket".to_owned(), ..settings.clone() };
        Self {
            store: S3Store::connect(settings).await.unwrap(),
            copies_in_parts: S3Store::connect(small).await.unwrap(),
            lost: S3Store::connect(lost).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn the_local_server_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    conforms(&Stores::connect(server.settings(BUCKET)).await).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_foreign_server_conforms() {
    let moto = Moto::start().await;
    let created = reqwest::Client::new().put(format!("{}/{BUCKET}", moto.endpoint)).send().await.unwrap();
    assert!(created.status().is_success());
    let mut settings = S3Settings::new(BUCKET);
    settings.endpoint = Some(moto.endpoint.clone());
    settings.path_style = true;
    settings.attempts = 3;
    settings.credentials = Some((ACCESS_KEY.to_owned(), SECRET_KEY.into()));
    conforms(&Stores::connect(settings).await).await;
}

async fn conforms(stores: &Stores) {
    let store = &stores.store;
    creates_only_what_is_absent(store).await;
    reads_whole_and_in_ranges(store).await;
    keeps_every_key_apart(store).await;
    deletes_twice(store).await;
    lists(store).await;
    copies(store, "copied-at-once").await;
    copies(&stores.copies_in_parts, "copied-in-parts").await;
    copies_after_somebody_who_died(&stores.copies_in_parts).await;
    puts_parts_together(store).await;
    completes_again(store).await;
    ends_uploads(store).await;
    links(store).await;
    names_the_lost_bucket(&stores.lost).await;
}

async fn creates_only_what_is_absent(store: &dyn ObjectStore) {
    store.check().await.unwrap();
    let at = key("absent/manifest");
    let put = async |body: &'static str| store.put_if_absent(&at, Bytes::from(body), "application/json").await.unwrap();
    assert_eq!(put("{\"a\": 1}").await, PutOutcome::Created);
    assert_eq!(put("{\"b\": 2}").await, PutOutcome::AlreadyThere);
    assert_eq!(store.get(&at).await.unwrap(), "{\"a\": 1}", "the first content stays");
    let empty = key("absent/empty");
    assert_eq!(store.put_if_absent(&empty, Bytes::new(), "text/plain").await.unwrap(), PutOutcome::Created);
    assert_eq!(store.get(&empty).await.unwrap(), Bytes::new());
    assert_eq!(store.head(&empty).await.unwrap().unwrap().size, 0);
}

async fn reads_whole_and_in_ranges(store: &dyn ObjectStore) {
    let body = noise(1, 300_000);
    let at = key("read/noise");
    store.put_if_absent(&at, body.clone(), "application/octet-stream").await.unwrap();
    assert_eq!(store.get(&at).await.unwrap(), body);
    for (start, end) in [(0, 1), (0, 300_000), (299_999, 300_000), (70_000, 270_000), (5, 5)] {
        let bytes = store.get_range(&at, start..end).await.unwrap();
        assert_eq!(bytes, body.slice(start as usize..end as usize), "{start}..{end}");
    }
    for (start, end) in [(299_999, 300_001), (300_000, 300_001)] {
        let beyond = store.get_range(&at, start..end).await;
        assert!(matches!(beyond, Err(StorageError::Corrupt { .. })), "{start}..{end}: {beyond:?}");
    }
    let absent = key("read/absent");
    assert!(matches!(store.get(&absent).await, Err(StorageError::NotFound { .. })));
    assert!(matches!(store.get_range(&absent, 0..1).await, Err(StorageError::NotFound { .. })));
    assert_eq!(store.head(&absent).await.unwrap(), None);
}

async fn keeps_every_key_apart(store: &dyn ObjectStore) {
    let long = format!("{}/{}", "long".repeat(100), "x".repeat(623));
    assert_eq!(long.len(), 1024);
    let texts = ["k/a", "k/a/b", "k/A", "k/with space", "k/größe+%2F&=?#", "k/t=_x/YYYYMMDD", long.as_str()];
    for text in texts {
        let made = store.put_if_absent(&key(text), Bytes::from(text.to_owned()), "text/plain").await;
        assert_eq!(made.unwrap(), PutOutcome::Created, "{text}");
    }
    for text in texts {
        assert_eq!(store.get(&key(text)).await.unwrap(), text, "{text}");
    }
    let meta = store.head(&key(texts[4])).await.unwrap().unwrap();
    store.copy(&key(texts[4]), &meta.etag, &key("k/copy of größe")).await.unwrap();
    assert_eq!(store.get(&key("k/copy of größe")).await.unwrap(), texts[4]);
}

async fn deletes_twice(store: &dyn ObjectStore) {
    let at = key("delete/it");
    store.put_if_absent(&at, Bytes::from_static(b"x"), "text/plain").await.unwrap();
    store.delete(&at).await.unwrap();
    assert_eq!(store.head(&at).await.unwrap(), None);
    store.delete(&at).await.unwrap();
    let again = store.put_if_absent(&at, Bytes::from_static(b"y"), "text/plain").await.unwrap();
    assert_eq!(again, PutOutcome::Created, "a deleted name is free again");
}

async fn lists(store: &dyn ObjectStore) {
    for name in ["list/a", "list/b c%", "list/deeper/d", "listen"] {
        store.put_if_absent(&key(name), Bytes::from_static(b"x"), "text/plain").await.unwrap();
    }
    let mut names = store.list(&key("list")).await.unwrap();
    names.sort();
    assert_eq!(names, ["a", "b c%"], "what is deeper or only begins so is not in it");
    assert_eq!(store.list(&key("list/nothing")).await.unwrap(), Vec::<String>::new());
    let [one, other] = [key("list/upload"), key("list/upload-2")];
    let id = store.create_multipart(&one, "text/plain").await.unwrap();
    let neighbour = store.create_multipart(&other, "text/plain").await.unwrap();
    assert_eq!(store.open_uploads(&one).await.unwrap(), std::slice::from_ref(&id));
    store.abort_multipart(&one, &id).await.unwrap();
    assert_eq!(store.open_uploads(&one).await.unwrap(), []);
    assert_eq!(store.open_uploads(&other).await.unwrap(), [neighbour]);
}

async fn upload(store: &dyn ObjectStore, at: &str, parts: &[Bytes]) -> data_exporter::storage::ObjectMeta {
    let at = key(at);
    let id = store.create_multipart(&at, "application/vnd.apache.parquet").await.unwrap();
    let mut sent = Vec::new();
    for (number, part) in (1..).zip(parts) {
        sent.push(store.upload_part(&at, &id, number, part.clone()).await.unwrap());
    }
    let size = parts.iter().map(|part| part.len() as u64).sum();
    store.complete_multipart(&at, &id, &sent, size).await.unwrap()
}

async fn copies(store: &dyn ObjectStore, folder: &str) {
    let (from, to) = (format!("{folder}/from"), format!("{folder}/to"));
    let parts = [noise(2, 5 * MIB), noise(3, 6 * MIB)];
    let meta = upload(store, &from, &parts).await;
    store.put_if_absent(&key(&to), Bytes::from_static(b"an older one"), "text/plain").await.unwrap();
    let other = store.copy(&key(&from), "\"0123456789abcdef0123456789abcdef\"", &key(&to)).await;
    assert!(matches!(other, Err(StorageError::Corrupt { .. })), "another object than was meant: {other:?}");
    assert_eq!(store.get(&key(&to)).await.unwrap(), "an older one", "nothing is copied then");
    store.copy(&key(&from), &meta.etag, &key(&to)).await.unwrap();
    assert_eq!(store.get(&key(&to)).await.unwrap(), parts.concat(), "the copy replaces what was there");
    assert_eq!(store.head(&key(&to)).await.unwrap().unwrap().size, meta.size);
    store.delete(&key(&from)).await.unwrap();
    assert_eq!(store.get(&key(&to)).await.unwrap().len() as u64, meta.size, "the copy stands by itself");
    let absent = store.copy(&key(&from), &meta.etag, &key(&to)).await;
    assert!(matches!(absent, Err(StorageError::NotFound { .. })), "{absent:?}");
}

/// In the middle of copying the same: what that has left open goes.
async fn copies_after_somebody_who_died(store: &dyn ObjectStore) {
    let (from, to) = ("died/from", key("died/to"));
    let meta = upload(store, from, &[noise(10, 5 * MIB), noise(11, 2 * MIB)]).await;
    store.create_multipart(&to, "text/plain").await.unwrap();
    assert_eq!(store.open_uploads(&to).await.unwrap().len(), 1);
    store.copy(&key(from), &meta.etag, &to).await.unwrap();
    assert_eq!(store.open_uploads(&to).await.unwrap(), []);
    assert_eq!(store.head(&to).await.unwrap().unwrap().size, meta.size);
}

async fn puts_parts_together(store: &dyn ObjectStore) {
    let at = key("parts/file.parquet");
    let parts = [noise(4, 5 * MIB), noise(5, 5 * MIB + 1), noise(6, 17)];
    let id = store.create_multipart(&at, "application/vnd.apache.parquet").await.unwrap();
    assert_eq!(store.head(&at).await.unwrap(), None, "nothing to see before the end");
    // Out of order, and one twice with other bytes first: the last one counts.
    let third = store.upload_part(&at, &id, 3, parts[2].clone()).await.unwrap();
    store.upload_part(&at, &id, 1, noise(7, 5 * MIB)).await.unwrap();
    let first = store.upload_part(&at, &id, 1, parts[0].clone()).await.unwrap();
    let second = store.upload_part(&at, &id, 2, parts[1].clone()).await.unwrap();
    assert_eq!(store.head(&at).await.unwrap(), None);
    let size = parts.iter().map(|part| part.len() as u64).sum();
    let meta = store.complete_multipart(&at, &id, &[first, second, third], size).await.unwrap();
    assert_eq!(meta.size, size);
    assert!(meta.etag.trim_matches('"').ends_with("-3"), "{}", meta.etag);
    assert_eq!(store.head(&at).await.unwrap(), Some(meta));
    let whole = parts.concat();
    assert_eq!(store.get(&at).await.unwrap(), whole);
    let across = (5 * MIB - 10)..(10 * MIB + 5);
    let range = store.get_range(&at, across.start as u64..across.end as u64).await.unwrap();
    assert_eq!(range, whole[across], "a range across parts");
}

/// The first answer to Complete was lost, and the caller asks again.
async fn completes_again(store: &dyn ObjectStore) {
    let at = key("again/file");
    let id = store.create_multipart(&at, "text/plain").await.unwrap();
    let part = store.upload_part(&at, &id, 1, Bytes::from_static(b"once")).await.unwrap();
    let parts = [part];
    let first = store.complete_multipart(&at, &id, &parts, 4).await.unwrap();
    let second = store.complete_multipart(&at, &id, &parts, 4).await.unwrap();
    assert_eq!(first, second);
    // After that, somebody else's object has the name: what we sent is gone.
    store.delete(&at).await.unwrap();
    store.put_if_absent(&at, Bytes::from_static(b"what"), "text/plain").await.unwrap();
    let third = store.complete_multipart(&at, &id, &parts, 4).await;
    assert!(matches!(third, Err(StorageError::UploadGone { .. })), "{third:?}");
}

async fn ends_uploads(store: &dyn ObjectStore) {
    let at = key("aborted/file");
    let id = store.create_multipart(&at, "text/plain").await.unwrap();
    let part = store.upload_part(&at, &id, 1, Bytes::from_static(b"never")).await.unwrap();
    store.abort_multipart(&at, &id).await.unwrap();
    store.abort_multipart(&at, &id).await.unwrap();
    store.abort_multipart(&at, &UploadId("no-such-upload".to_owned())).await.unwrap();
    let late = store.upload_part(&at, &id, 2, Bytes::from_static(b"late")).await;
    assert!(late.is_err(), "{late:?}");
    let complete = store.complete_multipart(&at, &id, &[part], 5).await;
    assert!(matches!(complete, Err(StorageError::UploadGone { .. })), "{complete:?}");
    assert_eq!(store.head(&at).await.unwrap(), None);
}

async fn links(store: &dyn ObjectStore) {
    let at = key("links/way_000.parquet");
    let body = noise(8, 1000);
    store.put_if_absent(&at, body.clone(), "application/vnd.apache.parquet").await.unwrap();
    let link = store.presign_get(&at, Duration::from_secs(600)).await.unwrap();
    assert_eq!(link.valid_for, Duration::from_secs(600));
    let answer = reqwest::get(&link.url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"way_000.parquet\"");
    assert_eq!(answer.headers()["content-length"], "1000");
    assert_eq!(answer.bytes().await.unwrap(), body);
    let part = reqwest::Client::new().get(&link.url).header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 10-19/1000");
    assert_eq!(part.bytes().await.unwrap(), body.slice(10..20));
    let long = store.presign_get(&at, Duration::from_secs(30 * 86_400)).await.unwrap();
    assert_eq!(long.valid_for, Duration::from_secs(7 * 86_400), "no link outlives a week");
}

async fn names_the_lost_bucket(lost: &dyn ObjectStore) {
    let at = key("a/b");
    let results = [
        ("check", lost.check().await.err()),
        ("put_if_absent", lost.put_if_absent(&at, Bytes::from_static(b"x"), "text/plain").await.err()),
        ("get", lost.get(&at).await.err()),
        ("get_range", lost.get_range(&at, 0..1).await.err()),
        ("head", lost.head(&at).await.err()),
        ("copy", lost.copy(&at, "\"e\"", &key("b")).await.err()),
        ("delete", lost.delete(&at).await.err()),
        ("create_multipart", lost.create_multipart(&at, "text/plain").await.err()),
    ];
    for (what, error) in results {
        assert!(matches!(error, Some(StorageError::BucketNotFound { .. })), "{what}: {error:?}");
    }
}
