//! The bucket: every permission that an export needs, tried on an object of its own.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use uuid::Uuid;

use super::Finding;
use crate::error::Failure;
use crate::storage::{ObjectKey, ObjectStore, PutOutcome, StorageError};

/// What is written and read.
const CONTENT: &[u8] = b"data-exporter doctor";
/// How long following a link may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries everything, each thing although another failed, and removes what it wrote.
pub async fn bucket(store: &dyn ObjectStore, env: &str) -> Vec<Finding> {
    if let Err(error) = store.check().await {
        return vec![Finding::of("bucket", &Failure::from(error))];
    }
    let mut findings = vec![Finding::ok("bucket", format!("'{}' is there and may be listed", store.bucket()))];
    // Where consumers have no rights and readers do not look.
    let name = format!("{env}/_staging/doctor-{}", Uuid::new_v4());
    let keys = ["put", "multipart", "copy"].map(|what| ObjectKey::new(format!("{name}-{what}")));
    let [Ok(put), Ok(multipart), Ok(copied)] = keys else {
        findings.push(Finding::fail("bucket", "EXPORTER_ENV does not make a key; correct it"));
        return findings;
    };
    findings.push(finding("absent", head_of_nothing(store, &put).await));
    findings.push(finding("put", put_once(store, &put).await));
    findings.push(conditional(store, &put).await);
    findings.push(finding("head", head(store, &put).await));
    findings.push(finding("get", get(store, &put).await));
    findings.push(finding("copy", copy(store, &put, &copied).await));
    findings.push(finding("multipart", upload(store, &multipart).await));
    findings.push(finding("list uploads", listed(store, &multipart).await));
    findings.push(presign(store, &put).await);
    let mut deleted = Ok("objects can be deleted".to_owned());
    for key in [&put, &multipart, &copied] {
        if let Err(error) = store.delete(key).await {
            deleted = Err(error);
        }
    }
    if let (Ok(_), Ok(Some(_))) = (&deleted, store.head(&put).await) {
        findings.push(Finding::fail("delete", "a deleted object is still there; look at the bucket's policy"));
    } else {
        findings.push(finding("delete", deleted));
    }
    findings
}

fn finding(check: &'static str, tried: Result<String, StorageError>) -> Finding {
    match tried {
        Ok(found) => Finding::ok(check, found),
        Err(error) => Finding::of(check, &Failure::from(error)),
    }
}

/// Without the right to list, a store says "denied" of what is not there, and nothing unclear can be settled.
async fn head_of_nothing(store: &dyn ObjectStore, key: &ObjectKey) -> Result<String, StorageError> {
    match store.head(key).await? {
        None => Ok("what is not there is said not to be".to_owned()),
        Some(_) => Ok("a key that was never used is taken".to_owned()),
    }
}

async fn put_once(store: &dyn ObjectStore, key: &ObjectKey) -> Result<String, StorageError> {
    store
        .put_if_absent(key, Bytes::from_static(CONTENT), "text/plain")
        .await
        .map(|_| "objects can be written".to_owned())
}

async fn conditional(store: &dyn ObjectStore, key: &ObjectKey) -> Finding {
    match store.put_if_absent(key, Bytes::from_static(b"other"), "text/plain").await {
        Ok(PutOutcome::AlreadyThere) => Finding::ok("conditional put", "an object is not overwritten"),
        Ok(PutOutcome::Created) => Finding::fail(
            "conditional put",
            "the store ignores If-None-Match and overwrites; manifests are not safe in it: use one that honours it",
        ),
        Err(error) => Finding::of("conditional put", &Failure::from(error)),
    }
}

async fn head(store: &dyn ObjectStore, key: &ObjectKey) -> Result<String, StorageError> {
    match store.head(key).await? {
        Some(meta) if meta.size == CONTENT.len() as u64 => Ok("objects can be looked at".to_owned()),
        _ => Err(StorageError::NotFound { bucket: store.bucket().to_owned(), key: key.to_string() }),
    }
}

async fn get(store: &dyn ObjectStore, key: &ObjectKey) -> Result<String, StorageError> {
    let range = store.get_range(key, 0..4).await?;
    if store.get(key).await? == CONTENT && range == CONTENT[..4] {
        Ok("objects can be read".to_owned())
    } else {
        Err(StorageError::Corrupt { key: key.to_string(), detail: "it was read back otherwise".to_owned() })
    }
}

async fn copy(store: &dyn ObjectStore, from: &ObjectKey, to: &ObjectKey) -> Result<String, StorageError> {
    let absent = || StorageError::NotFound { bucket: store.bucket().to_owned(), key: from.to_string() };
    let meta = store.head(from).await?.ok_or_else(absent)?;
    store.copy(from, &meta.etag, to).await.map(|()| "objects can be copied".to_owned())
}

/// One upload is completed, another is aborted.
async fn upload(store: &dyn ObjectStore, key: &ObjectKey) -> Result<String, StorageError> {
    let aborted = store.create_multipart(key, "text/plain").await?;
    store.abort_multipart(key, &aborted).await?;
    let upload = store.create_multipart(key, "text/plain").await?;
    let done = async {
        let part = store.upload_part(key, &upload, 1, Bytes::from_static(CONTENT)).await?;
        store.complete_multipart(key, &upload, &[part], CONTENT.len() as u64).await
    };
    match done.await {
        Ok(_) => Ok("uploads in parts can be completed and aborted".to_owned()),
        Err(error) => {
            // Nothing of it is to be left; why it failed is what counts.
            let _ = store.abort_multipart(key, &upload).await;
            Err(error)
        }
    }
}

/// What dead attempts left open is found by listing it.
async fn listed(store: &dyn ObjectStore, key: &ObjectKey) -> Result<String, StorageError> {
    let upload = store.create_multipart(key, "text/plain").await?;
    let listed = store.open_uploads(key).await;
    store.abort_multipart(key, &upload).await?;
    if listed?.contains(&upload) {
        Ok("uploads that are open can be listed".to_owned())
    } else {
        Err(StorageError::Corrupt { key: key.to_string(), detail: "an upload that is open is not listed".to_owned() })
    }
}

/// Signs a link and follows it without credentials, as a requester does.
async fn presign(store: &dyn ObjectStore, key: &ObjectKey) -> Finding {
    let signed = match store.presign_get(key, Duration::from_secs(60)).await {
        Ok(signed) => signed,
        Err(error) => return Finding::of("presign", &Failure::from(error)),
    };
    match tokio::time::timeout(PATIENCE, follow(&signed.url)).await {
        Ok(Some((200, body))) if body == CONTENT => Finding::ok("presign", "a link can be followed"),
        Ok(Some((status, _))) => Finding::fail(
            "presign",
            format!("a link answered with HTTP {status}; check EXPORTER_S3_PUBLIC_ENDPOINT, the region and the clock"),
        ),
        Ok(None) | Err(_) => Finding::warn(
            "presign",
            "a link is signed but cannot be followed from this machine; check EXPORTER_S3_PUBLIC_ENDPOINT from outside",
        ),
    }
}

/// The status and the body behind an address.
async fn follow(url: &str) -> Option<(u16, Bytes)> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
        .ok()?
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.get(url.parse().ok()?).await.ok()?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), 1 << 20).collect().await.ok()?.to_bytes();
    Some((status, body))
}
