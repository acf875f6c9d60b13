//! What survives in the S3 server of local mode: restarts, kills, objects that go while they are read.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use data_exporter::local::s3::{LocalS3, LocalS3Error};
use data_exporter::storage::ObjectStore;
use tokio::io::AsyncWriteExt;

use crate::support::s3::{BUCKET, MIB, bare_client, code, key, local, noise, options};

#[tokio::test]
async fn uploads_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (at, other) = (key("restart/file"), key("restart/other"));
    let parts = [noise(1, 5 * MIB), noise(2, 1000)];
    let server = local(dir.path()).await;
    let store = server.store(BUCKET).await.unwrap();
    store.put_if_absent(&key("restart/small"), Bytes::from_static(b"small"), "text/x-small").await.unwrap();
    let id = store.create_multipart(&at, "text/x-large").await.unwrap();
    let first = store.upload_part(&at, &id, 1, parts[0].clone()).await.unwrap();
    let aborted = store.create_multipart(&other, "text/plain").await.unwrap();
    let taken = LocalS3::start(options(dir.path())).await;
    assert!(matches!(taken, Err(LocalS3Error::InUse { .. })), "one process at a time");
    server.shutdown().await;

    let server = local(dir.path()).await;
    let client = bare_client(&server.endpoint());
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    let ids: BTreeSet<_> = uploads.uploads().iter().map(|upload| upload.upload_id().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from([id.0.as_str(), aborted.0.as_str()]));
    let one = client.list_multipart_uploads().bucket(BUCKET).max_uploads(1).send().await.unwrap();
    assert_eq!((one.uploads().len(), one.is_truncated(), one.next_key_marker()), (1, Some(true), Some("restart/file")));
    let rest = client.list_multipart_uploads().bucket(BUCKET).key_marker(one.next_key_marker().unwrap());
    let rest = rest.upload_id_marker(one.next_upload_id_marker().unwrap()).send().await.unwrap();
    assert_eq!(rest.uploads().iter().map(|upload| upload.key().unwrap()).collect::<Vec<_>>(), ["restart/other"]);
    let store = server.store(BUCKET).await.unwrap();
    assert_eq!(store.get(&key("restart/small")).await.unwrap(), "small");
    store.abort_multipart(&other, &aborted).await.unwrap();
    let second = store.upload_part(&at, &id, 2, parts[1].clone()).await.unwrap();
    let size = parts.iter().map(|part| part.len() as u64).sum();
    store.complete_multipart(&at, &id, &[first, second], size).await.unwrap();
    assert!(client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap().uploads().is_empty());
    server.shutdown().await;

    let server = local(dir.path()).await;
    let store = server.store(BUCKET).await.unwrap();
    assert_eq!(store.get(&at).await.unwrap(), parts.concat());
    let kind = bare_client(&server.endpoint()).head_object().bucket(BUCKET).key(at.as_str()).send().await.unwrap();
    assert_eq!(kind.content_type(), Some("text/x-large"));
    server.shutdown().await;
}

const CHILD_ROOT: &str = "EXPORTER_TEST_LOCAL_S3_ROOT";

