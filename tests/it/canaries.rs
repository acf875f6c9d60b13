//! Secrets and values with names of their own, an export with failures, and a search for them in everything that is
//! written: logs, metrics, answers, tables that administrators read.

use std::time::{Duration, Instant};

use data_exporter::identity::Role;
use serde_json::{Value, json};

use crate::support::issuer::{Signer, claims};
use crate::support::platform::{Platform, day_range};
use crate::support::s3;

const WAREHOUSE_PASSWORD: &str = "canary-warehouse-4f1c9a";
const METADATA_PASSWORD: &str = "canary-metadata-77e0d2";
const CELL: &str = "canary cell 5b8e21";

/// An address with another account.
fn with_account(url: &str, user: &str, password: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    url.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_value_is_written_anywhere() {
    let platform = Platform::sample("canaries", 4_000).await;
    for (role, password) in [("canary_warehouse", WAREHOUSE_PASSWORD), ("canary_metadata", METADATA_PASSWORD)] {
        let make = format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&platform.metadata).await.unwrap();
    }
    let spoil = format!(
        "UPDATE way SET name = '{CELL}';
         ALTER TABLE vms ADD COLUMN reach circle;
         ALTER TABLE cctv ADD COLUMN until timestamptz; UPDATE cctv SET until = 'infinity', name = '{CELL}';
         ALTER TABLE incident ADD COLUMN shown text; UPDATE incident SET shown = '{CELL}'; ALTER TABLE incident RENAME COLUMN severity TO weight"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(spoil)).execute(&platform.warehouse).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO data_column_classification VALUES
             ('vms', 'reach', 'nr', 'test', 'numbers', '2099-12-31'), ('cctv', 'until', 'nr', NULL, NULL, NULL),
             ('incident', 'shown', 'nr', NULL, NULL, NULL)",
    )
    .execute(&platform.metadata)
    .await
    .unwrap();
    let warehouse = with_account(&platform.warehouse_url, "canary_warehouse", WAREHOUSE_PASSWORD);
    let metadata = with_account(&platform.metadata_url, "canary_metadata", METADATA_PASSWORD);
    let settings = [
        ("EXPORTER_WAREHOUSE_URL", warehouse.as_str()),
        ("DATABASE_URL", metadata.as_str()),
        ("EXPORTER_AUTH", "api-key,jwt"),
        ("EXPORTER_JWT_ISSUER", "https://issuer.example"),
        ("EXPORTER_JWT_AUDIENCE", "data-exporter"),
        ("EXPORTER_JWT_JWKS_URL", "http://127.0.0.1:1/jwks"),
        ("EXPORTER_MAX_ATTEMPTS", "1"),
        ("EXPORTER_LOG", "info,data_exporter=debug"),
    ];
    let (key, revoked) = (platform.key("default", Role::Admin).await, platform.key("default", Role::Requester).await);
    sqlx::query("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE role = 'requester'")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let api = platform.serve("api", "api", &settings).await;
    let worker = platform.serve("worker", "worker", &settings).await;
    let mut written = Vec::new();

    // Credentials that do not work, and bodies that cannot be read, with canaries in them.
    let token = Signer::ed().token("canary", &claims("default", &["admin"]));
    let client = reqwest::Client::new();
    for bearer in [revoked.as_str(), token.as_str(), "canary-bearer-90aa", &format!("{}0", &key[..key.len() - 1])] {
        let answer = client.post(api.url("/graphql")).bearer_auth(bearer).json(&json!({"query": "{ __typename }"}));
        let answer = answer.send().await.unwrap();
        assert!(answer.status() == 401 || bearer.starts_with(&key[..key.len() - 1]), "{}", answer.status());
        written.push(answer.text().await.unwrap());
    }
    for body in
        ["{\"query\": canary-body-11f2", "{\"query\": \"{ a(b: \\\"canary-body-11f2 }\"}", "[\"canary-body-11f2\"]"]
    {
        let request = client.post(api.url("/graphql")).bearer_auth(&key).header("content-type", "application/json");
        written.push(request.body(body).send().await.unwrap().text().await.unwrap());
    }

    let (start, end) = day_range();
    let submit =
        format!("mutation {{ requestData(startTime: {start}, endTime: {end}, idempotencyKey: \"canary-idem-6c\") }}");
    let (_, answer) = api.ask_as(&key, &submit).await;
    let id = answer["data"]["requestData"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let query = format!(
        "{{ request(requestId: \"{id}\") {{ status dataRequestDownloadLinks error {{ message }} tables {{ name status error {{ code message }} }} }} }}"
    );
    let since = Instant::now();
    let mut status = loop {
        let status = api.ask_as(&key, &query).await.1["data"]["request"].take();
        if status["status"] != "In Progress" {
            break status;
        }
        assert!(since.elapsed() < Duration::from_secs(120), "{status}\n{}", worker.logged());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(status["status"], "Failed", "{status}");
    let links = status["dataRequestDownloadLinks"].take().to_string();
    let signatures: Vec<String> =
        links.split("X-Amz-Signature=").skip(1).map(|rest| rest.chars().take(64).collect()).collect();
    assert!(!signatures.is_empty(), "some tables are published: {status}");
    let codes: Vec<&str> =
        status["tables"].as_array().unwrap().iter().filter_map(|table| table["error"]["code"].as_str()).collect();
    for code in ["TYPE_UNSUPPORTED", "VALUE_UNREPRESENTABLE"] {
        assert!(codes.contains(&code), "{code} in {status}");
    }
    written.push(status.to_string());
    written.push(client.get(api.url("/metrics")).send().await.unwrap().text().await.unwrap());
    // The command line says no more.
    let mut list = platform.program(&["key", "list"]);
    let mut migrate = platform.program(&["migrate"]);
    migrate.env("DATABASE_URL", with_account(&platform.metadata_url, "nobody", "canary-nobody-2d"));
    for command in [&mut list, &mut migrate] {
        let output = command.output().await.unwrap();
        written.push(String::from_utf8([output.stdout, output.stderr].concat()).unwrap());
    }
    // What the metadata database shows to those who read it.
    for table in ["export_jobs", "export_job_tables", "table_export_job_statuses", "admin_audit", "api_keys"] {
        let rows: Vec<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT to_jsonb(t) FROM {table} AS t")))
            .fetch_all(&platform.metadata)
            .await
            .unwrap();
        // The requester's own key of a request is kept, to recognise it again.
        written.push(Value::Array(rows).to_string().replace("canary-idem-6c", ""));
    }
    written.extend([api.logged(), worker.logged()]);
    assert!(written.iter().map(String::len).sum::<usize>() > 10_000, "there is something to search");

    let mut secrets = vec![
        key[17..].to_owned(),
        revoked[17..].to_owned(),
        token.rsplit('.').next().unwrap().to_owned(),
        token.split('.').nth(1).unwrap().to_owned(),
        s3::SECRET_KEY.to_owned(),
        "X-Amz-Signature".to_owned(),
        "canary-".to_owned(),
        "canary cell".to_owned(),
    ];
    secrets.extend(signatures);
    for text in &written {
        for secret in &secrets {
            let at = text.find(secret.as_str());
            let around = at.map(|at| text[at.saturating_sub(100)..].chars().take(300).collect::<String>());
            assert_eq!(around, None, "{secret} was written");
        }
    }
}
