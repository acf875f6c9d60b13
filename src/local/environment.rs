//! The parts of local mode together: which are needed, where they keep their state, how they end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::postgres::{LocalPostgresError, PostgresOptions, PrivatePostgres};
use super::s3::{LocalS3, LocalS3Error, LocalS3Options};
use crate::error::{ErrorCode, Failure};
use crate::storage::s3::S3Settings;

/// The bucket of local mode.
pub const BUCKET: &str = "data-exporter";
/// The metadata database on the private server.
const METADATA: &str = "data_exporter";
/// The warehouse on the private server, where none is configured.
const WAREHOUSE: &str = "warehouse";
/// The access key of the S3 server in the process; its secret is made at the first start.
const ACCESS_KEY: &str = "data-exporter-local";

/// Why local mode could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory '{path}': {reason}; choose another with EXPORTER_DATA_DIR")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The private PostgreSQL did not start.
    #[error(transparent)]
    Postgres(#[from] LocalPostgresError),
    /// The S3 server did not start.
    #[error(transparent)]
    S3(#[from] LocalS3Error),
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        Failure::new(ErrorCode::LocalSetupFailed, error.to_string())
    }
}

/// What local mode has to stand in for.
#[derive(Debug, Clone, Copy)]
pub struct LocalNeeds {
    /// The metadata database.
    pub database: bool,
    /// The warehouse.
    pub warehouse: bool,
    /// The bucket.
    pub bucket: bool,
}

/// Running stand-ins.
#[derive(Debug)]
pub struct LocalEnvironment {
    postgres: Option<PrivatePostgres>,
    s3: Option<LocalS3>,
}

impl LocalEnvironment {
    /// Where local mode keeps its state when nothing is set: by account, outside the working directory.
    pub fn default_data_dir(name: &str) -> PathBuf {
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        match (state, home) {
            (Some(state), _) => state.join(name),
            // PostgreSQL does not run as root, and the account that it runs under cannot enter root's home.
            (None, Some(home)) if home != Path::new("/root") => home.join(".local/state").join(name),
            _ => Path::new("/var/lib").join(name),
        }
    }

    /// Starts what is needed, with its state in `data_dir`.
    pub async fn start(data_dir: &Path, needs: LocalNeeds) -> Result<Self, LocalError> {
        let unusable = |error: io::Error| LocalError::DataDir { path: data_dir.to_owned(), reason: error.to_string() };
        std::fs::create_dir_all(data_dir).map_err(unusable)?;
        let postgres = if needs.database || needs.warehouse {
            let server = PrivatePostgres::start(PostgresOptions::new(data_dir.join("postgres"))).await?;
            for (needed, database) in [(needs.database, METADATA), (needs.warehouse, WAREHOUSE)] {
                if needed {
                    server.create_database(database).await?;
                }
            }
            Some(server)
        } else {
            None
        };
        let s3 = if needs.bucket {
            let secret_key = secret(&data_dir.join("s3-secret")).map_err(unusable)?;
            Some(start_s3(data_dir, secret_key).await?)
        } else {
            None
        };
        Ok(Self { postgres, s3 })
    }

    /// The metadata database, where it is one of ours.
    pub fn database_url(&self) -> Option<SecretString> {
        self.postgres.as_ref().map(|server| server.url(METADATA))
    }

    /// The warehouse, where it is one of ours.
    pub fn warehouse_url(&self) -> Option<SecretString> {
        self.postgres.as_ref().map(|server| server.url(WAREHOUSE))
    }

    /// How the bucket is reached, where it is ours.
    pub fn s3_settings(&self) -> Option<S3Settings> {
        self.s3.as_ref().map(|server| server.settings(BUCKET))
    }

    /// Ends what was started, in the order in which nothing misses what it needs.
    pub async fn stop(self) {
        if let Some(s3) = self.s3 {
            s3.shutdown().await;
        }
        if let Some(postgres) = self.postgres
            && let Err(error) = postgres.stop().await
        {
            tracing::warn!(%error, "the private PostgreSQL did not stop properly");
        }
    }
}

/// Starts the S3 server on the port that it had before, so that links survive a restart, or on another if that is taken.
async fn start_s3(data_dir: &Path, secret_key: SecretString) -> Result<LocalS3, LocalS3Error> {
    let remembered = data_dir.join("s3-port");
    let before: u16 = std::fs::read_to_string(&remembered).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let options = |port: u16| LocalS3Options {
        root: data_dir.join("objects"),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: secret_key.clone(),
        buckets: vec![BUCKET.to_owned()],
    };
    let started = match LocalS3::start(options(before)).await {
        Err(_) if before != 0 => LocalS3::start(options(0)).await?,
        other => other?,
    };
    if let Some((_, port)) = started.endpoint().rsplit_once(':') {
        // Forgetting it costs old links, nothing else.
        let _ = std::fs::write(remembered, port);
    }
    Ok(started)
}

/// A secret that is made once and kept where only this account can read it: 64 hexadecimal digits.
///
/// # Errors
/// Where the file cannot be written.
pub fn secret(path: &Path) -> io::Result<SecretString> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    if let Ok(kept) = std::fs::read_to_string(path)
        && kept.trim().len() >= 32
    {
        return Ok(SecretString::from(kept.trim()));
    }
    let made: String = (0..4).map(|_| format!("{:016x}", rand::random::<u64>())).collect();
    let made = SecretString::from(made);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(made.expose_secret().as_bytes())?;
    Ok(made)
}
