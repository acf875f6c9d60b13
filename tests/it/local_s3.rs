//! The strictness of the S3 server of local mode: what it must refuse, and what must survive.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use data_exporter::local::s3::{LocalS3, LocalS3Error};
use data_exporter::storage::s3::S3Store;
use data_exporter::storage::{ObjectStore, PutOutcome, StorageError};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::s3::{ACCESS_KEY, BUCKET, MIB, bare_client, code, key, local, noise, options};

fn crc32c(bytes: &[u8]) -> String {
    STANDARD.encode(crc32c::crc32c(bytes).to_be_bytes())
}

async fn status(url: &str) -> u16 {
    reqwest::get(url).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_link_works_until_it_expires_and_only_as_it_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let store = server.store(BUCKET).await.unwrap();
    store.put_if_absent(&key("a/way.parquet"), Bytes::from_static(b"rows"), "text/plain").await.unwrap();
    store.put_if_absent(&key("a/xay.parquet"), Bytes::from_static(b"secret"), "text/plain").await.unwrap();

    let brief = store.presign_get(&key("a/way.parquet"), Duration::from_secs(1)).await.unwrap();
    let link = store.presign_get(&key("a/way.parquet"), Duration::from_secs(60)).await.unwrap();
    let opened = reqwest::get(&link.url).await.unwrap();
    assert_eq!((opened.status().as_u16(), opened.text().await.unwrap()), (200, "rows".to_owned()));

    let mut forged = link.url.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == '0' { '1' } else { '0' });
    let cases = [
        ("another signature", forged),
        ("another key", link.url.replace("way.parquet", "xay.parquet")),
        ("a longer life", link.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")),
        ("another file name", link.url.replace("attachment", "inline")),
        ("no signature", link.url.split('?').next().unwrap().to_owned()),
        ("somebody else's key", link.url.replace(ACCESS_KEY, "SOMEBODYELSE")),
    ];
    for (what, url) in cases {
        assert_ne!(url, link.url, "{what}: the case changes nothing");
        assert_eq!(status(&url).await, 403, "{what}");
    }
    let put = reqwest::Client::new().put(&link.url).body("other").send().await.unwrap();
    assert_eq!(put.status(), 403, "a link to read does not write");

    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(status(&brief.url).await, 403, "expired");
    assert_eq!(status(&link.url).await, 200);
    server.shutdown().await;
}

#[tokio::test]
async fn links_name_the_public_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let mut settings = server.settings(BUCKET);
    settings.public_endpoint = Some("https://files.example.org:8443".to_owned());
    let store = S3Store::connect(settings).await.unwrap();
    store.put_if_absent(&key("a"), Bytes::from_static(b"x"), "text/plain").await.unwrap();
    let link = store.presign_get(&key("a"), Duration::from_secs(60)).await.unwrap();
    assert!(link.url.starts_with("https://files.example.org:8443/exports/a?"), "{}", link.url);
    for wrong in ["files.example.org", "ftp://files.example.org", "https://user:secret@files.example.org"] {
        let mut settings = server.settings(BUCKET);
        settings.public_endpoint = Some(wrong.to_owned());
        let error = S3Store::connect(settings).await.unwrap_err().to_string();
        assert!(error.starts_with("EXPORTER_S3_PUBLIC_ENDPOINT") && !error.contains("secret"), "{error}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn wrong_credentials_are_denied_without_naming_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    for (access, secret) in [(ACCESS_KEY, "not-the-secret"), ("UNKNOWNKEY", "not-the-secret")] {
        let mut settings = server.settings(BUCKET);
        settings.credentials = Some((access.to_owned(), secret.into()));
        assert!(!format!("{settings:?}").contains(secret));
        let store = S3Store::connect(settings).await.unwrap();
        assert!(!format!("{store:?}").contains(secret));
        let at = key("a");
        let results = [
            store.check().await.err(),
            store.get(&at).await.err(),
            store.head(&at).await.err(),
            store.put_if_absent(&at, Bytes::from_static(b"x"), "text/plain").await.err(),
            store.create_multipart(&at, "text/plain").await.err(),
        ];
        for error in results {
            let error = error.expect("refused");
            assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains(secret) && !text.contains("Signature="), "{text}");
        }
    }
    server.shutdown().await;
}

