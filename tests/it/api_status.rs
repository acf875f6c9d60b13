//! `requestStatus` and the reads beside it: every state of a job as the outside sees it, links, pages, tenants.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::endpoint::Endpoint;
use crate::support::metadata::{job, running_partition, status_row, table};

const STATUS: &str = "mutation ($id: String!) { requestStatus(requestId: $id) {
    status progress dataRequestDownloadLinks linksExpireAt requestId state kind startTime endTime format
    createdAt startedAt completedAt error { code message retryable }
    tables { name status progress rows bytes error { code message retryable } }
} }";

fn some_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 123_456_000).unwrap()
}

async fn status(endpoint: &Endpoint, id: &str) -> Value {
    endpoint.data(STATUS, json!({"id": id})).await["requestStatus"].take()
}

#[tokio::test]
async fn each_state_has_its_words_progress_and_links() {
    let endpoint = Endpoint::start("api_states").await;
    for (state, status_word, progress, links) in [
        ("QUEUED", "In Progress", None, None),
        ("PLANNING", "In Progress", None, None),
        ("RUNNING", "In Progress", None, None),
        ("FINALIZING", "In Progress", None, None),
        ("CANCELLING", "In Progress", None, None),
        ("COMPLETED", "Completed", Some(100.0), Some(json!({"way": ["https://store/p/way_000.parquet?signature"]}))),
        ("FAILED", "Failed", None, Some(json!({"way": ["https://store/p/way_000.parquet?signature"]}))),
        ("CANCELLED", "Cancelled", None, Some(json!({"way": ["https://store/p/way_000.parquet?signature"]}))),
        ("EXPIRED", "Expired", Some(100.0), Some(json!({}))),
    ] {
        let id = job(&endpoint.pool, "default", state, some_time()).await;
        table(&endpoint.pool, id, "way", "COMPLETED", &[("p/way_000.parquet", 10, 100)]).await;
        let got = status(&endpoint, &id.to_string()).await;
        assert_eq!(got["status"], status_word, "{state}");
        assert_eq!(got["state"], state);
        match progress {
            Some(progress) => assert_eq!(got["progress"], progress, "{state}"),
            None => assert!((0.0..100.0).contains(&got["progress"].as_f64().unwrap()), "{state}"),
        }
        assert_eq!(got["dataRequestDownloadLinks"], links.clone().unwrap_or(Value::Null), "{state}");
        let has_links = links.is_some_and(|links| links != json!({}));
        assert_eq!(!got["linksExpireAt"].is_null(), has_links, "{state}");
        assert_eq!(!got["completedAt"].is_null(), !matches!(status_word, "In Progress"), "{state}");
        assert_eq!(!got["startedAt"].is_null(), state != "QUEUED", "{state}");
        assert_eq!(!got["error"].is_null(), state == "FAILED", "{state}");
        assert_eq!(
            (&got["requestId"], &got["kind"], &got["format"]),
            (&json!(id.to_string()), &json!("ON_DEMAND"), &json!("PARQUET"))
        );
        assert_eq!((&got["startTime"], &got["endTime"]), (&json!(1_794_960_000), &json!(1_795_003_200)));
        assert_eq!(got["createdAt"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), some_time());
        let as_query = "query ($id: String!) { request(requestId: $id) { status progress state error { code } } }";
        let read = endpoint.data(as_query, json!({"id": id.to_string()})).await;
        assert_eq!((&read["request"]["status"], &read["request"]["progress"]), (&got["status"], &got["progress"]));
    }
}

