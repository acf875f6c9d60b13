//! PostgreSQL as a warehouse: its catalog, and scans by binary COPY.
//!
//! Everything runs read only. A COPY has a connection of its own that is used for nothing else; it is bounded by the
//! time to its first row and by silence, never by a statement time-out, which would count our own back-pressure.
//! No message holds the server's own text, a value or the address.

mod catalog;
mod copy;
mod count;
mod error;
mod estimate;
mod sql;
mod stream;
mod types;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use classification::{Predicate, TableName};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, PgPool, Row};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::copy::{BatchLimits, Decoder};
use self::error::Doing;
use self::stream::Reader;
use super::{BatchStream, Estimate, ScanContext, ScanSpec, TableShape, TimeSlice, Warehouse, WarehouseError};

/// Makes every session mean the same by the same text, whatever the role or the database set.
const SESSION: &str = "SET search_path = pg_catalog; SET standard_conforming_strings = on; SET TIME ZONE 'UTC'; \
    SET default_transaction_read_only = on";

/// A COPY is not bounded by its duration; and the same scan twice yields rows in the same order where it can.
const COPYING: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET synchronize_seqscans = off; \
     SELECT pg_catalog.pg_backend_pid()";

/// One snapshot, and no way to write.
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How PostgreSQL is used.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Connections for questions about catalog and plans, at most; and as many again for scans.
    pub max_connections: u32,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a question about catalog or plan may take. Scans are bounded otherwise.
    pub statement_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 4,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
        }
    }
}

/// A PostgreSQL warehouse.
pub struct PostgresWarehouse {
    address: PgConnectOptions,
    options: PostgresOptions,
    planning: PgPool,
    scans: Arc<Semaphore>,
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
        let address: PgConnectOptions = text.parse().map_err(|_| wrong())?;
        let address = address.application_name("data-exporter");
        let session = format!("{SESSION}; SET statement_timeout = {}", options.statement_timeout.as_millis());
        let planning = PgPoolOptions::new()
            .max_connections(options.max_connections.max(2))
            .acquire_timeout(options.connect_timeout)
            .idle_timeout(Duration::from_secs(300))
            .after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move { run(connection, session).await })
            })
            .connect_lazy_with(address.clone());
        let scans = Arc::new(Semaphore::new(options.max_connections.max(1) as usize));
        Ok(Self { address, options, planning, scans })
    }

    /// A connection outside the pool.
    async fn connect(&self, address: &PgConnectOptions) -> Result<PgConnection, WarehouseError> {
        let doing = Doing::now("connecting");
        match timeout(self.options.connect_timeout, PgConnection::connect_with(address)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(doing.failed(&error)),
            Err(_) => Err(doing.timed_out()),
        }
    }

    /// A connection in a read-only transaction, and the server's process behind it.
    async fn connect_for_copy(&self, application_name: &str) -> Result<(PgConnection, i32), WarehouseError> {
        let mut connection = self.connect(&self.address.clone().application_name(application_name)).await?;
        let doing = Doing::now("preparing a scan");
        let preparing = async {
            run(&mut connection, SESSION.to_owned()).await?;
            let rows = sqlx::raw_sql(COPYING).fetch_all(&mut connection).await?;
            let process: i32 = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
            run(&mut connection, BEGIN.to_owned()).await?;
            Ok(process)
        };
        match timeout(self.options.connect_timeout, preparing).await {
            Ok(Ok(process)) => Ok((connection, process)),
            Ok(Err(error)) => Err(doing.failed(&error)),
            Err(_) => Err(doing.timed_out()),
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
        let mut connection = self.connect(&self.address).await?;
        let doing = Doing::now("checking the connection");
        run(&mut connection, SESSION.to_owned()).await.map_err(|error| doing.failed(&error))?;
        let _ = connection.close().await;
        Ok(())
    }

    async fn catalog(&self, tables: &[TableName]) -> Result<Vec<TableShape>, WarehouseError> {
        let found = catalog::load(&self.planning, tables).await?;
        Ok(found.into_iter().map(catalog::Table::into_shape).collect())
    }

    async fn estimate(&self, scan: &ScanSpec) -> Result<Estimate, WarehouseError> {
        let table = self.table(&scan.table).await?;
        estimate::estimate(&self.planning, scan, &table).await
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

    async fn scan(&self, scan: &ScanSpec, context: &ScanContext) -> Result<Box<dyn BatchStream>, WarehouseError> {
        let table = self.table(&scan.table).await?;
        let rendered = sql::scan(scan, &table)?;
        let fields: Vec<_> = rendered.selected.iter().map(|selected| selected.field.clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let decodings: Vec<_> = rendered.selected.iter().map(|selected| selected.decoding).collect();
        let permit = Arc::clone(&self.scans)
            .acquire_owned()
            .await
            .map_err(|_| WarehouseError::Unavailable { detail: "the warehouse is closed".to_owned() })?;
        let (connection, process) = self.connect_for_copy(&context.application_name).await?;
        let reader = Reader {
            connection,
            process,
            pool: self.planning.clone(),
            table: table.name.clone(),
            columns: rendered.selected.into_iter().map(|selected| selected.column).collect(),
            decoder: Decoder::new(Arc::clone(&schema), &decodings, BatchLimits::default()),
            patience: context.first_row_timeout,
            permit,
        };
        Ok(Box::new(reader.start(schema, &rendered.sql).await?))
    }
}
