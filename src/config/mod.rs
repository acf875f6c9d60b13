//! Settings: read from the environment and an optional TOML file, checked all at once, typed once.
//!
//! The keys are the same in both; the environment wins. Nothing else in the program reads a setting.

mod auth;
mod key;
mod proxies;
mod schedule;
mod source;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use classification::actions::Pseudonymiser;
use ipnet::IpNet;
use secrecy::SecretString;

pub use auth::{AuthKind, JwtSettings};
pub use proxies::ForwardedKind;
pub use schedule::ScheduleSettings;
pub use source::{Source, SourceError};

use crate::error::{ErrorCode, Failure};
use source::Reader;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Answers requests.
    pub api: bool,
    /// Plans, extracts and publishes.
    pub worker: bool,
    /// Decides what is due.
    pub scheduler: bool,
}

/// Where download links lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinksKind {
    /// To the object store.
    Presigned,
    /// To this service, which checks, writes down and redirects.
    Redirect,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which settings a command cannot do without.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// `DATABASE_URL`.
    pub database: bool,
    /// `EXPORTER_WAREHOUSE_URL`, when this process works.
    pub warehouse: bool,
    /// `EXPORTER_BUCKET`.
    pub bucket: bool,
    /// This process works, whatever `EXPORTER_ROLES` says.
    pub works: bool,
    /// Local mode: what is missing of the three is made, and authentication is off unless set.
    pub local: bool,
}