/// Sends a request line as it is, which HTTP clients would tidy up, and gives the status.
async fn raw(server: &LocalS3, target: &str) -> u16 {
    let address = server.endpoint().replace("http://", "");
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_key_leaves_its_bucket() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "outside").unwrap();
    let root = dir.path().join("deep/store");
    let server = local(&root).await;
    let client = bare_client(&server.endpoint());
    for target in [
        "/exports/../../x",
        "/exports/%2e%2e%2f%2e%2e%2fx",
        "/exports/..%2f..%2fx",
        "/exports/%2e%2e/%2e%2e/x",
        "/../x",
        "/%2e%2e%2fx",
        "/exports/..",
        "//x",
    ] {
        let status = raw(&server, target).await;
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    for wrong in ["../../x", "a/../../../x", "..", ".", "a/./b", "a/..", "a\u{0}b", "a\nb"] {
        let put = client.put_object().bucket(BUCKET).key(wrong).body(ByteStream::from_static(b"in")).send().await;
        assert_ne!(code(put), "OK", "put {wrong:?}");
        let create = client.create_multipart_upload().bucket(BUCKET).key(wrong).send().await;
        assert_ne!(code(create), "OK", "create {wrong:?}");
        let get = client.get_object().bucket(BUCKET).key(wrong).send().await;
        assert_ne!(code(get), "OK", "get {wrong:?}");
    }
    // The same, signed by a link and sent without a client that tidies up.
    let terms = aws_sdk_s3::presigning::PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let link = client.get_object().bucket(BUCKET).key("../../x").presigned(terms).await.unwrap();
    let target = link.uri().strip_prefix(&server.endpoint()).unwrap();
    assert!(target.contains("..") || target.contains("%2E%2E"), "{target}");
    assert_eq!(raw(&server, target).await, 404);
    // Whatever came, it stayed below the store's folder.
    let names = |path: &Path| {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(dir.path()), BTreeSet::from(["deep".to_owned(), "x".to_owned()]));
    assert_eq!(names(&dir.path().join("deep")), BTreeSet::from(["store".to_owned()]));
    assert_eq!(names(&root), BTreeSet::from([".lock".to_owned(), BUCKET.to_owned()]));
    assert_eq!(std::fs::read_to_string(dir.path().join("x")).unwrap(), "outside");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_one_creates() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let store = Arc::new(server.store(BUCKET).await.unwrap());
    for round in 0..10 {
        let at = key(&format!("race/{round}"));
        let writers = (0..16).map(|writer| {
            let (store, at) = (Arc::clone(&store), at.clone());
            tokio::spawn(async move {
                let body = Bytes::from(format!("writer {writer}").repeat(1000));
                (writer, store.put_if_absent(&at, body, "text/plain").await.unwrap())
            })
        });
        let outcomes = join_all(writers).await.into_iter().map(Result::unwrap);
        let winners: Vec<_> = outcomes.filter(|(_, outcome)| *outcome == PutOutcome::Created).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        let content = store.get(&at).await.unwrap();
        assert_eq!(content, format!("writer {}", winners[0].0).repeat(1000));
    }
    server.shutdown().await;
}