#[tokio::test]
async fn tables_tell_their_own_state_and_only_those_with_files_have_links() {
    let endpoint = Endpoint::start("api_tables").await;
    let id = job(&endpoint.pool, "default", "FAILED", some_time()).await;
    for (name, state) in [
        ("a", "COMPLETED"),
        ("b", "COMPLETED"),
        ("c", "FAILED"),
        ("d", "SKIPPED"),
        ("e", "EXTRACTING"),
        ("f", "FINALIZING"),
    ] {
        let files: &[(&str, i64, i64)] =
            if name == "a" { &[("p/a_000", 4_000_000_000, 7), ("p/a_001", 1_000_000_000, 8)] } else { &[] };
        table(&endpoint.pool, id, name, state, files).await;
    }
    running_partition(&endpoint.pool, id, "e", 100.0, 25).await;
    let got = status(&endpoint, &id.to_string()).await;
    assert_eq!(
        got["dataRequestDownloadLinks"],
        json!({"a": ["https://store/p/a_000?signature", "https://store/p/a_001?signature"]})
    );
    let error = |code: &str, table: &str, retryable: bool| json!({"code": code, "message": format!("because of {table}"), "retryable": retryable});
    assert_eq!(
        got["tables"],
        json!([
            {"name": "a", "status": "COMPLETED", "progress": 100.0, "rows": 5_000_000_000_i64, "bytes": 15, "error": null},
            {"name": "b", "status": "COMPLETED", "progress": 100.0, "rows": 0, "bytes": 0, "error": null},
            {"name": "c", "status": "FAILED", "progress": 0.0, "rows": 0, "bytes": 0, "error": error("SCHEMA_CHANGED", "c", true)},
            {"name": "d", "status": "SKIPPED", "progress": 0.0, "rows": 0, "bytes": 0, "error": error("TABLE_WITHOUT_TIME", "d", false)},
            {"name": "e", "status": "EXTRACTING", "progress": 25.0, "rows": 25, "bytes": 0, "error": null},
            {"name": "f", "status": "FINALIZING", "progress": 0.0, "rows": 0, "bytes": 0, "error": null},
        ])
    );
    assert_eq!(
        got["error"],
        json!({"code": "WAREHOUSE_UNAVAILABLE", "message": "the warehouse is away", "retryable": true})
    );
}

#[tokio::test]
async fn a_job_that_ended_without_files_has_an_empty_map_of_links() {
    let endpoint = Endpoint::start("api_no_links").await;
    for state in ["COMPLETED", "FAILED", "CANCELLED"] {
        let id = job(&endpoint.pool, "default", state, some_time()).await;
        let got = status(&endpoint, &id.to_string()).await;
        assert_eq!((&got["dataRequestDownloadLinks"], &got["linksExpireAt"]), (&json!({}), &Value::Null), "{state}");
    }
}

#[tokio::test]
async fn links_expire_when_the_first_of_them_does_and_no_later() {
    let endpoint = Endpoint::start("api_expiry").await;
    let id = job(&endpoint.pool, "default", "COMPLETED", some_time()).await;
    table(&endpoint.pool, id, "way", "COMPLETED", &[("p/way", 1, 1), ("p/way_short", 1, 1)]).await;
    let clock = || sqlx::query_scalar::<_, DateTime<Utc>>("SELECT clock_timestamp()").fetch_one(&endpoint.pool);
    let before = clock().await.unwrap();
    let got = status(&endpoint, &id.to_string()).await;
    let after = clock().await.unwrap();
    let expires: DateTime<Utc> = got["linksExpireAt"].as_str().unwrap().parse().unwrap();
    let half_a_day = TimeDelta::seconds(43_200);
    assert!((before + half_a_day..=after + half_a_day).contains(&expires), "{before} {expires} {after}");
}

#[tokio::test]
async fn a_link_that_cannot_be_signed_spoils_the_links_and_nothing_else() {
    let endpoint = Endpoint::start("api_unsigned").await;
    for (file, code, says, hides) in
        [("p/denied", "STORAGE_DENIED", "credentials", "secret"), ("p/broken", "INTERNAL", "requestId", "p/broken")]
    {
        let id = job(&endpoint.pool, "default", "COMPLETED", some_time()).await;
        table(&endpoint.pool, id, "way", "COMPLETED", &[(file, 1, 1)]).await;
        let answer = endpoint.ask(STATUS, json!({"id": id.to_string()})).await;
        let status = &answer["data"]["requestStatus"];
        assert_eq!((&status["status"], &status["dataRequestDownloadLinks"]), (&json!("Completed"), &Value::Null));
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], code);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says) && !message.contains(hides), "{message}");
        // Whoever does not ask for links is not told of them.
        let plain = "mutation ($id: String!) { requestStatus(requestId: $id) { status } }";
        endpoint.data(plain, json!({"id": id.to_string()})).await;
    }
}

