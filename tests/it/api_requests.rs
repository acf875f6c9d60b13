//! `requestData` over HTTP: what is accepted, what is refused and with which words.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::endpoint::Endpoint;

const SUBMIT: &str = "mutation ($start: Int!, $end: Int!, $tables: [String!], $key: String) {
    requestData(startTime: $start, endTime: $end, tables: $tables, idempotencyKey: $key)
}";

/// The end of yesterday, or thereabouts.
async fn some_end(endpoint: &Endpoint) -> i64 {
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&endpoint.pool).await.unwrap();
    now.timestamp() - 86_400
}

async fn jobs(endpoint: &Endpoint) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM export_jobs").fetch_one(&endpoint.pool).await.unwrap()
}

#[tokio::test]
async fn a_request_is_stored_as_it_was_made() {
    let endpoint = Endpoint::start("api_submit").await;
    let end = some_end(&endpoint).await;
    let variables = json!({"start": end - 60, "end": end, "tables": ["way", "public.way", "cctv", "way"]});
    let id = endpoint.data(SUBMIT, variables).await["requestData"].as_str().unwrap().to_owned();
    let id: Uuid = id.parse().unwrap();

    type Row = (String, String, String, DateTime<Utc>, DateTime<Utc>, Option<Vec<String>>, Option<String>, String);
    let row: Row = sqlx::query_as(
        "SELECT kind, tenant, requested_by, window_start, window_end, tables, format, state FROM export_jobs WHERE id = $1",
    )
    .bind(id)
    .fetch_one(&endpoint.pool)
    .await
    .unwrap();
    assert_eq!((row.0.as_str(), row.1.as_str(), row.2.as_str()), ("on_demand", "default", "local"));
    assert_eq!((row.3.timestamp(), row.4.timestamp()), (end - 60, end));
    assert_eq!(row.5, Some(vec!["cctv".to_owned(), "way".to_owned()]), "each table once");
    assert_eq!((row.6, row.7.as_str()), (None, "QUEUED"), "each table's own format");
}

#[tokio::test]
async fn epoch_seconds_are_64_bits_wide_in_literals_and_variables() {
    let endpoint = Endpoint::start("api_wide").await;
    // Beyond 2038, which a 32-bit Int does not reach: understood, and in the future.
    let literal = "mutation { requestData(startTime: 4000000000, endTime: 4000000060) }";
    for (query, variables) in
        [(literal, json!({})), (SUBMIT, json!({"start": 4_000_000_000_i64, "end": 4_000_000_060_i64}))]
    {
        let (code, message) = endpoint.refusal(query, variables).await;
        assert_eq!(code, "RANGE_IN_FUTURE", "{message}");
    }
}

#[tokio::test]
async fn bad_requests_get_a_code_and_say_what_was_given_and_store_nothing() {
    let endpoint = Endpoint::start("api_bad_requests").await;
    let end = some_end(&endpoint).await;
    let start = end - 60;
    let long = "k".repeat(256);
    let cases: Vec<(&str, Value, &str, &str)> = vec![
        ("milliseconds", json!({"start": start * 1000, "end": end * 1000}), "RANGE_INVALID", "milliseconds"),
        ("one of them milliseconds", json!({"start": start, "end": end * 1000}), "RANGE_INVALID", "milliseconds"),
        ("reversed", json!({"start": end, "end": start}), "RANGE_INVALID", "reversed"),
        ("empty", json!({"start": end, "end": end}), "RANGE_INVALID", "empty"),
        ("before 1970", json!({"start": -5, "end": 5}), "RANGE_INVALID", "-5"),
        ("the ends of 64 bits", json!({"start": i64::MIN, "end": i64::MAX}), "RANGE_INVALID", "milliseconds"),
        ("beyond 64 bits", json!({"start": 0, "end": u64::MAX}), "BAD_REQUEST", "end"),
        ("a fraction", json!({"start": 0.5, "end": 5}), "BAD_REQUEST", "start"),
        ("a text", json!({"start": "0", "end": 5}), "BAD_REQUEST", "start"),
        ("null", json!({"start": null, "end": 5}), "BAD_REQUEST", "start"),
        ("missing", json!({"end": 5}), "BAD_REQUEST", "start"),
        ("one second over a day", json!({"start": end - 86_401, "end": end}), "RANGE_TOO_LONG", "86401"),
        ("future", json!({"start": end, "end": end + 86_400 + 3600 - 3599 + 60}), "RANGE_TOO_LONG", "86400"),
        ("tomorrow", json!({"start": end + 80_000, "end": end + 90_000}), "RANGE_IN_FUTURE", "future"),
        (
            "unknown table",
            json!({"start": start, "end": end, "tables": ["way", "nope"]}),
            "TABLE_NOT_OFFERED",
            "'nope'",
        ),
        ("disabled table", json!({"start": start, "end": end, "tables": ["hidden"]}), "TABLE_NOT_OFFERED", "'hidden'"),
        (
            "scheduled only",
            json!({"start": start, "end": end, "tables": ["nightly"]}),
            "TABLE_NOT_OFFERED",
            "'nightly'",
        ),
        ("another schema", json!({"start": start, "end": end, "tables": ["x.way"]}), "TABLE_NOT_OFFERED", "'x.way'"),
        ("another case", json!({"start": start, "end": end, "tables": ["WAY"]}), "TABLE_NOT_OFFERED", "'WAY'"),
        ("no name", json!({"start": start, "end": end, "tables": [""]}), "TABLE_NOT_OFFERED", "table name"),
        (
            "a name with NUL",
            json!({"start": start, "end": end, "tables": ["way\u{0}"]}),
            "TABLE_NOT_OFFERED",
            "table name",
        ),
        (
            "SQL for a name",
            json!({"start": start, "end": end, "tables": ["way'; DROP TABLE export_jobs; --"]}),
            "TABLE_NOT_OFFERED",
            "DROP",
        ),
        ("no tables", json!({"start": start, "end": end, "tables": []}), "NO_TABLES", "empty list"),
        ("null for a table", json!({"start": start, "end": end, "tables": [null]}), "BAD_REQUEST", "tables"),
        ("without time", json!({"start": start, "end": end, "tables": ["lookup"]}), "TABLE_WITHOUT_TIME", "'lookup'"),
        ("empty key", json!({"start": start, "end": end, "key": ""}), "BAD_REQUEST", "idempotencyKey"),
        ("long key", json!({"start": start, "end": end, "key": long}), "BAD_REQUEST", "idempotencyKey"),
        ("key with NUL", json!({"start": start, "end": end, "key": "a\u{0}"}), "BAD_REQUEST", "idempotencyKey"),
    ];
    for (name, variables, code, says) in cases {
        let (got, message) = endpoint.refusal(SUBMIT, variables).await;
        assert_eq!(got, code, "{name}: {message}");
        assert!(message.contains(says), "{name}: {message}");
    }
    let unknown_format = "mutation { requestData(startTime: 0, endTime: 60, format: EXCEL) }";
    assert_eq!(endpoint.refusal(unknown_format, json!({})).await.0, "BAD_REQUEST");
    assert_eq!(jobs(&endpoint).await, 0);
}

