//! The sample warehouse: a traffic platform with two full days of invented data, made inside PostgreSQL.
//!
//! The same options give the same rows, on any machine. Names, addresses, numbers and coordinates are invented:
//! e-mail domains, telephone numbers and IP addresses come from the ranges that are kept for examples. It never
//! touches tables that it did not make.

use std::fmt::Write;

use chrono::NaiveDate;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::error::{ErrorCode, Failure};

/// What is run, in this order, in one transaction.
const SCRIPTS: [(&str, &str); 4] = [
    ("tools", include_str!("sql/0_tools.sql")),
    ("roads", include_str!("sql/1_roads.sql")),
    ("events", include_str!("sql/2_events.sql")),
    ("measurements", include_str!("sql/3_measurements.sql")),
];

/// The tables of the sample, in the schema `public`.
pub const TABLES: [&str; 9] = [
    "cctv",
    "driver_registry",
    "incident",
    "probe_speed",
    "road_class_reference",
    "sensor_metric",
    "travel_time",
    "vms",
    "way",
];

const TYPES: [&str; 2] = ["incident_kind", "road_class"];

/// Keeps two builders of one database apart; any number that nothing else locks will do.
const ADVISORY_LOCK: i64 = 0x5A4D_504C_4557_4801;

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleOptions {
    /// Rows of `probe_speed`, the largest table, over both days; the others follow in proportion.
    pub rows: u64,
    /// The second of the two days, in UTC.
    pub last_day: NaiveDate,
    /// Another seed gives other values.
    pub seed: u64,
}

impl SampleOptions {
    /// 200,000 rows up to and including `last_day`.
    pub fn new(last_day: NaiveDate) -> Self {
        Self { rows: 200_000, last_day, seed: 1 }
    }

    /// What a database says of the sample that it holds: it changes with the options and with the scripts.
    fn marker(&self) -> String {
        let mut scripts = Sha256::new();
        for (_, script) in SCRIPTS {
            scripts.update(script);
        }
        let mut version = String::new();
        for byte in &scripts.finalize()[..6] {
            let _ = write!(version, "{byte:02x}");
        }
        let Self { rows, last_day, seed } = self;
        format!("{MARKER} {version} rows={rows} last_day={last_day} seed={seed}")
    }

    /// Puts the options into a script. They are numbers and a date: there is nothing to escape.
    fn fill(&self, script: &str) -> String {
        script
            .replace(":rows", &self.rows.to_string())
            .replace(":seed", &format!("'{}'", self.seed.cast_signed()))
            .replace(":last_day", &format!("'{}'", self.last_day))
    }
}

/// How the marker begins, which stands as a comment on the schema `public`.
const MARKER: &str = "data-exporter sample";

/// What [`build`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleOutcome {
    /// The tables were made, or made anew.
    Built,
    /// They were there already, made with the same options.
    Kept,
}

/// Why the sample could not be made. Never holds the address, which has a password in it.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// No connection.
    #[error("cannot connect to the database for the sample: {0}")]
    Connect(#[source] sqlx::Error),
    /// A script failed; nothing of it stays.
    #[error("cannot build the sample ({step}): {source}")]
    Step {
        /// Which part.
        step: &'static str,
        /// The database's answer.
        source: sqlx::Error,
    },
    /// There is a table in the way that the sample did not make.
    #[error("the database has a table 'public.{table}' that is not the sample's; use an empty database for the sample")]
    NotOurs {
        /// The table.
        table: String,
    },
}

impl SampleError {
    /// The stable code for the outside.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::LocalSetupFailed
    }

    fn at(step: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Step { step, source }
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}

/// The last day that has ended, in UTC, by the database's clock.
///
/// # Errors
/// The database does not answer.
pub async fn yesterday(url: &SecretString) -> Result<NaiveDate, SampleError> {
    let mut connection = PgConnection::connect(url.expose_secret()).await.map_err(SampleError::Connect)?;
    let day = sqlx::query_scalar("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date - 1")
        .fetch_one(&mut connection)
        .await
        .map_err(SampleError::at("yesterday"))?;
    connection.close().await.map_err(SampleError::Connect)?;
    Ok(day)
}