#[tokio::test]
async fn what_is_not_the_tenants_answers_byte_for_byte_as_what_does_not_exist() {
    let endpoint = Endpoint::start("api_tenants").await;
    let foreign = job(&endpoint.pool, "other", "COMPLETED", some_time()).await;
    table(&endpoint.pool, foreign, "way", "COMPLETED", &[("p/way", 1, 1)]).await;
    status_row(&endpoint.pool, foreign, "other", "way", "COMPLETED", some_time()).await;
    let operations = [
        STATUS,
        "query ($id: String!) { request(requestId: $id) { status progress tables { name } dataRequestDownloadLinks } }",
        "query ($id: String!) { tableExportJobStatuses(filter: {requestId: $id}) { edges { cursor } pageInfo { hasNextPage } } }",
    ];
    for query in operations {
        let mut answers = Vec::new();
        for id in [
            Uuid::now_v7().to_string(),
            foreign.to_string(),
            Uuid::nil().to_string(),
            "not an id".to_owned(),
            String::new(),
            "\u{0}".to_owned(),
            format!("{foreign}x"),
            "'; DROP TABLE export_jobs; --".to_owned(),
            "x".repeat(10_000),
        ] {
            let response = endpoint.post(json!({"query": query, "variables": {"id": id}}).to_string()).await;
            assert_eq!(response.status(), 200);
            answers.push(response.bytes().await.unwrap());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert!(!answers[0].windows(6).any(|bytes| bytes == b"errors"), "{answers:?}");
    }
    let unknown = status(&endpoint, &foreign.to_string()).await;
    for (field, value) in unknown.as_object().unwrap() {
        match field.as_str() {
            "status" => assert_eq!(value, "Request has not been requested"),
            "progress" => assert_eq!(value, 0.0),
            _ => assert!(value.is_null(), "{field}"),
        }
    }
    let listed =
        endpoint.data("{ requests { edges { cursor } } tableExportJobStatuses { edges { cursor } } }", json!({})).await;
    assert_eq!(listed, json!({"requests": {"edges": []}, "tableExportJobStatuses": {"edges": []}}));
}

/// Walks a connection page by page, and gives what `pick` takes of each node.
async fn walk(
    endpoint: &Endpoint,
    query: &str,
    field: &str,
    first: i64,
    pick: impl Fn(&Value) -> String,
) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = endpoint.data(query, json!({"first": first, "after": after})).await;
        let page = &data[field];
        let edges = page["edges"].as_array().unwrap();
        assert!((1..=usize::try_from(first).unwrap()).contains(&edges.len()), "a page that was announced has entries");
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_null());
        assert_eq!(page["pageInfo"]["startCursor"], edges.first().map_or(Value::Null, |edge| edge["cursor"].clone()));
        assert_eq!(page["pageInfo"]["endCursor"], edges.last().map_or(Value::Null, |edge| edge["cursor"].clone()));
        seen.extend(edges.iter().map(|edge| pick(&edge["node"])));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            return seen;
        }
        assert_eq!(edges.len(), usize::try_from(first).unwrap(), "a page before the last is full");
    }
}

const PAGE: &str = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }";

