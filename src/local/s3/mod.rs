//! An S3 server inside the process, for local mode and for tests. The AWS SDK, presigned links and any other client
//! talk to it over HTTP.
//!
//! The crate s3s speaks the protocol and checks signatures and their expiry. Behind its trait are files, kept by this
//! module itself: of the file backend that comes with s3s, nearly every operation would have had to be replaced
//! (writes are not atomic, conditions race, parts and checksums are not compared, keys become paths), and its names on
//! disk are built from keys, which makes long keys and `a` beside `a/b` impossible. `disk` tells how they are kept.
//!
//! It never makes a path of a key, never shows half an object, never holds a whole body in memory, and never logs a
//! request: an address may carry a signature. It is for one machine: one process at a time serves a folder, nothing is
//! replicated, and nothing is flushed to the medium before it is acknowledged.

mod body;
mod checksums;
mod disk;
mod faults;
mod listing;
mod multipart;
mod objects;
mod server;
mod service;
mod shelf;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use s3s::S3Error;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{Fault, Faults, Operation};

use crate::error::{ErrorCode, Failure};
use crate::storage::s3::{ConnectError, S3Settings, S3Store};

/// How long a shutdown waits for requests that are being answered.
const GRACE: Duration = Duration::from_secs(5);

/// What a server needs to start.
#[derive(Debug, Clone)]
pub struct LocalS3Options {
    /// The folder that everything is kept in; created if it is missing.
    pub root: PathBuf,
    /// Where to listen; port 0 takes a free one. Loopback, unless the credentials are good ones.
    pub bind: SocketAddr,
    /// The access key that requests are signed with.
    pub access_key: String,
    /// Its secret.
    pub secret_key: SecretString,
    /// Buckets to create if they are missing.
    pub buckets: Vec<String>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalS3Error {
    /// The file system did not do it.
    #[error("cannot {action} ({kind}); check EXPORTER_DATA_DIR, its permissions and free space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The kind of fault.
        kind: io::ErrorKind,
    },
    /// Another process serves the folder.
    #[error("'{}' is in use by another process; stop that one, or choose another EXPORTER_DATA_DIR", root.display())]
    InUse {
        /// The folder.
        root: PathBuf,
    },
    /// A record on disk cannot be read.
    #[error("'{}' is damaged; remove it to lose that one object and go on", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address} ({kind}); stop what uses it, or choose another port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The kind of fault.
        kind: io::ErrorKind,
    },
    /// A bucket's name breaks the rules of S3.
    #[error(
        "'{name}' is no bucket name: 3 to 63 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit"
    )]
    BucketName {
        /// The name as given.
        name: String,
    },
}

impl LocalS3Error {
    fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { action, kind: error.kind() }
    }
}

impl From<LocalS3Error> for Failure {
    fn from(error: LocalS3Error) -> Self {
        Failure::new(ErrorCode::LocalSetupFailed, error.to_string())
    }
}

/// A fault of the machine while a request is answered; the client learns no path.
fn internal(error: impl std::error::Error + Send + Sync + 'static) -> S3Error {
    S3Error::internal_error(error)
}

/// A running server. Dropping it ends it at once; [`LocalS3::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct LocalS3 {
    address: SocketAddr,
    access_key: String,
    secret_key: SecretString,
    faults: Faults,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl LocalS3 {
    /// Opens the folder, creates missing buckets and listens.
    ///
    /// # Errors
    /// A folder that cannot be used or that another process uses, an address that is taken, a wrong bucket name.
    pub async fn start(options: LocalS3Options) -> Result<Self, LocalS3Error> {
        let LocalS3Options { root, bind, access_key, secret_key, buckets } = options;
        if let Some(name) = buckets.iter().find(|name| !s3s::path::check_bucket_name(name)) {
            return Err(LocalS3Error::BucketName { name: name.clone() });
        }
        let open = tokio::task::spawn_blocking(move || -> Result<shelf::Shelf, LocalS3Error> {
            let shelf = shelf::Shelf::open(root)?;
            for name in &buckets {
                shelf.create_bucket(name).map_err(LocalS3Error::io("create a bucket in local storage"))?;
            }
            Ok(shelf)
        });
        let shelf = open.await.map_err(|e| LocalS3Error::io("read local storage")(io::Error::other(e)))??;
        let listener = TcpListener::bind(bind).await;
        let listener = listener.map_err(|error| LocalS3Error::Bind { address: bind, kind: error.kind() })?;
        let address = listener.local_addr().map_err(LocalS3Error::io("learn the port of the local S3 server"))?;

        let mut builder = S3ServiceBuilder::new(service::Files { shelf: Arc::new(shelf) });
        builder.set_auth(SimpleAuth::from_single(access_key.clone(), secret_key.expose_secret()));
        let faults = Faults::default();
        let (stop, abort, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let server = server::Server {
            service: builder.build(),
            faults: faults.clone(),
            stop: stop.clone(),
            abort: abort.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(server.accept(listener));
        Ok(Self { address, access_key, secret_key, faults, stop, abort, tasks })
    }

    /// The address for clients, such as `http://127.0.0.1:9000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The handle to order faults with, for tests.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The settings with which a client reaches a bucket of this server.
    pub fn settings(&self, bucket: impl Into<String>) -> S3Settings {
        let mut settings = S3Settings::new(bucket);
        settings.endpoint = Some(self.endpoint());
        settings.path_style = true;
        settings.credentials = Some((self.access_key.clone(), self.secret_key.clone()));
        settings
    }

    /// A store for a bucket of this server; the bucket need not exist yet.
    ///
    /// # Errors
    /// None is known; the address is the server's own.
    pub async fn store(&self, bucket: impl Into<String>) -> Result<S3Store, ConnectError> {
        S3Store::connect(self.settings(bucket)).await
    }

    /// Stops listening, lets running requests finish for a few seconds, and gives the folder back.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for LocalS3 {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}
