//! Values with names of their own, one for each entity of personal data and one for each cell of the decision table,
//! in a warehouse that is exported by the real program; and a search for them, in every usual coding, in all that has
//! left and all that was said.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use classification::pii::Entity;
use data_exporter::storage::ObjectStore;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::support::decisions::{self, SHEETS};
use crate::support::files::{self, FORMS};
use crate::support::needles::Needles;
use crate::support::pii::{self, NAMED, PERSONAL};
use crate::support::platform::{Platform, Service, day_range, download};
use crate::support::protect::KEY;
use crate::support::s3;

/// The sample with all canaries in it: in tables of their own, and among its incidents.
async fn planted(name: &str) -> Platform {
    let platform = Platform::sample(name, 4_000).await;
    let mut incidents = String::new();
    for (id, (_, _, text)) in pii::personal().into_iter().enumerate() {
        writeln!(
            incidents,
            "INSERT INTO incident (incident_id, kind, description, reported_by, reported_at, details) VALUES
               ({id}, 'accident', '{text}', '{}', '2026-03-02T12:00Z', json_build_object('{text}', '{text}'));",
            pii::named("reported_by")
        )
        .unwrap();
    }
    for sql in [decisions::warehouse(), pii::warehouse(), incidents] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&platform.warehouse).await.unwrap();
    }
    for sql in [decisions::rules(), pii::rules()] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&platform.metadata).await.unwrap();
    }
    platform
}

