//! A metadata database for one test, on a real PostgreSQL, and rows as the queue leaves them.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;
use uuid::Uuid;

use super::cluster;

/// An empty database of this name, migrated.
pub(crate) async fn database(name: &str) -> PgPool {
    let pool = cluster::pool(&cluster::create(name).await).await;
    sqlx::migrate!("./migrations").run(&pool).await.unwrap();
    pool
}

/// Tables that are offered: `way` and `cctv` by time, `lookup` without a time column, `hidden` disabled, `nightly`
/// by the schedule only.
pub(crate) async fn offer_tables(pool: &PgPool) {
    let rows = "INSERT INTO export_tables (table_name, enabled, on_demand, time_column) VALUES
        ('way', true, true, 'seen_at'), ('cctv', true, true, 'seen_at'), ('lookup', true, true, NULL),
        ('hidden', false, true, 'seen_at'), ('nightly', true, false, 'seen_at')";
    sqlx::raw_sql(rows).execute(pool).await.unwrap();
}

/// A job in this state, its range 2026-11-18 from 0 to 12 o'clock.
pub(crate) async fn job(pool: &PgPool, tenant: &str, state: &str, queued_at: DateTime<Utc>) -> Uuid {
    let id = Uuid::now_v7();
    let sql =
        "INSERT INTO export_jobs (id, kind, tenant, requested_by, window_start, window_end, format, body_hash, state,
                   slot, started_at, completed_at, error_code, error_message, queued_at)
               VALUES ($1, 'on_demand', $2, 'somebody', '2026-11-18T00:00Z', '2026-11-18T12:00Z', 'parquet', '', $3,
                   CASE WHEN $3 IN ('PLANNING', 'RUNNING', 'FINALIZING', 'CANCELLING')
                        THEN (SELECT count(*) FROM export_jobs WHERE slot IS NOT NULL) END,
                   CASE WHEN $3 <> 'QUEUED' THEN $4 END,
                   CASE WHEN $3 IN ('COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED') THEN $4 END,
                   CASE WHEN $3 = 'FAILED' THEN 'WAREHOUSE_UNAVAILABLE' END,
                   CASE WHEN $3 = 'FAILED' THEN 'the warehouse is away' END, $4)";
    sqlx::query(sql).bind(id).bind(tenant).bind(state).bind(queued_at).execute(pool).await.unwrap();
    id
}

/// A table of a job in this state, with files `(key, rows, bytes)` when it is completed.
pub(crate) async fn table(pool: &PgPool, job: Uuid, name: &str, state: &str, files: &[(&str, i64, i64)]) {
    let files: Vec<_> = files
        .iter()
        .map(|(key, rows, bytes)| serde_json::json!({"key": key, "rows": rows, "bytes": bytes, "sha256": "00"}))
        .collect();
    let sql = "INSERT INTO export_job_tables (job_id, table_name, state, directory, plan, files, lease_until, worker,
                   error_code, error_message)
               VALUES ($1, $2, $3, $1::text || '/' || $2, '{}', CASE WHEN $3 = 'COMPLETED' THEN $4 END,
                   CASE WHEN $3 = 'FINALIZING' THEN clock_timestamp() END,
                   CASE WHEN $3 = 'FINALIZING' THEN $1 END,
                   CASE $3 WHEN 'SKIPPED' THEN 'TABLE_WITHOUT_TIME' WHEN 'FAILED' THEN 'SCHEMA_CHANGED' END,
                   CASE WHEN $3 IN ('SKIPPED', 'FAILED') THEN 'because of ' || $2 END)";
    let files = serde_json::Value::Array(files);
    sqlx::query(sql).bind(job).bind(name).bind(state).bind(files).execute(pool).await.unwrap();
}

/// A part of a table that has seen some of its rows.
pub(crate) async fn running_partition(pool: &PgPool, job: Uuid, table: &str, weight: f64, rows_seen: i64) {
    let sql =
        "INSERT INTO export_job_partitions (job_id, table_name, ordinal, scan, weight, state, fair_key, rows_seen,
                   lease_until, worker)
               VALUES ($1, $2, 0, '{}', $3, 'RUNNING', 0, $4, clock_timestamp(), $1)";
    sqlx::query(sql).bind(job).bind(table).bind(weight).bind(rows_seen).execute(pool).await.unwrap();
}

/// A row of `table_export_job_statuses`.
pub(crate) async fn status_row(pool: &PgPool, job: Uuid, tenant: &str, table: &str, status: &str, at: DateTime<Utc>) {
    let sql = "INSERT INTO table_export_job_statuses (job_id, kind, tenant, table_name, export_date, window_start,
                   window_end, status, row_count, byte_count, manifest_url, error_code, error_message, started_at,
                   completed_at)
               VALUES ($1, 'scheduled', $2, $3, '2026-11-18', '2026-11-18T00:00Z', '2026-11-19T00:00Z', $4,
                   5000000000, 7, CASE WHEN $4 = 'COMPLETED' THEN 's3://bucket/manifest' END,
                   CASE WHEN $4 = 'FAILED' THEN 'WAREHOUSE_DENIED' END, CASE WHEN $4 = 'FAILED' THEN 'no grant' END,
                   $5, CASE WHEN $4 <> 'IN-PROGRESS' THEN $5 END)";
    sqlx::query(sql).bind(job).bind(tenant).bind(table).bind(status).bind(at).execute(pool).await.unwrap();
}