/// Makes the sample in the database at `url`, in one transaction. One with the same options is left alone, one with
/// others is replaced.
///
/// # Errors
/// The database does not answer or fails, or has a table of the same name that is not the sample's.
pub async fn build(url: &SecretString, options: &SampleOptions) -> Result<SampleOutcome, SampleError> {
    let mut connection = PgConnection::connect(url.expose_secret()).await.map_err(SampleError::Connect)?;
    let mut transaction = connection.begin().await.map_err(SampleError::at("begin"))?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(ADVISORY_LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(SampleError::at("lock"))?;

    let marker: Option<String> = sqlx::query_scalar("SELECT obj_description('public'::regnamespace, 'pg_namespace')")
        .fetch_one(&mut *transaction)
        .await
        .map_err(SampleError::at("look for an earlier sample"))?;
    let marker = marker.filter(|text| text.starts_with(MARKER));
    let there: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relname = ANY ($1::text[]) ORDER BY relname",
    )
    .bind(&TABLES[..])
    .fetch_all(&mut *transaction)
    .await
    .map_err(SampleError::at("look for an earlier sample"))?;

    if marker.as_ref() == Some(&options.marker()) && there.len() == TABLES.len() {
        return Ok(SampleOutcome::Kept);
    }
    if let (None, Some(table)) = (&marker, there.into_iter().next()) {
        return Err(SampleError::NotOurs { table });
    }

    let mut steps = vec![("drop", drop_all())];
    steps.extend(SCRIPTS.iter().map(|(step, script)| (*step, options.fill(script))));
    steps.push(("finish", finish(&options.marker())));
    for (step, sql) in steps {
        transaction.execute(AssertSqlSafe(sql)).await.map_err(SampleError::at(step))?;
    }
    transaction.commit().await.map_err(SampleError::at("commit"))?;
    connection.close().await.map_err(SampleError::Connect)?;
    Ok(SampleOutcome::Built)
}

fn drop_all() -> String {
    let mut sql = String::from("SET LOCAL search_path = public; SET LOCAL maintenance_work_mem = '128MB';\n");
    for table in TABLES {
        let _ = writeln!(sql, "DROP TABLE IF EXISTS public.{table};");
    }
    for name in TYPES {
        let _ = writeln!(sql, "DROP TYPE IF EXISTS public.{name};");
    }
    sql
}

fn finish(marker: &str) -> String {
    let mut sql = format!("DROP SCHEMA sample CASCADE; COMMENT ON SCHEMA public IS '{marker}';\n");
    for table in TABLES {
        let _ = writeln!(sql, "ANALYZE public.{table};");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_tells_every_option() {
        let day = NaiveDate::from_ymd_opt(2026, 2, 28).unwrap();
        let options = SampleOptions::new(day);
        for other in [
            SampleOptions { rows: 1, ..options.clone() },
            SampleOptions { seed: 2, ..options.clone() },
            SampleOptions::new(day.succ_opt().unwrap()),
        ] {
            assert_ne!(options.marker(), other.marker());
        }
        assert_eq!(options.marker(), options.clone().marker());
    }

    #[test]
    fn every_placeholder_is_filled_and_the_largest_seed_fits() {
        let options =
            SampleOptions { seed: u64::MAX, ..SampleOptions::new(NaiveDate::from_ymd_opt(2026, 2, 28).unwrap()) };
        for (step, script) in SCRIPTS {
            let filled = options.fill(script);
            for name in [":rows", ":seed", ":last_day"] {
                assert!(!filled.contains(name), "{step}: {name}");
            }
        }
        assert!(options.fill(":seed").contains("'-1'"));
    }
}