/// Every setting, typed. README lists them with their defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`.
    pub database_url: Option<SecretString>,
    /// `EXPORTER_WAREHOUSE_URL`.
    pub warehouse_url: Option<SecretString>,
    /// `EXPORTER_BUCKET`.
    pub bucket: Option<String>,
    /// `EXPORTER_ENV`: the first element of every key.
    pub env: String,
    /// `EXPORTER_BIND`.
    pub bind: SocketAddr,
    /// `EXPORTER_ROLES`.
    pub roles: Roles,
    /// `EXPORTER_AUTH`, `EXPORTER_JWT_*`.
    pub auth: AuthKind,
    /// `EXPORTER_RATE_LIMIT`: requests a second of one identity to this process; 0 for no limit.
    pub rate_limit: u32,
    /// `EXPORTER_RATE_BURST`: requests at once after a pause.
    pub rate_burst: u32,
    /// `EXPORTER_WEBSOCKETS_PER_IDENTITY`: most websockets of one identity to this process at once.
    pub websockets_per_identity: usize,
    /// `EXPORTER_TRUSTED_PROXIES`: the networks of proxies that say where requests come from.
    pub trusted_proxies: Vec<IpNet>,
    /// `EXPORTER_FORWARDED_HEADER`: where they say it.
    pub forwarded_header: ForwardedKind,
    /// `EXPORTER_GRAPHIQL`; on in local mode.
    pub graphiql: bool,
    /// `EXPORTER_INTROSPECTION`: whether the schema may be asked about itself, and suggests names; on in local mode.
    pub introspection: bool,
    /// `EXPORTER_MAX_CONCURRENT_PARTITIONS`.
    pub max_concurrent_partitions: usize,
    /// `EXPORTER_MAX_ACTIVE_JOBS_PER_TENANT`.
    pub max_active_jobs_per_tenant: i32,
    /// `EXPORTER_MAX_WAREHOUSE_CONNECTIONS`: connections that all replicas together read over; 0 for any number.
    pub max_warehouse_connections: i32,
    /// `EXPORTER_SNAPSHOT_MAX_SECONDS`: how long a snapshot is held for the partitions of a table; zero for none.
    pub snapshot_max: Duration,
    /// `EXPORTER_JOIN_RUNNING`: whether a request may join an identical one that runs.
    pub join_running: bool,
    /// `EXPORTER_MAX_ATTEMPTS`.
    pub max_attempts: i32,
    /// `EXPORTER_MAX_CRASHES`.
    pub max_crashes: i32,
    /// `EXPORTER_PARTITION_TARGET_BYTES`.
    pub partition_target_bytes: u64,
    /// `EXPORTER_PSEUDONYM_KEY_FILE`: what the key in it makes pseudonyms with. Only read by processes that work.
    pub pseudonyms: Option<Pseudonymiser>,
    /// Whether a key for pseudonyms is named: what processes that only explain have to know.
    pub has_pseudonym_key: bool,
    /// `EXPORTER_GATE_SAMPLE`: more than 0, at most 1.
    pub gate_sample: f64,
    /// `EXPORTER_CSV_FORMULA_GUARD`.
    pub csv_formula_guard: bool,
    /// `EXPORTER_LINKS`.
    pub links: LinksKind,
    /// `EXPORTER_PUBLIC_URL`: where requesters reach this service, without a slash at its end.
    pub public_url: Option<String>,
    /// `EXPORTER_LINK_TTL_SECONDS`.
    pub link_ttl: Duration,
    /// `EXPORTER_S3_PATH_STYLE`.
    pub s3_path_style: bool,
    /// `EXPORTER_S3_PUBLIC_ENDPOINT`.
    pub s3_public_endpoint: Option<String>,
    /// `EXPORTER_STATEMENT_TIMEOUT_SECONDS`.
    pub statement_timeout: Duration,
    /// `EXPORTER_FIRST_ROW_TIMEOUT_SECONDS`.
    pub first_row_timeout: Duration,
    /// `EXPORTER_HISTORY_DAYS`: how long requests that have ended, and whose files are gone, stay in the queue's tables.
    pub history: Duration,
    /// `EXPORTER_RETENTION_DAYS`: how long files of requests on demand are kept.
    pub retention: Duration,
    /// `EXPORTER_STALL_SECONDS`: how long nothing of an attempt or a request may move.
    pub stall: Duration,
    /// `EXPORTER_MAX_ROWS_PER_SECOND`: rows that this process reads from the warehouse, at most; `None` for any number.
    pub max_rows_per_second: Option<NonZeroU64>,
    /// `EXPORTER_MAX_READ_BYTES_PER_SECOND`: the same of bytes.
    pub max_read_bytes_per_second: Option<NonZeroU64>,
    /// `EXPORTER_MAX_REPLICA_LAG_SECONDS`: how far behind a standby may be to be read from.
    pub max_replica_lag: Duration,
    /// `EXPORTER_SCHEDULE`, `EXPORTER_TIMEZONE`, `EXPORTER_CATCH_UP`, `EXPORTER_SCHEDULE_LAG_SECONDS`.
    pub schedule: ScheduleSettings,
    /// `EXPORTER_SNS_TOPIC_ARN`: the topic that notifications go to; `None`: they go to the log.
    pub sns_topic: Option<String>,
    /// `EXPORTER_START_DEADLINE_SECONDS`: how long a day that is due may not be begun before it is told of.
    pub start_deadline: Duration,
    /// `EXPORTER_DATA_DIR`.
    pub data_dir: Option<PathBuf>,
    /// `EXPORTER_LOG`: a filter such as `info` or `warn,data_exporter=debug`.
    pub log: String,
    /// `EXPORTER_LOG_FORMAT`.
    pub log_format: LogFormat,
}

/// Every wrong or missing setting, in one message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} wrong:\n{}", if .0.len() == 1 { "one setting is".to_owned() } else { format!("{} settings are", .0.len()) }, .0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(pub Vec<String>);

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Failure::new(ErrorCode::SettingsInvalid, error.to_string())
    }
}

