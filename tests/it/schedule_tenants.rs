//! Tables that several tenants share: the schedule takes the rows that a data owner has named, and none before.

use serde_json::{Value, json};

use crate::support::days::{self, day};
use crate::support::offered::{offer, run};
use crate::support::platform::Platform;

const DATE: &str = "2026-03-02";

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_takes_no_tenants_rows_before_somebody_has_said_whose() {
    let platform = Platform::empty("schedule_tenants").await;
    run(
        &platform.warehouse,
        "CREATE TABLE shared (id bigint, at timestamptz, note text);
         CREATE TABLE event (id bigint, at timestamptz, note text);
         INSERT INTO shared VALUES (1, '2026-03-02 10:00Z', 'default'), (2, '2026-03-02 11:00Z', 'acme'),
             (3, '2026-03-02 12:00Z', NULL), (4, '2026-03-03 12:00Z', 'acme')",
    )
    .await;
    for table in ["shared", "event"] {
        offer(&platform, table, "timestamp", "UTC").await;
    }
    run(&platform.metadata, "UPDATE export_tables SET tenant_column = 'note' WHERE table_name = 'shared'").await;
    let _worker = days::worker(&platform).await;
    let day = day("UTC", DATE);

    let (summary, succeeded) = days::told(&platform, &day, None).await;
    assert!(!succeeded);
    let tables = summary["tables"].as_array().unwrap();
    assert_eq!((&tables[0]["status"], &tables[1]["status"]), (&json!("COMPLETED"), &json!("FAILED")));
    let error = &tables[1]["error"];
    assert_eq!(error["code"], "TENANTS_UNDECIDED");
    for words in ["'shared'", "tenant_column 'note'", "scheduled_tenants", "'default' or 'all'"] {
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM export_notifications WHERE event_type = 'TABLE_FAILED'")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(told, 1);
    assert_eq!(check(&platform).await, (Some(1), true), "it is known before a night has failed");

    for (whose, rows, held_back) in [("default", json!([1]), 2), ("all", json!([1, 2, 3]), 0)] {
        let set = format!("UPDATE export_tables SET scheduled_tenants = '{whose}' WHERE table_name = 'shared'");
        run(&platform.metadata, set).await;
        let (summary, succeeded) = days::told(&platform, &day, None).await;
        assert!(succeeded, "{summary}");
        let swaps = "UPDATE export_day_swaps SET due_at = clock_timestamp() WHERE done_at IS NULL";
        run(&platform.metadata, swaps).await;
        days::swapped(&platform, "shared").await;
        assert_eq!(days::seen(&platform, &day, &["shared"]).await["tables"]["shared"], rows, "{whose}");
        let asked = platform.program(&["--json", "is-exported", "shared", "--date", DATE]).output().await.unwrap();
        let out: Value = serde_json::from_slice(&asked.stdout).unwrap();
        assert_eq!((&out[0]["complete"], &out[0]["rowsHeldBack"]), (&json!(true), &json!(held_back)), "{out}");
        assert_eq!(check(&platform).await, (Some(0), false));
    }
    let policies = "SELECT count(DISTINCT policy_hash) FROM table_export_job_statuses WHERE table_name = 'shared'";
    let policies: i64 = sqlx::query_scalar(policies).fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(policies, 2, "whose rows leave is of the policy");

    // On demand each tenant has its own rows, whatever the schedule takes.
    for (tenant, rows) in [("default", 1), ("acme", 1)] {
        let service = platform.serve(tenant, "api,worker", &[("EXPORTER_AUTH", "api-key")]).await;
        let key = platform.key(tenant, data_exporter::identity::Role::Requester).await;
        let asked = "mutation { requestData(startTime: 1772409600, endTime: 1772496000, tables: [\"shared\"]) }";
        let (_, answer) = service.ask_as(&key, asked).await;
        let id = answer["data"]["requestData"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let status = format!("mutation {{ requestStatus(requestId: \"{id}\") {{ state tables {{ rows }} }} }}");
        let last = loop {
            let (_, answer) = service.ask_as(&key, &status).await;
            let told = answer["data"]["requestStatus"].clone();
            if !["QUEUED", "PLANNING", "RUNNING", "FINALIZING"].contains(&told["state"].as_str().unwrap()) {
                break told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_eq!((&last["state"], &last["tables"][0]["rows"]), (&json!("COMPLETED"), &json!(rows)), "{tenant}");
    }
}

/// The exit code of `classification check`, and whether it says that a table's tenants are undecided.
async fn check(platform: &Platform) -> (Option<i32>, bool) {
    let output = platform.program(&["classification", "check"]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text.contains("scheduled_tenants"))
}