/// What the service and its database say of a job: answers, metrics, tables, and what the command line says.
async fn said(platform: &Platform, service: &Service, id: &str) -> Vec<(String, String)> {
    let (start, end) = day_range();
    let mut said = Vec::new();
    let mut questions = vec![
        "{ unclassifiedColumns { table column kind suspected } }".to_owned(),
        "{ classification { revision notes tables { table } columns { table column classification }
             sources { source classification } metrics { table metric classification } } }"
            .to_owned(),
        format!("{{ request(requestId: \"{id}\") {{ status error {{ message }} tables {{ name status }} }} }}"),
    ];
    let tables = SHEETS.iter().map(|sheet| sheet.table).chain(["remarks", "people", "incident"]);
    for table in tables.clone() {
        questions.push(format!(
            "{{ explainExport(table: \"{table}\", startTime: {start}, endTime: {end}) {{ rows rowsInWindow rowsExported
                 warnings columns {{ name fate rule changes }} rowRules {{ rule rows rowsHeldBack }} }} }}"
        ));
    }
    for question in questions {
        let answer = service.ask(&question).await;
        assert!(answer["errors"].is_null(), "{question}: {answer}");
        said.push((question, answer.to_string()));
    }
    said.push(("status".to_owned(), service.status(id).await.to_string()));
    let metrics = reqwest::get(service.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("exporter_pii_removed_total"), "{metrics}");
    said.push(("metrics".to_owned(), metrics));
    for table in [
        "export_jobs",
        "export_job_tables",
        "export_job_partitions",
        "table_export_job_statuses",
        "export_staged_objects",
        "rules_snapshots",
        "rules_audit",
    ] {
        let rows: Vec<Value> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT to_jsonb(t) FROM {table} AS t")))
            .fetch_all(&platform.metadata)
            .await
            .unwrap();
        said.push((table.to_owned(), Value::Array(rows).to_string()));
    }
    for table in ["remarks", "long_mx_null"] {
        let output = platform.program(&["classification", "explain", table]).output().await.unwrap();
        said.push((format!("explain {table}"), String::from_utf8([output.stdout, output.stderr].concat()).unwrap()));
    }
    said.push(("log".to_owned(), service.logged()));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_or_denied_leaves_in_any_coding_and_nothing_at_all_is_said() {
    let platform = planted("pii_canaries").await;
    let key = platform.folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let key = key.display().to_string();
    let settings = [("EXPORTER_PSEUDONYM_KEY_FILE", key.as_str()), ("EXPORTER_LOG", "info,data_exporter=debug")];
    let service = platform.serve("all", "api,worker", &settings).await;

    let (mut denied, mut granted) = decisions::canaries();
    denied.extend(pii::personal().into_iter().map(|(_, value, _)| value.to_owned()));
    denied.extend(NAMED.iter().map(|(_, column)| pii::named(column)));
    denied.push(pii::named("reported_by"));
    granted.extend([pii::clean(), decisions::canary("people/free")]);
    let forbidden = Needles::new(denied);
    let everything = Needles::new(granted.clone());

    for &form in FORMS {
        let (start, end) = day_range();
        let call = format!("requestData(startTime: {start}, endTime: {end}, {})", files::arguments(form));
        let answer = service.ask(&format!("mutation {{ {call} }}")).await;
        let id = answer["data"]["requestData"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let status = service.finished(&id).await;
        assert_eq!(status["status"], "Completed", "{status} {}", service.logged());

        // What has left: the cells, the files byte by byte, what they say of themselves, the manifests, the names.
        let folder = platform.folder.path().join(form.extension());
        let tables = download(&status, &folder).await;
        assert!(tables.contains_key("remarks") && tables.contains_key("incident") && tables.contains_key("long_nr"));
        let paths: Vec<PathBuf> = tables.into_values().flatten().collect();
        let mut left: Vec<(String, Vec<u8>)> = Vec::new();
        for (path, content) in paths.iter().zip(files::read(&paths)) {
            let cells: Vec<&str> = content.rows.iter().flatten().flatten().map(String::as_str).collect();
            left.push((format!("cells of {path:?}"), cells.join("\n").into_bytes()));
            left.push((format!("metadata of {path:?}"), content.metadata.join("\n").into_bytes()));
            left.push((format!("bytes of {path:?}"), std::fs::read(path).unwrap()));
        }
        let store = platform.s3.store(s3::BUCKET).await.unwrap();
        let listed =
            s3::bare_client(&platform.s3.endpoint()).list_objects_v2().bucket(s3::BUCKET).send().await.unwrap();
        for key in listed.contents().iter().filter_map(|object| object.key()) {
            left.push(("name".to_owned(), key.as_bytes().to_vec()));
            if key.ends_with("/manifest") {
                left.push((key.to_owned(), store.get(&s3::key(key)).await.unwrap().to_vec()));
            }
        }
        for (place, bytes) in &left {
            let found = forbidden.found(bytes);
            assert!(found.is_empty(), "{place} holds {found:?}");
        }
        // An empty file proves nothing: what is granted is there, each value of it.
        let cells: Vec<u8> =
            left.iter().filter(|(place, _)| place.starts_with("cells")).flat_map(|(_, bytes)| bytes.clone()).collect();
        let there = everything.found(cells);
        let missing: Vec<&String> = granted.iter().filter(|value| !there.contains_key(value.as_str())).collect();
        assert!(missing.is_empty(), "granted, but not there: {missing:?}");

        // What was said holds no cell at all, granted or not.
        let said = said(&platform, &service, &id).await;
        let length: usize = said.iter().map(|(_, text)| text.len()).sum();
        assert!(length > 100_000 && service.logged().len() > 10_000, "there is something to search: {length}");
        for (place, text) in &said {
            for needles in [&forbidden, &everything] {
                let found = needles.found(text);
                assert!(found.is_empty(), "{place} holds {found:?}");
            }
        }
    }
}

#[test]
fn every_entity_has_a_canary() {
    let planted: Vec<Entity> = PERSONAL.iter().map(|row| row.0).collect();
    assert_eq!(planted, Entity::DETECTED);
    for entity in Entity::ALL.iter().filter(|entity| !Entity::DETECTED.contains(entity)) {
        assert!(NAMED.iter().any(|(named, _)| named == entity), "{entity}");
    }
}
