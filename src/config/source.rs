//! Where settings come from, and how one is read without giving up at the first that is wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use secrecy::SecretString;

use super::SettingsError;

/// Keys and values as text.
#[derive(Clone, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
}

/// Values can be secrets: only the keys are shown.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("settings file '{path}' cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// It is not TOML, or holds something else than settings.
    #[error("settings file '{path}': {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong, without values.
        reason: String,
    },
}

/// Every key that a file may hold, beside the AWS SDK's own, which come from the environment alone.
pub(super) const KEYS: &[&str] = &[
    "DATABASE_URL",
    "EXPORTER_WAREHOUSE_URL",
    "EXPORTER_BUCKET",
    "EXPORTER_ENV",
    "EXPORTER_BIND",
    "EXPORTER_ROLES",
    "EXPORTER_AUTH",
    "EXPORTER_JWT_ISSUER",
    "EXPORTER_JWT_AUDIENCE",
    "EXPORTER_JWT_JWKS_URL",
    "EXPORTER_RATE_LIMIT",
    "EXPORTER_RATE_BURST",
    "EXPORTER_WEBSOCKETS_PER_IDENTITY",
    "EXPORTER_TRUSTED_PROXIES",
    "EXPORTER_FORWARDED_HEADER",
    "EXPORTER_GRAPHIQL",
    "EXPORTER_INTROSPECTION",
    "EXPORTER_MAX_CONCURRENT_PARTITIONS",
    "EXPORTER_MAX_ACTIVE_JOBS_PER_TENANT",
    "EXPORTER_MAX_WAREHOUSE_CONNECTIONS",
    "EXPORTER_SNAPSHOT_MAX_SECONDS",
    "EXPORTER_JOIN_RUNNING",
    "EXPORTER_MAX_ATTEMPTS",
    "EXPORTER_MAX_CRASHES",
    "EXPORTER_PARTITION_TARGET_BYTES",
    "EXPORTER_PSEUDONYM_KEY_FILE",
    "EXPORTER_GATE_SAMPLE",
    "EXPORTER_CSV_FORMULA_GUARD",
    "EXPORTER_LINKS",
    "EXPORTER_LINK_TTL_SECONDS",
    "EXPORTER_PUBLIC_URL",
    "EXPORTER_S3_PATH_STYLE",
    "EXPORTER_S3_PUBLIC_ENDPOINT",
    "EXPORTER_STATEMENT_TIMEOUT_SECONDS",
    "EXPORTER_FIRST_ROW_TIMEOUT_SECONDS",
    "EXPORTER_STALL_SECONDS",
    "EXPORTER_MAX_ROWS_PER_SECOND",
    "EXPORTER_MAX_READ_BYTES_PER_SECOND",
    "EXPORTER_MAX_REPLICA_LAG_SECONDS",
    "EXPORTER_RETENTION_DAYS",
    "EXPORTER_HISTORY_DAYS",
    "EXPORTER_SCHEDULE",
    "EXPORTER_TIMEZONE",
    "EXPORTER_CATCH_UP",
    "EXPORTER_SCHEDULE_LAG_SECONDS",
    "EXPORTER_SNS_TOPIC_ARN",
    "EXPORTER_START_DEADLINE_SECONDS",
    "EXPORTER_DATA_DIR",
    "EXPORTER_LOG",
    "EXPORTER_LOG_FORMAT",
];

impl Source {
    /// The process's environment, over a TOML file where one is named.
    pub fn environment(file: Option<&Path>) -> Result<Self, SourceError> {
        let mut values = match file {
            Some(path) => Self::file(path)?,
            None => BTreeMap::new(),
        };
        for key in KEYS {
            if let Ok(value) = std::env::var(key) {
                values.insert((*key).to_owned(), value);
            }
        }
        Ok(Self { values })
    }

    /// Settings given as pairs.
    pub fn of<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { values: pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// These keys alone.
    pub fn only(&self, keys: &[&str]) -> Self {
        let kept = self.values.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        Self { values: kept.map(|(key, value)| (key.clone(), value.clone())).collect() }
    }

    /// Sets a key that is not set.
    pub fn set_default(&mut self, key: &str, value: &str) {
        self.values.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }

    pub(super) fn file(path: &Path) -> Result<BTreeMap<String, String>, SourceError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SourceError::Unreadable { path: shown.clone(), reason: error.to_string() })?;
        // The parser's own message quotes the line, which can hold a password.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SourceError::Invalid {
            path: shown.clone(),
            reason: match error.span() {
                Some(span) => format!("line {} is not TOML", text[..span.start.min(text.len())].lines().count().max(1)),
                None => "is not TOML".to_owned(),
            },
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            if !KEYS.contains(&key.as_str()) {
                return Err(SourceError::Invalid {
                    path: shown,
                    reason: format!("'{key}' is not a setting; README lists them"),
                });
            }
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => {
                    return Err(SourceError::Invalid {
                        path: shown,
                        reason: format!("'{key}' must be a string, a number, true or false"),
                    });
                }
            };
            values.insert(key, value);
        }
        Ok(values)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// Reads settings one by one and remembers everything that is wrong.
pub(super) struct Reader<'s> {
    source: &'s Source,
    problems: Vec<String>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self { source, problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, key: &str, what: &str) {
        self.problems.push(format!("{key} {what}"));
    }

    /// A setting with a default. A wrong value is remembered, and the default stands in until the report is made.
    pub(super) fn parsed<T>(&mut self, key: &str, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    pub(super) fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.source.get(key)?) {
            Ok(value) => Some(value),
            Err(what) => {
                self.problem(key, &what);
                None
            }
        }
    }

    /// A secret, checked without being shown.
    pub(super) fn secret(&mut self, key: &str, check: impl Fn(&str) -> Result<(), String>) -> Option<SecretString> {
        self.optional(key, |text| check(text).map(|()| SecretString::from(text)))
    }

    pub(super) fn number<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let Some(text) = self.source.get(key) else { return default };
        match text.parse::<T>() {
            Ok(value) if range.contains(&value) => value,
            _ => {
                self.problem(key, &format!("must be a whole number from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    /// A setting that is wrong has been reported already, and is not reported as missing.
    pub(super) fn require<T>(&mut self, needed: bool, value: &Option<T>, key: &str, what: &str) {
        if needed && value.is_none() && self.source.get(key).is_none() {
            self.problem(key, &format!("is not set: {what}"));
        }
    }

    pub(super) fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.problems.is_empty() { Ok(settings) } else { Err(SettingsError(self.problems)) }
    }
}