impl Settings {
    /// Reads every setting and reports everything that is wrong with them at once.
    pub fn read(source: &Source, needs: Needs) -> Result<Self, SettingsError> {
        let mut read = Reader::new(source);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let roles = read.parsed("EXPORTER_ROLES", Roles { api: true, worker: true, scheduler: true }, parse_roles);
        let mut settings = Self {
            database_url: read.secret("DATABASE_URL", parse_postgres_url),
            warehouse_url: read.secret("EXPORTER_WAREHOUSE_URL", parse_postgres_url),
            bucket: read.optional("EXPORTER_BUCKET", parse_bucket),
            env: read.parsed("EXPORTER_ENV", "dev".to_owned(), parse_env),
            bind: read.parsed("EXPORTER_BIND", SocketAddr::from(([127, 0, 0, 1], 8080)), |text| {
                text.parse().map_err(|_| "is not an address and a port, such as 127.0.0.1:8080".to_owned())
            }),
            roles,
            auth: auth::read(&mut read, needs.local),
            rate_limit: read.number("EXPORTER_RATE_LIMIT", if needs.local { 0 } else { 100 }, 0..=1_000_000),
            rate_burst: read.number("EXPORTER_RATE_BURST", 300, 1..=1_000_000),
            websockets_per_identity: read.number("EXPORTER_WEBSOCKETS_PER_IDENTITY", 16, 1..=256),
            trusted_proxies: proxies::trusted(&mut read),
            forwarded_header: proxies::header(&mut read),
            graphiql: read.parsed("EXPORTER_GRAPHIQL", needs.local, parse_bool),
            introspection: read.parsed("EXPORTER_INTROSPECTION", needs.local, parse_bool),
            max_concurrent_partitions: read.number("EXPORTER_MAX_CONCURRENT_PARTITIONS", cores.min(2), 1..=64),
            max_active_jobs_per_tenant: read.number("EXPORTER_MAX_ACTIVE_JOBS_PER_TENANT", 3, 1..=1_000),
            max_warehouse_connections: read.number("EXPORTER_MAX_WAREHOUSE_CONNECTIONS", 0, 0..=10_000),
            snapshot_max: Duration::from_secs(read.number("EXPORTER_SNAPSHOT_MAX_SECONDS", 900, 0..=86_400)),
            join_running: read.parsed("EXPORTER_JOIN_RUNNING", false, parse_bool),
            max_attempts: read.number("EXPORTER_MAX_ATTEMPTS", 3, 1..=100),
            max_crashes: read.number("EXPORTER_MAX_CRASHES", 3, 1..=100),
            partition_target_bytes: read.number("EXPORTER_PARTITION_TARGET_BYTES", 256 << 20, (1 << 20)..=(64 << 30)),
            pseudonyms: None,
            has_pseudonym_key: read.optional("EXPORTER_PSEUDONYM_KEY_FILE", |_| Ok(())).is_some(),
            gate_sample: read.parsed("EXPORTER_GATE_SAMPLE", 1.0, parse_share),
            csv_formula_guard: read.parsed("EXPORTER_CSV_FORMULA_GUARD", true, parse_bool),
            links: read.parsed("EXPORTER_LINKS", LinksKind::Presigned, |text| match text {
                "presigned" => Ok(LinksKind::Presigned),
                "redirect" => Ok(LinksKind::Redirect),
                _ => Err("is neither presigned nor redirect".to_owned()),
            }),
            public_url: read.optional("EXPORTER_PUBLIC_URL", parse_public_url),
            link_ttl: Duration::from_secs(read.number("EXPORTER_LINK_TTL_SECONDS", 86_400, 1..=604_800)),
            s3_path_style: read.parsed("EXPORTER_S3_PATH_STYLE", false, parse_bool),
            s3_public_endpoint: read.optional("EXPORTER_S3_PUBLIC_ENDPOINT", parse_http_url),
            statement_timeout: Duration::from_secs(read.number("EXPORTER_STATEMENT_TIMEOUT_SECONDS", 60, 1..=86_400)),
            first_row_timeout: Duration::from_secs(read.number("EXPORTER_FIRST_ROW_TIMEOUT_SECONDS", 300, 1..=86_400)),
            history: Duration::from_secs(86_400 * read.number("EXPORTER_HISTORY_DAYS", 400, 1..=36_500)),
            retention: Duration::from_secs(86_400 * read.number("EXPORTER_RETENTION_DAYS", 7, 1..=36_500)),
            stall: Duration::from_secs(read.number("EXPORTER_STALL_SECONDS", 300, 5..=86_400)),
            max_rows_per_second: NonZeroU64::new(read.number("EXPORTER_MAX_ROWS_PER_SECOND", 0, 0..=1_000_000_000_000)),
            max_read_bytes_per_second: NonZeroU64::new(read.number(
                "EXPORTER_MAX_READ_BYTES_PER_SECOND",
                0,
                0..=1_000_000_000_000,
            )),
            max_replica_lag: Duration::from_secs(read.number("EXPORTER_MAX_REPLICA_LAG_SECONDS", 5, 1..=86_400)),
            schedule: schedule::read(&mut read),
            sns_topic: read.optional("EXPORTER_SNS_TOPIC_ARN", parse_topic),
            start_deadline: Duration::from_secs(read.number("EXPORTER_START_DEADLINE_SECONDS", 3_600, 60..=604_800)),
            data_dir: read.optional("EXPORTER_DATA_DIR", |text| Ok(PathBuf::from(text))),
            log: read.parsed("EXPORTER_LOG", "info".to_owned(), |text| Ok(text.to_owned())),
            log_format: read.parsed("EXPORTER_LOG_FORMAT", LogFormat::Text, |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err("is neither text nor json".to_owned()),
            }),
        };
        settings.roles.worker |= needs.works;
        if (needs.warehouse || needs.local) && settings.roles.worker {
            settings.pseudonyms = read.optional("EXPORTER_PSEUDONYM_KEY_FILE", |path| key::read(Path::new(path)));
        }
        if !needs.local {
            let works = needs.warehouse && settings.roles.worker;
            read.require(
                needs.database,
                &settings.database_url,
                "DATABASE_URL",
                "the metadata database, postgres://user:password@host/database",
            );
            read.require(
                works,
                &settings.warehouse_url,
                "EXPORTER_WAREHOUSE_URL",
                "the warehouse, postgres://user:password@host/database",
            );
            read.require(needs.bucket, &settings.bucket, "EXPORTER_BUCKET", "the bucket that exports are written to");
        }
        if settings.auth == AuthKind::None && settings.roles.api && !settings.bind.ip().is_loopback() {
            read.problem(
                "EXPORTER_AUTH",
                &format!(
                    "is none, which is refused unless EXPORTER_BIND is a loopback address; it is {}",
                    settings.bind
                ),
            );
        }
        let everywhere = settings.roles.api && settings.bind.ip().is_unspecified();
        if settings.links == LinksKind::Redirect && settings.public_url.is_none() && everywhere {
            read.problem(
                "EXPORTER_PUBLIC_URL",
                &format!(
                    "is not set; with EXPORTER_LINKS=redirect and EXPORTER_BIND={} it must say where requesters reach \
                     this service, such as https://exports.example.com",
                    settings.bind
                ),
            );
        }
        read.finish(settings)
    }
}

