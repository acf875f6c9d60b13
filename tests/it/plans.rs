//! No statement of the hot path reads a table that grows from end to end: each is planned, with a plan for any
//! parameters, in a database with many old jobs.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

use crate::support::metadata;

/// Tables that grow with every request or download, until history is archived, and some for ever.
const GROWING: [&str; 12] = [
    "export_jobs",
    "export_job_tables",
    "export_job_partitions",
    "export_staged_objects",
    "export_directories",
    "export_joined_keys",
    "export_archived_jobs",
    "export_archived_keys",
    "table_export_job_statuses",
    "export_link_grants",
    "export_download_audits",
    "admin_audit",
];

/// Statements that may take their time: who asks for them waits for a list of everything.
const UNHURRIED: [&str; 1] = ["to_retain.sql"];

/// Ended jobs with all that hangs on them, and a few that are worked on.
const FILL: &str = include_str!("support/old_jobs.sql");

async fn filled(name: &str) -> PgPool {
    let pool = metadata::database(name).await;
    let fill = FILL.replace(":jobs", "20000");
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&pool).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE").execute(&pool).await.unwrap();
    pool
}

/// Growing tables that a plan reads from end to end.
fn scans(plan: &Value, found: &mut BTreeSet<String>) {
    match plan {
        Value::Array(parts) => parts.iter().for_each(|part| scans(part, found)),
        Value::Object(node) => {
            let relation = node.get("Relation Name").and_then(Value::as_str);
            let whole = node.get("Node Type").and_then(Value::as_str).is_some_and(|kind| kind.contains("Seq Scan"));
            if let Some(relation) = relation.filter(|relation| whole && GROWING.contains(relation)) {
                found.insert(relation.to_owned());
            }
            node.values().for_each(|part| scans(part, found));
        }
        _ => {}
    }
}

async fn scanned(pool: &PgPool, statement: &str) -> BTreeSet<String> {
    let mut connection = pool.acquire().await.unwrap();
    let run = async |connection: &mut sqlx::PgConnection, sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
    };
    run(&mut connection, "SET plan_cache_mode = force_generic_plan".to_owned()).await;
    run(&mut connection, format!("PREPARE planned AS {statement}")).await;
    let parameters: i32 =
        sqlx::query_scalar("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'planned'")
            .persistent(false)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
    let nulls = vec!["NULL"; usize::try_from(parameters).unwrap()].join(", ");
    let explain = if nulls.is_empty() { "planned".to_owned() } else { format!("planned({nulls})") };
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE {explain}");
    let plan: Value =
        sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_one(&mut *connection).await.unwrap();
    run(&mut connection, "DEALLOCATE planned; RESET plan_cache_mode".to_owned()).await;
    let mut found = BTreeSet::new();
    scans(&plan, &mut found);
    found
}

#[tokio::test]
async fn no_statement_scans_a_table_that_grows() {
    let pool = filled("plans").await;
    let control = scanned(&pool, "SELECT count(*) FROM export_jobs WHERE requested_by = $1").await;
    assert_eq!(control, BTreeSet::from(["export_jobs".to_owned()]), "a scan is seen when there is one");
    let mut planned = 0;
    let mut wrong = Vec::new();
    for folder in ["src/jobs/sql", "src/links/sql", "src/identity/sql", "src/rules"] {
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with(".sql") || UNHURRIED.contains(&name.as_str()) {
                continue;
            }
            let found = scanned(&pool, &std::fs::read_to_string(&path).unwrap()).await;
            planned += 1;
            if !found.is_empty() {
                wrong.push(format!("{name}: {found:?}"));
            }
        }
    }
    assert!(planned > 60, "the statements have moved; move this test with them");
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What a statement calls is planned apart from it.
    for body in [
        "SELECT max(progress_at) FROM export_job_tables WHERE job_id = $1",
        "SELECT max(progress_at) FROM export_job_partitions WHERE job_id = $1",
    ] {
        assert_eq!(scanned(&pool, body).await, BTreeSet::new(), "{body}");
    }
}

/// A row that goes takes others with it: without an index, each of those tables is read for each row.
#[tokio::test]
async fn what_goes_with_a_row_is_found_by_an_index() {
    let pool = metadata::database("plans_references").await;
    let without: Vec<String> = sqlx::query_scalar(
        "SELECT conrelid::regclass || ': ' || conname FROM pg_constraint AS c
         WHERE contype = 'f' AND NOT EXISTS (
             SELECT 1 FROM pg_index AS i
             WHERE i.indrelid = c.conrelid AND i.indpred IS NULL
               AND (i.indkey::smallint[])[0:cardinality(c.conkey) - 1] @> c.conkey)",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(without, Vec::<String>::new());
}