#[tokio::test]
async fn bodies_must_be_what_their_checksums_say() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let client = bare_client(&server.endpoint());
    let body = || ByteStream::from_static(b"the body");
    let wrong = crc32c(b"another body");
    let put = || client.put_object().bucket(BUCKET).key("sums/a").body(body());
    assert_eq!(code(put().checksum_crc32_c(&wrong).send().await), "BadDigest");
    assert_eq!(code(put().checksum_sha256(STANDARD.encode([7; 32])).send().await), "BadDigest");
    assert_eq!(code(put().content_md5(STANDARD.encode([7; 16])).send().await), "BadDigest");
    assert_eq!(code(put().content_md5("nonsense").send().await), "InvalidDigest");
    assert_eq!(code(client.head_object().bucket(BUCKET).key("sums/a").send().await), "NotFound");
    // What the SDK sends of its own accord, a checksum after the body, is compared as well, and kept.
    assert_eq!(code(put().send().await), "OK");
    assert_eq!(code(put().checksum_crc32_c(crc32c(b"the body")).send().await), "OK");

    let upload = client
        .create_multipart_upload()
        .bucket(BUCKET)
        .key("sums/b")
        .checksum_algorithm(ChecksumAlgorithm::Crc32C)
        .send();
    let upload = upload.await.unwrap();
    let part = || {
        let id = upload.upload_id().unwrap();
        client.upload_part().bucket(BUCKET).key("sums/b").upload_id(id).part_number(1).body(body())
    };
    assert_eq!(code(part().checksum_crc32_c(&wrong).send().await), "BadDigest");
    assert_eq!(code(part().checksum_crc32("AAAAAA==").send().await), "InvalidRequest", "of another kind");
    assert_eq!(
        code(part().content_md5(STANDARD.encode([7; 16])).checksum_crc32_c(crc32c(b"the body")).send().await),
        "BadDigest"
    );
    let listed = client.list_parts().bucket(BUCKET).key("sums/b").upload_id(upload.upload_id().unwrap());
    assert!(listed.send().await.unwrap().parts().is_empty(), "a refused part does not exist");
    assert_eq!(code(part().checksum_crc32_c(crc32c(b"the body")).send().await), "OK");
    server.shutdown().await;
}

#[tokio::test]
async fn complete_takes_only_what_was_uploaded() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let client = bare_client(&server.endpoint());
    let at = key("complete/file");
    let store = server.store(BUCKET).await.unwrap();
    let id = store.create_multipart(&at, "text/plain").await.unwrap();
    let mut sent = Vec::new();
    for (number, size) in [(1, 5 * MIB), (2, 100), (3, 5 * MIB), (4, 10)] {
        sent.push(store.upload_part(&at, &id, number, noise(number.into(), size)).await.unwrap());
    }
    let part = |number: i32, of: usize| {
        let name = CompletedPart::builder().part_number(number).e_tag(&sent[of - 1].etag);
        name.checksum_crc32_c(&sent[of - 1].crc32c).build()
    };
    let complete = async |parts: Vec<CompletedPart>| {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = client.complete_multipart_upload().bucket(BUCKET).key("complete/file").upload_id(&id.0);
        code(request.multipart_upload(parts).send().await)
    };
    let bare = CompletedPart::builder().part_number(1).e_tag(&sent[0].etag).build();
    let other_sum = CompletedPart::builder().part_number(1).e_tag(&sent[0].etag).checksum_crc32_c("AAAAAA==").build();
    let cases = [
        ("another part's ETag", vec![part(1, 3)], "InvalidPart"),
        ("an unknown part", vec![part(1, 1), part(9, 1)], "InvalidPart"),
        ("wrong order", vec![part(3, 3), part(1, 1)], "InvalidPartOrder"),
        ("a part twice", vec![part(1, 1), part(1, 1)], "InvalidPartOrder"),
        ("a small part before the last", vec![part(1, 1), part(2, 2), part(3, 3)], "EntityTooSmall"),
        ("no checksum", vec![bare], "InvalidRequest"),
        ("another checksum", vec![other_sum], "InvalidPart"),
        ("part 0", vec![part(0, 1)], "InvalidArgument"),
        ("no part", vec![], "MalformedXML"),
    ];
    for (what, parts, expected) in cases {
        assert_eq!(complete(parts).await, expected, "{what}");
        assert_eq!(store.head(&at).await.unwrap(), None, "{what}");
    }
    let short = store.complete_multipart(&at, &id, &[sent[0].clone()], 7).await;
    assert!(short.is_err(), "another size than the parts have");
    assert_eq!(store.head(&at).await.unwrap(), None);
    // After all that the upload is still there. Parts that are not named are dropped.
    assert_eq!(complete(vec![part(1, 1), part(3, 3), part(4, 4)]).await, "OK");
    assert_eq!(store.head(&at).await.unwrap().unwrap().size, 10 * MIB as u64 + 10);
    let files = std::fs::read_dir(dir.path().join(BUCKET).join("data")).unwrap().count();
    assert_eq!(files, 3, "the bytes of the part that was not named are gone");
    let elsewhere = client.abort_multipart_upload().bucket(BUCKET).key("complete/other").upload_id(&id.0).send().await;
    assert_eq!(code(elsewhere), "NoSuchUpload");
    server.shutdown().await;
}