fn parse_roles(text: &str) -> Result<Roles, String> {
    let mut roles = Roles { api: false, worker: false, scheduler: false };
    for role in text.split(',').map(str::trim) {
        match role {
            "api" => roles.api = true,
            "worker" => roles.worker = true,
            "scheduler" => roles.scheduler = true,
            other => {
                return Err(format!(
                    "names the role '{other}'; roles are api, worker and scheduler, separated by commas"
                ));
            }
        }
    }
    Ok(roles)
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("must be a number above 0 and at most 1".to_owned()),
    }
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// The message never repeats the address: it holds a password.
fn parse_postgres_url(text: &str) -> Result<(), String> {
    let sound = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    if sound {
        Ok(())
    } else {
        Err("is not an address of the form postgres://user:password@host:port/database".to_owned())
    }
}

fn parse_http_url(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.to_owned()),
        _ => Err("is not an address of the form https://host".to_owned()),
    }
}

fn parse_topic(text: &str) -> Result<String, String> {
    let words = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    match text.split(':').collect::<Vec<_>>()[..] {
        ["arn", partition, "sns", region, account, name]
            if [partition, region, account, name].into_iter().all(words) =>
        {
            if name.ends_with(".fifo") {
                return Err("names a FIFO topic; no order is promised, so name a standard one".to_owned());
            }
            Ok(text.to_owned())
        }
        _ => Err("is not of the form arn:aws:sns:region:account:name".to_owned()),
    }
}

fn parse_public_url(text: &str) -> Result<String, String> {
    let sound = url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if sound {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("is not an address of the form https://host or https://host/path".to_owned())
    }
}

fn parse_bucket(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if (3..=63).contains(&text.len()) && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("is not a bucket's name: 3 to 63 of a-z, 0-9, '-' and '.'".to_owned())
    }
}

fn parse_env(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err("is not an element of a key: 1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.'".to_owned())
    }
}

#[cfg(test)]
mod tests;
