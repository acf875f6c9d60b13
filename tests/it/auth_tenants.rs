//! Two tenants on one service, with real processes: each gets its own rows, under its own prefix, and nothing else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use data_exporter::identity::Role;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::platform::{Platform, Service, day_range};

async fn finished(service: &Service, key: &str, id: &str) -> Value {
    let query = format!(
        "{{ request(requestId: \"{id}\") {{ status dataRequestDownloadLinks tables {{ name status rows error {{ code }} }} }} }}"
    );
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let status = service.ask_as(key, &query).await.1["data"]["request"].take();
        if status["status"] != "In Progress" {
            return status;
        }
        assert!(Instant::now() < deadline, "still {status}: {}", service.logged());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_share_a_service_and_nothing_else() {
    let platform = Platform::empty("two_tenants").await;
    sqlx::raw_sql(
        "CREATE TABLE shared (id bigint, whose text, at timestamptz);
         INSERT INTO shared SELECT n, (ARRAY['acme', 'default', 'beta', 'ACME', NULL])[1 + n % 5],
                timestamptz '2026-03-02 00:00Z' + n * interval '1 minute' FROM generate_series(0, 999) AS n;
         CREATE TABLE ours (id bigint, at timestamptz);
         INSERT INTO ours SELECT n, timestamptz '2026-03-02 00:00Z' + n * interval '1 minute' FROM generate_series(0, 9) AS n",
    )
    .execute(&platform.warehouse)
    .await
    .unwrap();
    sqlx::raw_sql(
        "INSERT INTO export_tables (table_name, time_column, tenant_column) VALUES ('shared', 'at', 'whose'), ('ours', 'at', NULL);
         INSERT INTO data_column_classification (table_name, column_name, classification) VALUES
             ('shared', 'id', 'nr'), ('shared', 'whose', 'nr'), ('shared', 'at', 'nr'), ('ours', 'id', 'nr'), ('ours', 'at', 'nr')",
    )
    .execute(&platform.metadata)
    .await
    .unwrap();
    let service = platform.serve("all", "api,worker", &[("EXPORTER_AUTH", "api-key")]).await;
    let (start, end) = day_range();
    let mut requests = BTreeMap::new();
    for tenant in ["acme", "default", "empty"] {
        let key = platform.key(tenant, Role::Requester).await;
        let submit = format!("mutation {{ requestData(startTime: {start}, endTime: {end}) }}");
        let (_, answer) = service.ask_as(&key, &submit).await;
        let id = answer["data"]["requestData"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        requests.insert(tenant, (key, id));
    }
    for (tenant, (key, id)) in &requests {
        let status = finished(&service, key, id).await;
        assert_eq!(status["status"], "Completed", "{tenant}: {status}\n{}", service.logged());
        let links = status["dataRequestDownloadLinks"].as_object().unwrap();
        let tables: Vec<&str> = links.keys().map(String::as_str).collect();
        // Without a tenant column a table is for `default` alone.
        assert_eq!(tables, if *tenant == "default" { vec!["ours", "shared"] } else { vec!["shared"] }, "{status}");
        let mut ids = Vec::new();
        for link in links["shared"].as_array().unwrap() {
            let link = link.as_str().unwrap();
            let prefix = if *tenant == "default" {
                "/dev/data_exporter_service/".to_owned()
            } else {
                format!("/dev/tenant={tenant}/data_exporter_service/")
            };
            let plain = link.replace("%3D", "=");
            assert!(plain.contains(&prefix), "{tenant}: {plain}");
            let file = reqwest::get(link).await.unwrap().bytes().await.unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let column = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
                ids.extend(column.values().iter().copied());
            }
        }
        ids.sort_unstable();
        let expected: Vec<i64> = sqlx::query_scalar("SELECT id FROM shared WHERE whose = $1 ORDER BY id")
            .bind(tenant)
            .fetch_all(&platform.warehouse)
            .await
            .unwrap();
        assert_eq!(ids, expected, "{tenant}");
        assert_eq!(expected.is_empty(), *tenant == "empty");
        // Nobody else finds it.
        for (other, (key, _)) in requests.iter().filter(|(other, _)| *other != tenant) {
            let seen = finished(&service, key, id).await;
            assert_eq!(seen["status"], "Request has not been requested", "{other} sees {tenant}'s");
            assert!(seen["dataRequestDownloadLinks"].is_null() && seen["tables"].is_null());
        }
    }
    let (acme, _) = &requests["acme"];
    let named = format!("mutation {{ requestData(startTime: {start}, endTime: {end}, tables: [\"ours\"]) }}");
    let (_, answer) = service.ask_as(acme, &named).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "TABLE_NOT_OFFERED");

    // What is taken away from a tenant is not offered to it any more.
    let slots = "UPDATE export_tables SET tenant_column = NULL WHERE table_name = 'shared'";
    sqlx::raw_sql(slots).execute(&platform.metadata).await.unwrap();
    let unnamed = format!("mutation {{ requestData(startTime: {start}, endTime: {end}) }}");
    let (_, answer) = service.ask_as(acme, &unnamed).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "NO_TABLES", "{answer}");
}