/// All keys and common prefixes, gathered page by page.
async fn listed(client: &Client, prefix: &str, delimiter: Option<&str>, page: i32) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut groups, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let request = client.list_objects_v2().bucket(BUCKET).prefix(prefix).max_keys(page);
        let request = request.set_delimiter(delimiter.map(str::to_owned)).set_continuation_token(token);
        let answer = request.send().await.unwrap();
        assert!(answer.contents().len() + answer.common_prefixes().len() <= usize::try_from(page).unwrap());
        keys.extend(answer.contents().iter().map(|object| object.key().unwrap().to_owned()));
        groups.extend(answer.common_prefixes().iter().map(|group| group.prefix().unwrap().to_owned()));
        token = answer.next_continuation_token().map(str::to_owned);
        assert_eq!(token.is_some(), answer.is_truncated().unwrap());
        if token.is_none() {
            return (keys, groups);
        }
    }
}

#[tokio::test]
async fn lists_agree_with_a_plain_model() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let client = bare_client(&server.endpoint());
    let keys = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "a//f", "a0", "b/", "b/g h", "ü/ö&<>", "z"];
    for key in keys {
        let body = ByteStream::from_static(b"x");
        client.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    }
    for prefix in ["", "a", "a/", "a/b", "b/", "ü", "nothing", "zz"] {
        for delimiter in [None, Some("/"), Some("b")] {
            let (mut plain, mut groups) = (BTreeSet::new(), BTreeSet::new());
            for key in keys.iter().filter(|key| key.starts_with(prefix)) {
                match delimiter.and_then(|d| key[prefix.len()..].find(d).map(|at| prefix.len() + at + d.len())) {
                    Some(end) => groups.insert(key[..end].to_owned()),
                    None => plain.insert((*key).to_owned()),
                };
            }
            let expected = (Vec::from_iter(plain), Vec::from_iter(groups));
            for page in [1, 2, 3, 1000] {
                let found = listed(&client, prefix, delimiter, page).await;
                assert_eq!(found, expected, "prefix {prefix:?}, delimiter {delimiter:?}, page {page}");
            }
        }
    }
    let odd = client.list_objects_v2().bucket(BUCKET).continuation_token("not ours").send().await;
    assert_eq!(code(odd), "InvalidArgument");
    server.shutdown().await;
}

#[tokio::test]
async fn writes_can_demand_what_they_replace() {
    let dir = tempfile::tempdir().unwrap();
    let server = local(dir.path()).await;
    let client = bare_client(&server.endpoint());
    let put = |etag: &str| {
        let body = ByteStream::from_static(b"v");
        client.put_object().bucket(BUCKET).key("swap").if_match(etag).body(body).send()
    };
    assert_eq!(code(put("\"0\"").await), "NoSuchKey");
    let first =
        client.put_object().bucket(BUCKET).key("swap").body(ByteStream::from_static(b"0")).send().await.unwrap();
    assert_eq!(code(put("\"0\"").await), "PreconditionFailed");
    assert_eq!(code(put(first.e_tag().unwrap()).await), "OK");
    assert_eq!(code(put(first.e_tag().unwrap()).await), "PreconditionFailed");
    let get = |etag: &str| client.get_object().bucket(BUCKET).key("swap").if_match(etag).send();
    assert_eq!(code(get("\"0\"").await), "PreconditionFailed");
    server.shutdown().await;
}

#[tokio::test]
async fn a_wrong_bucket_name_or_address_is_told_at_start() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["..", "a", "Upper", "a/b", "../exports", ".lock"] {
        let mut options = options(dir.path());
        options.buckets = vec![name.to_owned()];
        let error = LocalS3::start(options).await.unwrap_err();
        assert!(matches!(error, LocalS3Error::BucketName { .. }), "{name}: {error}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(dir.path());
    options.bind = taken.local_addr().unwrap();
    let error = LocalS3::start(options).await.unwrap_err().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().to_string()), "{error}");
}