/// Not a test of its own: the process that [`what_was_acknowledged_survives_a_kill`] starts and kills.
#[tokio::test]
async fn child_process_that_is_killed() {
    let Ok(root) = std::env::var(CHILD_ROOT) else { return };
    let root = Path::new(&root);
    let server = local(&root.join("store")).await;
    std::fs::write(root.join("endpoint.tmp"), server.endpoint()).unwrap();
    std::fs::rename(root.join("endpoint.tmp"), root.join("endpoint")).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["local_s3_durability::child_process_that_is_killed", "--exact"])
        .env(CHILD_ROOT, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let endpoint = dir.path().join("endpoint");
    while !endpoint.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let endpoint = std::fs::read_to_string(endpoint).unwrap();
    let client = bare_client(&endpoint);
    let put =
        |key: String, body: Bytes| client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body)).send();
    put("kept".to_owned(), noise(1, MIB)).await.unwrap();
    put("replaced".to_owned(), Bytes::from_static(b"old")).await.unwrap();
    let upload = client.create_multipart_upload().bucket(BUCKET).key("open").send().await.unwrap();
    let part = client.upload_part().bucket(BUCKET).key("open").upload_id(upload.upload_id().unwrap()).part_number(1);
    let part = part.body(ByteStream::from_static(b"part")).send().await.unwrap();

    // A body of which only the beginning has come, beside many puts, when the kill strikes.
    let terms = aws_sdk_s3::presigning::PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let link = client.put_object().bucket(BUCKET).key("replaced").presigned(terms).await.unwrap();
    let address = endpoint.replace("http://", "");
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let target = link.uri().strip_prefix(&endpoint).unwrap();
    let head = format!("PUT {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 10000000\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&noise(2, 5 * MIB)).await.unwrap();
    let written = AtomicUsize::new(0);
    let writing = async {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            let body = noise(number, 20_000);
            if put(format!("many/{number}"), body).await.is_err() {
                break;
            }
            acknowledged.push(number);
            written.store(acknowledged.len(), Ordering::SeqCst);
        }
        acknowledged
    };
    let killing = async {
        let deadline = Instant::now() + Duration::from_secs(40);
        while written.load(Ordering::SeqCst) < 3 {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        child.kill().unwrap();
    };
    let (acknowledged, ()) = tokio::join!(writing, killing);
    child.wait().unwrap();
    assert!(!acknowledged.is_empty());
    let data = dir.path().join("store").join(BUCKET).join("data");
    let before = std::fs::read_dir(&data).unwrap().count();

    let server = local(&dir.path().join("store")).await;
    let store = server.store(BUCKET).await.unwrap();
    assert_eq!(store.get(&key("kept")).await.unwrap(), noise(1, MIB));
    assert_eq!(store.get(&key("replaced")).await.unwrap(), "old", "a half body replaces nothing");
    for number in &acknowledged {
        assert_eq!(store.get(&key(&format!("many/{number}"))).await.unwrap(), noise(*number, 20_000));
    }
    let next = key(&format!("many/{}", acknowledged.len()));
    if let Some(meta) = store.head(&next).await.unwrap() {
        assert_eq!(meta.size, 20_000, "what was not acknowledged is whole or not there");
    }
    let after = std::fs::read_dir(&data).unwrap().count();
    assert!(after < before, "{before} data files before, {after} after: the half body stayed");
    let client = bare_client(&server.endpoint());
    let name = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap());
    let name = name.set_checksum_crc32(part.checksum_crc32().map(str::to_owned)).build();
    let done = client.complete_multipart_upload().bucket(BUCKET).key("open").upload_id(upload.upload_id().unwrap());
    let done = done.multipart_upload(CompletedMultipartUpload::builder().parts(name).build());
    assert_eq!(code(done.send().await), "OK");
    assert_eq!(store.get(&key("open")).await.unwrap(), "part");
    server.shutdown().await;
}

#[tokio::test]
async fn a_reader_finishes_although_the_object_goes() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let store = server.store(BUCKET).await.unwrap();
    let at = key("going");
    let parts = [noise(1, 5 * MIB), noise(2, 5 * MIB)];
    let id = store.create_multipart(&at, "text/plain").await.unwrap();
    let first = store.upload_part(&at, &id, 1, parts[0].clone()).await.unwrap();
    let second = store.upload_part(&at, &id, 2, parts[1].clone()).await.unwrap();
    store.complete_multipart(&at, &id, &[first, second], 10 * MIB as u64).await.unwrap();
    let link = store.presign_get(&at, Duration::from_secs(60)).await.unwrap();
    let mut reading = reqwest::get(&link.url).await.unwrap();
    let mut read = reading.chunk().await.unwrap().unwrap().to_vec();
    store.delete(&at).await.unwrap();
    while let Some(chunk) = reading.chunk().await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    assert!(read == parts.concat(), "the reader got other bytes");
    drop(reading);
    server.shutdown().await;
    assert_eq!(std::fs::read_dir(dir.path().join(BUCKET).join("data")).unwrap().count(), 0);
}
