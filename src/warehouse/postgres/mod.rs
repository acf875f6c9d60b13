//! PostgreSQL as a warehouse: its catalog by sqlx, and scans by binary COPY over a wire of our own.
//!
//! Everything runs read only. A COPY has a connection of its own that is used for nothing else; it is bounded by the
//! time to its first row and by silence, never by a statement time-out, which would count our own back-pressure.
//! No message holds the server's own text, a value or the address.

mod catalog;
mod copy;
mod count;
mod error;
mod estimate;
mod health;
mod seams;
mod snapshot;
mod sql;
mod standby;
mod stream;
mod types;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use classification::{Predicate, TableName};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use tokio::sync::Semaphore;
use tokio::time::timeout;

#[cfg(any(test, fuzzing))]
pub use self::copy::fuzzing;
use self::copy::{BatchLimits, Decoder};
use self::error::Doing;
use self::stream::Reader;
use self::wire::{Address, Connection};
use super::pace::Pace;
use super::{
    BatchStream, Estimate, Health, HeldSnapshot, ReadLimits, ScanContext, ScanSpec, TableShape, TimeRange, TimeSlice,
    Warehouse, WarehouseError,
};

/// Makes every session mean the same by the same text, whatever the role or the database set.
const SESSION: &str = "SET search_path = pg_catalog; SET standard_conforming_strings = on; SET TIME ZONE 'UTC'; \
    SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; \
    SET default_transaction_read_only = on";

/// A COPY is not bounded by its duration; and the same scan twice yields rows in the same order where it can.
const COPYING: &str =
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET synchronize_seqscans = off";

/// One snapshot, and no way to write.
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The name of sessions that are no scan's.
const APPLICATION: &str = "data-exporter";

/// How PostgreSQL is used.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Connections for questions about catalog and plans, at most; and as many again for scans.
    pub max_connections: u32,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a question about catalog or plan may take. Scans are bounded otherwise.
    pub statement_timeout: Duration,
    /// How far behind a standby may be to be read from.
    pub max_replica_lag: Duration,
    /// The most that all scans together read a second.
    pub read_limits: ReadLimits,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 4,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            max_replica_lag: Duration::from_secs(5),
            read_limits: ReadLimits::default(),
        }
    }
}

/// A PostgreSQL warehouse.
pub struct PostgresWarehouse {
    address: Address,
    /// For what is no scan.
    options: PostgresOptions,
    planning: PgPool,
    scans: Arc<Semaphore>,
    pace: Arc<Pace>,
}

impl fmt::Debug for PostgresWarehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address holds the password.
        f.debug_struct("PostgresWarehouse").field("options", &self.options).finish_non_exhaustive()
    }
}

impl PostgresWarehouse {
    /// A warehouse at this `postgres://` address. Nothing is connected yet: see [`Warehouse::check`]. To be called
    /// within a Tokio runtime.
    pub fn new(url: SecretString, options: PostgresOptions) -> Result<Self, WarehouseError> {
        let wrong = || WarehouseError::Denied { detail: "the address is not a postgres:// URL".to_owned() };
        let text = url.expose_secret();
        // The parser takes any scheme.
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(wrong());
        }
        let sqlx: PgConnectOptions = text.parse().map_err(|_| wrong())?;
        let address = Address::new(&sqlx).map_err(|detail| WarehouseError::Denied { detail: detail.to_owned() })?;
        let session = format!("{SESSION}; SET statement_timeout = {}", options.statement_timeout.as_millis());
        let planning = PgPoolOptions::new()
            .max_connections(options.max_connections.max(2))
            .acquire_timeout(options.connect_timeout)
            .idle_timeout(Duration::from_secs(300))
            .after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move { run(connection, session).await })
            })
            .connect_lazy_with(sqlx.application_name(APPLICATION));
        let scans = Arc::new(Semaphore::new(options.max_connections.max(1) as usize));
        let pace = Arc::new(Pace::new(options.read_limits));
        Ok(Self { address, options, planning, scans, pace })
    }

    /// A connection in a read-only transaction, used by nobody else, whose server has replayed what was committed before
    /// `until`. That is asked before the transaction begins: its snapshot must not be the older one.
    ///
    /// The statements that follow are read by the server under the settings that are made here.
    async fn connect(
        &self,
        application_name: &str,
        until: Option<DateTime<Utc>>,
    ) -> Result<Connection, WarehouseError> {
        let doing = Doing::now("connecting");
        let connecting = async {
            let mut connection = Connection::open(&self.address, application_name).await?;
            let session = format!("{SESSION}; {COPYING}");
            let most = self.options.max_replica_lag;
            if let Err(behind) = standby::ready(&mut connection, &session, until, most).await? {
                connection.close().await;
                return Ok(Err(behind));
            }
            connection.begin(BEGIN).await?;
            Ok(Ok(connection))
        };
        match timeout(self.options.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| doing.broken(&error))?,
            Err(_) => Err(doing.timed_out()),
        }
    }

    /// The same, reading this snapshot if it can be read. Says whether it is.
    async fn connect_under(
        &self,
        context: &ScanContext,
        until: Option<DateTime<Utc>>,
    ) -> Result<(Connection, bool), WarehouseError> {
        let mut connection = self.connect(&context.application_name, until).await?;
        let Some(token) = &context.snapshot else { return Ok((connection, false)) };
        match timeout(self.options.connect_timeout, connection.begin(&snapshot::import(token))).await {
            Ok(Ok(())) => Ok((connection, true)),
            // Its holder is gone, or an age has passed; a transaction that failed is of no more use.
            _ => {
                tracing::info!("a snapshot cannot be read any more; reading without");
                drop(connection);
                Ok((self.connect(&context.application_name, until).await?, false))
            }
        }
    }

    async fn table(&self, name: &TableName) -> Result<catalog::Table, WarehouseError> {
        let found = catalog::load(&self.planning, std::slice::from_ref(name)).await?;
        found.into_iter().next().ok_or_else(|| WarehouseError::TableNotFound { table: name.clone() })
    }
}