#[tokio::test]
async fn without_any_table_there_is_nothing_to_request() {
    let endpoint = Endpoint::start("api_no_tables").await;
    sqlx::query("UPDATE export_tables SET enabled = (table_name = 'lookup')").execute(&endpoint.pool).await.unwrap();
    let end = some_end(&endpoint).await;
    assert_eq!(endpoint.refusal(SUBMIT, json!({"start": end - 60, "end": end})).await.0, "NO_TABLES");
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_request() {
    let endpoint = Endpoint::start("api_idempotency").await;
    let end = some_end(&endpoint).await;
    let body = json!({"start": end - 60, "end": end, "tables": ["way", "cctv"], "key": "mine"});
    let first = endpoint.data(SUBMIT, body.clone()).await;
    assert_eq!(endpoint.data(SUBMIT, body).await, first);
    let reordered = json!({"start": end - 60, "end": end, "tables": ["cctv", "way", "cctv"], "key": "mine"});
    assert_eq!(endpoint.data(SUBMIT, reordered).await, first);
    for other in [
        json!({"start": end - 61, "end": end, "tables": ["way", "cctv"], "key": "mine"}),
        json!({"start": end - 60, "end": end, "tables": ["way"], "key": "mine"}),
        json!({"start": end - 60, "end": end, "key": "mine"}),
    ] {
        assert_eq!(endpoint.refusal(SUBMIT, other).await.0, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(jobs(&endpoint).await, 1);
    let without = json!({"start": end - 60, "end": end});
    assert_ne!(endpoint.data(SUBMIT, without.clone()).await, endpoint.data(SUBMIT, without).await);
}

#[tokio::test]
async fn fifty_submissions_at_once_with_one_key_are_one_job() {
    let endpoint = Endpoint::start("api_idempotency_race").await;
    let end = some_end(&endpoint).await;
    let body = json!({"start": end - 60, "end": end, "key": "race"});
    let answers = join_all((0..50).map(|_| endpoint.data(SUBMIT, body.clone()))).await;
    let ids: HashSet<String> = answers.iter().map(|answer| answer["requestData"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(jobs(&endpoint).await, 1);
}

#[tokio::test]
async fn export_tables_lists_what_is_enabled() {
    let endpoint = Endpoint::start("api_export_tables").await;
    sqlx::raw_sql(
        "UPDATE export_tables SET format = 'csv' WHERE table_name = 'cctv';
         UPDATE export_tables SET compression = 'snappy' WHERE table_name = 'lookup';
         UPDATE export_tables SET format = 'jsonl', compression = 'gzip' WHERE table_name = 'nightly'",
    )
    .execute(&endpoint.pool)
    .await
    .unwrap();
    let data = endpoint.data("{ exportTables { name onDemand scheduled timeColumn } }", json!({})).await;
    let expected = json!([
        {"name": "cctv", "onDemand": true, "scheduled": true, "timeColumn": "seen_at"},
        {"name": "lookup", "onDemand": true, "scheduled": true, "timeColumn": null},
        {"name": "nightly", "onDemand": false, "scheduled": true, "timeColumn": "seen_at"},
        {"name": "way", "onDemand": true, "scheduled": true, "timeColumn": "seen_at"},
    ]);
    assert_eq!(data["exportTables"], expected);
    let data = endpoint.data("{ exportTables { name format compression } }", json!({})).await;
    let expected = json!([
        {"name": "cctv", "format": "CSV", "compression": "NONE"},
        {"name": "lookup", "format": "PARQUET", "compression": "SNAPPY"},
        {"name": "nightly", "format": "JSONL", "compression": "GZIP"},
        {"name": "way", "format": "PARQUET", "compression": "ZSTD"},
    ]);
    assert_eq!(data["exportTables"], expected);
}
