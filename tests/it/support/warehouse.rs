//! A warehouse for tests: a schema of a real PostgreSQL, and scans of whole tables.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use classification::rules::TypeProfile;
use classification::{PolicyColumn, Predicate, TableName};
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{HeldBack, ScanContext, ScanSpec, TableShape, Warehouse, WarehouseError};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The address of the database that these tests share.
pub(crate) fn url() -> String {
    super::cluster::url("postgres")
}

/// A schema of its own for one test.
pub(crate) struct TestWarehouse {
    /// The schema's name.
    pub(crate) schema: String,
    /// A connection whose search path is that schema.
    pub(crate) sql: PgConnection,
    /// What is tested.
    pub(crate) warehouse: PostgresWarehouse,
}

impl TestWarehouse {
    /// An empty schema of this name.
    pub(crate) async fn new(schema: &str) -> Self {
        let mut sql = PgConnection::connect(&url()).await.unwrap();
        let setup = format!(
            "DROP SCHEMA IF EXISTS \"{schema}\" CASCADE; CREATE SCHEMA \"{schema}\"; SET search_path = \"{schema}\", public"
        );
        sqlx::raw_sql(AssertSqlSafe(setup)).execute(&mut sql).await.unwrap();
        let warehouse = PostgresWarehouse::new(SecretString::from(url()), PostgresOptions::default()).unwrap();
        Self { schema: schema.to_owned(), sql, warehouse }
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, statements: impl Into<String>) {
        let statements = statements.into();
        let done = sqlx::raw_sql(AssertSqlSafe(statements.clone())).execute(&mut self.sql).await;
        done.unwrap_or_else(|error| panic!("{error}: {statements}"));
    }

    /// The texts of one column.
    pub(crate) async fn texts(&mut self, query: impl Into<String>) -> Vec<Option<String>> {
        sqlx::query_scalar(AssertSqlSafe(query.into())).persistent(false).fetch_all(&mut self.sql).await.unwrap()
    }

    /// A table of this schema.
    pub(crate) fn table(&self, name: &str) -> TableName {
        format!("{}.{name}", self.schema).parse().unwrap()
    }

    /// What the catalog says of a table.
    pub(crate) async fn shape(&self, name: &str) -> TableShape {
        let mut shapes = self.warehouse.catalog(&[self.table(name)]).await.unwrap();
        assert_eq!(shapes.len(), 1, "{name}");
        shapes.remove(0)
    }

    /// A scan of all columns and rows.
    pub(crate) async fn whole(&self, name: &str) -> ScanSpec {
        whole_of(&self.warehouse, &self.table(name).to_string()).await
    }

    /// All batches of a scan.
    pub(crate) async fn read(&self, scan: &ScanSpec) -> Result<Vec<RecordBatch>, WarehouseError> {
        let mut stream = self.warehouse.scan(scan, &context("data-exporter test")).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await? {
            assert_eq!(batch.schema(), stream.schema());
            assert!(batch.num_rows() > 0);
            batches.push(batch);
        }
        Ok(batches)
    }
}

/// A context with patience.
pub(crate) fn context(application_name: &str) -> ScanContext {
    ScanContext {
        application_name: application_name.to_owned(),
        first_row_timeout: Duration::from_secs(30),
        held_back: HeldBack::default(),
        snapshot: None,
    }
}

/// A scan of all columns and rows of a table.
pub(crate) async fn whole_of(warehouse: &PostgresWarehouse, table: &str) -> ScanSpec {
    let mut shapes = warehouse.catalog(&[table.parse().unwrap()]).await.unwrap();
    assert_eq!(shapes.len(), 1, "{table}");
    let shape = shapes.remove(0);
    let columns = shape.columns.into_iter().map(|column| PolicyColumn {
        name: column.catalog.name,
        sql_type: column.catalog.sql_type,
        kind: column.catalog.kind,
        cell: Predicate::Always,
        care: Vec::new(),
        scan: false,
    });
    ScanSpec {
        table: shape.table,
        columns: columns.collect(),
        rows: Predicate::Always,
        slice: None,
        guards: Vec::new(),
        type_profile: TypeProfile::Portable,
        options: BTreeMap::new(),
    }
}