/// Runs statements of ours that hold no outside text.
async fn run(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(connection).await.map(drop)
}

#[async_trait]
impl Warehouse for PostgresWarehouse {
    async fn check(&self) -> Result<(), WarehouseError> {
        // Not through the pool, which would try a refused connection again until its time is up.
        let doing = Doing::now("connecting");
        let connecting = async {
            let mut connection = Connection::open(&self.address, APPLICATION).await?;
            connection.begin(&format!("{SESSION}; {COPYING}; {BEGIN}")).await?;
            connection.close().await;
            Ok(())
        };
        match timeout(self.options.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| doing.broken(&error)),
            Err(_) => Err(doing.timed_out()),
        }
    }

    async fn ready(&self, until: DateTime<Utc>) -> Result<(), WarehouseError> {
        let connection = self.connect(APPLICATION, Some(until)).await?;
        let _ = timeout(self.options.connect_timeout, connection.close()).await;
        Ok(())
    }

    async fn health(&self) -> Result<Option<Health>, WarehouseError> {
        let doing = Doing::now("asking how far behind it is");
        let asking = async {
            let mut connection = Connection::open(&self.address, APPLICATION).await?;
            let lag = standby::lag(&mut connection).await?;
            connection.close().await;
            Ok(lag)
        };
        let lag = match timeout(self.options.connect_timeout, asking).await {
            Ok(lag) => lag.map_err(|error| doing.broken(&error))?,
            Err(_) => return Err(doing.timed_out()),
        };
        health::health(&self.planning, &self.address, lag).await.map(Some)
    }

    async fn catalog(&self, tables: &[TableName]) -> Result<Vec<TableShape>, WarehouseError> {
        let found = catalog::load(&self.planning, tables).await?;
        Ok(found.into_iter().map(catalog::Table::into_shape).collect())
    }

    async fn estimate(&self, scan: &ScanSpec) -> Result<Estimate, WarehouseError> {
        let table = self.table(&scan.table).await?;
        estimate::estimate(&self.planning, scan, &table).await
    }

    async fn estimate_ranges(&self, scan: &ScanSpec, ranges: &[TimeRange]) -> Result<Vec<Estimate>, WarehouseError> {
        let table = self.table(&scan.table).await?;
        estimate::ranges(&self.planning, scan, &table, ranges).await
    }

    async fn seams(&self, scan: &ScanSpec) -> Result<Vec<DateTime<Utc>>, WarehouseError> {
        let Some(slice) = &scan.slice else { return Ok(Vec::new()) };
        let table = self.table(&scan.table).await?;
        seams::seams(&self.planning, &table, slice).await
    }

    async fn count(
        &self,
        table: &TableName,
        slice: Option<&TimeSlice>,
        conditions: &[Predicate],
    ) -> Result<Vec<i64>, WarehouseError> {
        let table = self.table(table).await?;
        count::count(&self.planning, &table, slice, conditions).await
    }

    async fn count_timeless(
        &self,
        table: &TableName,
        slice: &TimeSlice,
        condition: &Predicate,
    ) -> Result<i64, WarehouseError> {
        let table = self.table(table).await?;
        count::timeless(&self.planning, &table, slice, condition).await
    }

    async fn hold_snapshot(
        &self,
        application_name: &str,
        until: DateTime<Utc>,
    ) -> Result<Option<Box<dyn HeldSnapshot>>, WarehouseError> {
        let connection = self.connect(application_name, Some(until)).await?;
        let held = snapshot::hold(connection, self.options.connect_timeout).await?;
        Ok(Some(Box::new(held)))
    }

    async fn scan(&self, scan: &ScanSpec, context: &ScanContext) -> Result<Box<dyn BatchStream>, WarehouseError> {
        let table = self.table(&scan.table).await?;
        let rendered = sql::scan(scan, &table)?;
        let fields: Vec<_> = rendered.selected.iter().map(|selected| selected.field.clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let decodings: Vec<_> = rendered.selected.iter().map(|selected| selected.decoding.clone()).collect();
        let permit = Arc::clone(&self.scans)
            .acquire_owned()
            .await
            .map_err(|_| WarehouseError::Unavailable { detail: "the warehouse is closed".to_owned() })?;
        let until = scan.slice.as_ref().map(|slice| slice.end);
        let (connection, of_snapshot) = self.connect_under(context, until).await?;
        let reader = Reader {
            connection,
            of_snapshot,
            table: table.name.clone(),
            columns: rendered.selected.into_iter().map(|selected| selected.column).collect(),
            decoder: Decoder::new(Arc::clone(&schema), &decodings, BatchLimits::default()),
            patience: context.first_row_timeout,
            pace: Arc::clone(&self.pace),
            held_back: context.held_back.clone(),
            permit,
        };
        Ok(Box::new(reader.start(schema, &rendered.sql).await?))
    }
}