#[tokio::test]
async fn requests_come_newest_first_in_pages_that_lose_and_repeat_nothing() {
    let endpoint = Endpoint::start("api_pages").await;
    let mut expected = Vec::new();
    for minute in [0, 1, 1, 1, 2, 3, 3] {
        let at = some_time() + TimeDelta::minutes(minute);
        expected.push((at, job(&endpoint.pool, "default", "QUEUED", at).await));
    }
    expected.sort_by(|a, b| b.cmp(a));
    let expected: Vec<String> = expected.into_iter().map(|(_, id)| id.to_string()).collect();
    let query = format!(
        "query ($first: Int, $after: String) {{ requests(first: $first, after: $after) {{ edges {{ cursor node {{ requestId }} }} {PAGE} }} }}"
    );
    for first in [1, 2, 3, 6, 7, 8, 100] {
        let seen =
            walk(&endpoint, &query, "requests", first, |node| node["requestId"].as_str().unwrap().to_owned()).await;
        assert_eq!(seen, expected, "first: {first}");
    }
    for (first, after) in [
        (json!(0), Value::Null),
        (json!(-1), Value::Null),
        (json!(101), Value::Null),
        (json!(i64::MAX), Value::Null),
        (json!(1), json!("")),
        (json!(1), json!("1.2")),
        (json!(1), json!(format!("{}.{}", i64::MAX, Uuid::nil()))),
    ] {
        let (code, message) = endpoint.refusal(&query, json!({"first": first, "after": after})).await;
        assert_eq!(code, "BAD_REQUEST", "{first} {after}: {message}");
    }
}

#[tokio::test]
async fn table_statuses_are_filtered_and_paged() {
    let endpoint = Endpoint::start("api_table_statuses").await;
    let at = some_time();
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    status_row(&endpoint.pool, one, "default", "way", "COMPLETED", at).await;
    status_row(&endpoint.pool, one, "default", "odd.ta.ble", "FAILED", at).await;
    status_row(&endpoint.pool, two, "default", "way", "IN-PROGRESS", at + TimeDelta::minutes(1)).await;
    let query = format!(
        "query ($first: Int, $after: String, $filter: TableExportJobStatusFilter) {{
            tableExportJobStatuses(first: $first, after: $after, filter: $filter) {{ edges {{ cursor node {{
                requestId kind table exportDate windowStart windowEnd revision status attempts rows bytes manifestUrl
                policyHash startedAt completedAt error {{ code message retryable }} }} }} {PAGE} }} }}"
    );
    let name = |node: &Value| format!("{}/{}", node["requestId"].as_str().unwrap(), node["table"].as_str().unwrap());
    let all = vec![format!("{two}/way"), format!("{one}/way"), format!("{one}/odd.ta.ble")];
    for first in [1, 2, 3] {
        assert_eq!(walk(&endpoint, &query, "tableExportJobStatuses", first, name).await, all, "first: {first}");
    }
    for (filter, expected) in [
        (json!({}), vec![0, 1, 2]),
        (json!({"table": "way"}), vec![0, 1]),
        (json!({"table": "public.way"}), vec![0, 1]),
        (json!({"table": "odd.ta.ble"}), vec![2]),
        (json!({"table": "nope"}), vec![]),
        (json!({"table": "\u{0}"}), vec![]),
        (json!({"status": "FAILED"}), vec![2]),
        (json!({"status": "IN-PROGRESS", "table": "way"}), vec![0]),
        (json!({"kind": "SCHEDULED"}), vec![0, 1, 2]),
        (json!({"kind": "ON_DEMAND"}), vec![]),
        (json!({"requestId": one.to_string()}), vec![1, 2]),
        (json!({"requestId": "nonsense"}), vec![]),
    ] {
        let data = endpoint.data(&query, json!({"filter": filter})).await;
        let edges = data["tableExportJobStatuses"]["edges"].as_array().unwrap();
        let seen: Vec<String> = edges.iter().map(|edge| name(&edge["node"])).collect();
        let expected: Vec<String> = expected.into_iter().map(|index: usize| all[index].clone()).collect();
        assert_eq!(seen, expected, "{filter}");
    }
    let (code, message) = endpoint.refusal(&query, json!({"filter": {"status": "DONE"}})).await;
    assert!(code == "BAD_REQUEST" && message.contains("IN-PROGRESS"), "{code} {message}");

    let data = endpoint.data(&query, json!({"filter": {"status": "FAILED"}})).await;
    let node = &data["tableExportJobStatuses"]["edges"][0]["node"];
    assert_eq!((&node["rows"], &node["exportDate"]), (&json!(5_000_000_000_i64), &json!("2026-11-18")));
    assert_eq!(node["error"], json!({"code": "WAREHOUSE_DENIED", "message": "no grant", "retryable": false}));
}
