//! S3 servers to test against, and clients that do what the store's trait does not.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bytes::Bytes;
use data_exporter::local::s3::{LocalS3, LocalS3Options};
use data_exporter::storage::ObjectKey;

pub(crate) const BUCKET: &str = "exports";
pub(crate) const ACCESS_KEY: &str = "LOCALACCESSKEY";
pub(crate) const SECRET_KEY: &str = "local-secret-for-tests-only";
pub(crate) const MIB: usize = 1024 * 1024;

/// Options for a server of one bucket in this folder, on a free port.
pub(crate) fn options(root: &Path) -> LocalS3Options {
    LocalS3Options {
        root: root.to_owned(),
        bind: "127.0.0.1:0".parse().unwrap(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.into(),
        buckets: vec![BUCKET.to_owned()],
    }
}

/// A server of one bucket in this folder.
pub(crate) async fn local(root: &Path) -> LocalS3 {
    LocalS3::start(options(root)).await.unwrap()
}

/// A bare client, for what the trait does not offer and for requests that a sound client would not send.
pub(crate) fn bare_client(endpoint: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "tests"))
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

/// The store's code in an error, or the HTTP status where there is no code.
pub(crate) fn code<E: ProvideErrorMetadata, T>(result: Result<T, SdkError<E>>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(SdkError::ServiceError(context)) => match context.err().code() {
            Some(code) => code.to_owned(),
            None => context.raw().status().as_u16().to_string(),
        },
        Err(_) => "transport".to_owned(),
    }
}

pub(crate) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// Bytes that differ everywhere and by seed.
pub(crate) fn noise(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// moto's S3 server, a foreign implementation. It ends with this value.
pub(crate) struct Moto {
    pub(crate) endpoint: String,
    _process: tokio::process::Child,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let python = std::env::var("EXPORTER_TEST_PYTHON").expect(
            "EXPORTER_TEST_PYTHON does not name a Python with moto[server]: run the tests by 'make test', which sets it up",
        );
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = tokio::process::Command::new(&python)
                .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap_or_else(|e| panic!("cannot start {python} (EXPORTER_TEST_PYTHON): {e}; run 'make test'"));
            let deadline = Instant::now() + Duration::from_secs(60);
            // Somebody else may have taken the port, and answers, but nobody else has this address: then it ends, and
            // another one is tried.
            let own = format!("http://127.0.0.1:{port}/moto-api/data.json");
            while process.try_wait().unwrap().is_none() {
                if matches!(client.get(&own).send().await, Ok(answer) if answer.status() == 200) {
                    return Self { endpoint: format!("http://127.0.0.1:{port}"), _process: process };
                }
                assert!(Instant::now() < deadline, "moto does not answer within a minute");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("moto does not start: is moto[server] installed?");
    }
}
