//! Walks a job through the queue by hand, without stages around it.

use std::time::Duration;

use data_exporter::jobs::{
    FileChoice, FileReport, JobId, JobView, NewRequest, PlanTask, PlannedTable, PublishedFile, Queue, QueueSettings,
    Requests, StagedObject, TableFate, Tenant,
};
use serde_json::json;
use sqlx::postgres::PgPool;

use super::metadata;

pub(crate) const START: i64 = 1_772_409_600;

pub(crate) fn settings() -> QueueSettings {
    QueueSettings { lease: Duration::from_secs(6), ..QueueSettings::default() }
}

pub(crate) async fn submit(pool: &PgPool, tenant: &str) -> JobId {
    Requests::new(pool.clone()).submit(&request(tenant)).await.unwrap()
}

/// The same minute of every table.
pub(crate) fn request(tenant: &str) -> NewRequest {
    NewRequest {
        tenant: Tenant::new(tenant),
        requested_by: "test".to_owned(),
        start: START,
        end: START + 60,
        tables: None,
        files: FileChoice::default(),
        idempotency_key: None,
    }
}

/// Plans a job with these tables of so many partitions.
pub(crate) async fn plan(queue: &Queue, tables: &[(&str, usize)]) -> PlanTask {
    let task = queue.claim_plan().await.unwrap().expect("a job waits");
    plan_of(queue, &task, tables).await;
    task
}

/// Plans this job with these tables of so many partitions.
pub(crate) async fn plan_of(queue: &Queue, task: &PlanTask, tables: &[(&str, usize)]) {
    let planned = tables
        .iter()
        .map(|(table, partitions)| PlannedTable {
            table: table.parse().unwrap(),
            fate: TableFate::Export {
                directory: format!("dev/{}/{table}", task.job),
                plan: json!({"policy": {"hash": "h"}}),
                partitions: vec![(json!({}), 10.0); *partitions],
            },
        })
        .collect();
    queue.finish_plan(task, 1, planned).await.unwrap();
}

pub(crate) fn staged(name: &str) -> StagedObject {
    StagedObject {
        staging_key: name.to_owned(),
        rows: 10,
        bytes: 100,
        sha256: "0".repeat(64),
        etag: "e".to_owned(),
        snapshot: None,
        report: FileReport::default(),
    }
}

pub(crate) fn files() -> Vec<PublishedFile> {
    vec![PublishedFile { key: "k".to_owned(), rows: 10, bytes: 100, sha256: "0".repeat(64) }]
}

/// What happens to a lease when its worker dies: nobody renews it.
pub(crate) async fn let_leases_run_out(pool: &PgPool) {
    for table in ["export_jobs", "export_job_tables", "export_job_partitions"] {
        let sql = format!(
            "UPDATE {table} SET lease_until = clock_timestamp() - interval '1 s' WHERE lease_until IS NOT NULL"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
    }
}

/// A database with tables that are offered to every tenant, and a worker's queue over it.
pub(crate) async fn ready(name: &str) -> (PgPool, Queue) {
    let pool = metadata::database(name).await;
    metadata::offer_tables(&pool).await;
    // For several tenants: a table without such a column is for one alone.
    sqlx::raw_sql("UPDATE export_tables SET tenant_column = 'owner'").execute(&pool).await.unwrap();
    let queue = Queue::new(pool.clone(), settings());
    (pool, queue)
}

/// A job of the tenant `default`.
pub(crate) async fn view(pool: &PgPool, job: JobId) -> JobView {
    Requests::new(pool.clone()).find(&Tenant::default(), job).await.unwrap().unwrap()
}
