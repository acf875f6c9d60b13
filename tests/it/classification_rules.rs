//! The rules over GraphQL: who may see and change them, that a change is checked, audited and idempotent, and that an
//! explanation tells what an export then does.

use std::sync::Arc;

use data_exporter::api::Role;
use data_exporter::jobs::JobState;
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, Options};
use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, Service, day_range};

const KEYS: (&str, &str) = ("EXPORTER_AUTH", "api-key");

async fn ask(service: &Service, key: &str, query: &str) -> Value {
    let (status, mut answer) = service.ask_as(key, query).await;
    assert_eq!(status, 200, "{query}: {answer}");
    assert_eq!(answer.get("errors"), None, "{query}");
    answer["data"].take()
}

async fn refused(service: &Service, key: &str, query: &str) -> (String, String) {
    let (_, answer) = service.ask_as(key, query).await;
    let error = &answer["errors"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&error["extensions"]["code"]), text(&error["message"]))
}

const CHANGED: &str = "{ changed before after revision notes }";

async fn change(service: &Service, key: &str, call: &str) -> Value {
    let field = call.split('(').next().unwrap();
    ask(service, key, &format!("mutation {{ {call} {CHANGED} }}")).await[field].take()
}

async fn sql(pool: &sqlx::PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_are_for_administrators_of_the_default_tenant() {
    let platform = Platform::sample("rules_roles", 2_000).await;
    let service = platform.serve("api", "api", &[KEYS]).await;
    let keys = [
        ("requester", platform.key("default", Role::Requester).await, false),
        ("admin", platform.key("default", Role::Admin).await, true),
        ("admin of acme", platform.key("acme", Role::Admin).await, false),
    ];
    let before: i64 =
        sqlx::query_scalar("SELECT revision FROM rules_revision").fetch_one(&platform.metadata).await.unwrap();
    for document in [
        "{ classification { revision } }",
        "{ unclassifiedColumns { table } }",
        "{ ... on Query { c: classification { revision } } }",
        "mutation { enableTable(table: \"way\", enabled: true) { changed } }",
        "mutation { setColumnClassification(table: \"way\", column: \"lanes\", classification: NR) { changed } }",
        "mutation { setSourceClassification(source: \"HERE\", classification: DE) { changed } }",
        "mutation { setMetricClassification(table: \"sensor_metric\", metric: \"flow\", classification: NR) { changed } }",
    ] {
        for (who, key, allowed) in &keys {
            let (_, answer) = service.ask_as(key, document).await;
            let code = answer["errors"][0]["extensions"]["code"].as_str();
            assert_eq!(code, (!allowed).then_some("FORBIDDEN"), "{who}: {document}: {answer}");
        }
    }
    let after: i64 =
        sqlx::query_scalar("SELECT revision FROM rules_revision").fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(before, after, "nothing was new in any of it");
    // What was already so is not written, nor audited.
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM admin_audit WHERE action LIKE 'classification.%'")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(audited, 0);
    let rules = ask(
        &service,
        &keys[1].1,
        "{ all: classification { tables { table } columns { table column classification } }
           way: classification(table: \"way\") { tables { table enabled } columns { table } sources { source classification } metrics { metric } restrictions { name } } }",
    )
    .await;
    assert_eq!(rules["all"]["tables"].as_array().unwrap().len(), 9);
    assert_eq!(rules["way"]["tables"], json!([{"table": "way", "enabled": true}]));
    assert!(rules["way"]["columns"].as_array().unwrap().iter().all(|column| column["table"] == "way"));
    assert_eq!(rules["way"]["sources"][1], json!({"source": "HERE", "classification": "DE"}));
    assert_eq!(rules["way"]["metrics"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_checked_whole_audited_twice_and_returned() {
    let platform = Platform::sample("rules_edit", 2_000).await;
    let service = platform.serve("api", "api", &[KEYS]).await;
    let admin = platform.key("default", Role::Admin).await;
    let column = |arguments: &str| format!("setColumnClassification(table: \"way\", column: \"lanes\", {arguments})");
    let first = change(&service, &admin, &column("classification: DE")).await;
    assert_eq!((&first["changed"], &first["before"]["classification"]), (&json!(true), &json!("nr")), "{first}");
    assert_eq!(first["after"]["classification"], "de");
    let again = change(&service, &admin, &column("classification: DE")).await;
    assert_eq!((&again["changed"], &again["revision"]), (&json!(false), &first["revision"]), "{again}");
    let attested = column(
        "classification: NR, piiExemptBy: \"ann\", piiExemptReason: \"a count\", piiExemptUntil: \"2031-01-01\"",
    );
    assert_eq!(change(&service, &admin, &attested).await["after"]["pii_exempt_by"], "ann");
    let bare = change(&service, &admin, &column("classification: NR")).await;
    assert_eq!(bare["after"]["pii_exempt_by"], Value::Null, "what is not given is not attested");
    for (call, before, after, note) in [
        (
            "setSourceClassification(source: \"NEW\", classification: MX)",
            Value::Null,
            json!("mx"),
            Some("counts as 'de'"),
        ),
        ("setSourceClassification(source: \"HERE\", classification: NR)", json!("de"), json!("nr"), None),
        (
            "setMetricClassification(table: \"sensor_metric\", metric: \"flow\", classification: DE)",
            json!("nr"),
            json!("de"),
            None,
        ),
    ] {
        let changed = change(&service, &admin, call).await;
        assert_eq!(changed["changed"], true, "{call}");
        assert_eq!(changed["before"].get("classification").cloned().unwrap_or_default(), before, "{call}");
        assert_eq!(changed["after"]["classification"], after, "{call}");
        let notes = changed["notes"].as_array().unwrap();
        assert_eq!(notes.len(), usize::from(note.is_some()), "{changed}");
        assert!(note.is_none_or(|words| notes[0].as_str().unwrap().contains(words)), "{changed}");
    }
    let off = change(&service, &admin, "enableTable(table: \"cctv\", enabled: false)").await;
    assert_eq!((&off["before"]["enabled"], &off["after"]["enabled"]), (&json!(true), &json!(false)));
    let offered = ask(&service, &admin, "{ exportTables { name } }").await;
    assert!(!offered.to_string().contains("cctv"), "{offered}");

    // Both audits say who, with before and after.
    let rules: Vec<(String, Value)> =
        sqlx::query_as("SELECT actor, after FROM rules_audit WHERE actor LIKE 'key:%' ORDER BY id")
            .fetch_all(&platform.metadata)
            .await
            .unwrap();
    assert_eq!(rules.len(), 7, "{rules:?}");
    let audit =
        ask(&service, &admin, "{ auditLog { edges { node { action target actor before after requestId } } } }").await;
    let entries: Vec<&Value> =
        audit["auditLog"]["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]).collect();
    let entries: Vec<&&Value> =
        entries.iter().filter(|entry| entry["action"].as_str().unwrap().starts_with("classification.")).collect();
    assert_eq!(entries.len(), 7);
    assert_eq!(
        (&entries[0]["action"], &entries[0]["target"], &entries[0]["after"]["enabled"]),
        (&json!("classification.table"), &json!("cctv"), &json!(false))
    );
    assert!(entries.iter().all(|entry| entry["requestId"].is_string() && entry["actor"] == rules[0].0.as_str()));

    // Nothing of what is refused is written.
    let revision = off["revision"].as_i64().unwrap();
    for (call, code, words) in [
        (column("classification: NR, piiExemptBy: \"ann\""), "RULES_INVALID", "pii_exempt_until"),
        (
            column("classification: NR, piiExemptBy: \" \", piiExemptReason: \"\", piiExemptUntil: \"2031-01-01\""),
            "RULES_INVALID",
            "pii_exempt_reason is blank",
        ),
        (column("classification: NR").replace("lanes", "lanse"), "NOT_FOUND", "did you mean 'lanes'?"),
        (column("classification: DE").replace("lanes", "lanse"), "NOT_FOUND", "did you mean 'lanes'?"),
        (column("classification: NR").replace("way", "wya"), "TABLE_NOT_FOUND", "wya"),
        (column("classification: NR").replace("way", "."), "BAD_REQUEST", "table name"),
        ("enableTable(table: \"cctvs\", enabled: true)".to_owned(), "NOT_FOUND", "did you mean 'cctv'?"),
        (
            "setMetricClassification(table: \"way\", metric: \"x\", classification: NR)".to_owned(),
            "RULES_INVALID",
            "no metric_column",
        ),
        (
            "setMetricClassification(table: \"nowhere\", metric: \"x\", classification: NR)".to_owned(),
            "NOT_FOUND",
            "nowhere",
        ),
        ("setSourceClassification(source: \"\", classification: NR)".to_owned(), "RULES_INVALID", "source is empty"),
    ] {
        let (found, message) = refused(&service, &admin, &format!("mutation {{ {call} {CHANGED} }}")).await;
        assert_eq!(found, code, "{call}: {message}");
        assert!(message.contains(words), "{call}: {message}");
    }
    // Writers do not lose each other's changes.
    let lanes = ["lanes", "length_m", "max_speed", "oneway", "road_class", "way_id"];
    let all = lanes.map(|name| column("classification: HWC").replace("lanes", name));
    let changed = futures::future::join_all(all.iter().map(|call| change(&service, &admin, call))).await;
    let last = changed.iter().filter_map(|change| change["revision"].as_i64()).max().unwrap();
    assert_eq!(last, revision + 6);
    let careful: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM data_column_classification WHERE classification = 'hwc' AND table_name = 'way'",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(careful, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_told_live_and_a_retyped_column_is_accepted_by_classifying_it() {
    let platform = Platform::sample("rules_drift", 2_000).await;
    let service = platform.serve("all", "api,worker", &[KEYS]).await;
    let admin = platform.key("default", Role::Admin).await;
    let drift = "{ unclassifiedColumns { table column type previousType kind suspected suggestion renamedFrom } }";
    assert_eq!(ask(&service, &admin, drift).await["unclassifiedColumns"], json!([]));
    // Classified through the service: its type is known before it ever left.
    change(&service, &admin, "setColumnClassification(table: \"way\", column: \"lanes\", classification: MX)").await;
    change(&service, &admin, "setColumnClassification(table: \"way\", column: \"oneway\", classification: DE)").await;
    sql(
        &platform.warehouse,
        "ALTER TABLE way ALTER COLUMN lanes TYPE numeric(9, 1); ALTER TABLE way RENAME COLUMN oneway TO one_way;
         ALTER TABLE vms ADD COLUMN \"licensePlate\" text",
    )
    .await;
    let found = ask(&service, &admin, drift).await["unclassifiedColumns"].take();
    type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, Option<&'a str>);
    let rows: Vec<Row<'_>> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str();
            assert!(!text("suggestion").unwrap().is_empty());
            (
                text("table").unwrap(),
                text("column").unwrap(),
                text("kind").unwrap(),
                text("suspected"),
                text("renamedFrom"),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("vms", "licensePlate", "NEW", Some("PLATE"), None),
            ("way", "one_way", "NEW", None, Some("oneway")),
            ("way", "oneway", "MISSING", None, None),
            ("way", "lanes", "RETYPED", None, None),
        ]
    );
    assert_eq!((&found[3]["previousType"], &found[3]["type"]), (&json!("smallint"), &json!("numeric(9,1)")));
    // The same rule again is a change here: somebody has looked.
    let call = "setColumnClassification(table: \"way\", column: \"lanes\", classification: MX)";
    assert_eq!(change(&service, &admin, call).await["changed"], true);
    assert_eq!(change(&service, &admin, call).await["changed"], false);
    let found = ask(&service, &admin, drift).await["unclassifiedColumns"].take();
    assert!(!found.to_string().contains("RETYPED"), "{found}");

    let away = [KEYS, ("EXPORTER_WAREHOUSE_URL", "postgres://nobody:canary@127.0.0.1:1/none")];
    let service = platform.serve("away", "api", &away).await;
    let (start, end) = day_range();
    let explain = format!("{{ explainExport(table: \"way\", startTime: {start}, endTime: {end}) {{ rows }} }}");
    for query in [drift, &explain] {
        let (code, message) = refused(&service, &admin, query).await;
        assert_eq!(code, "WAREHOUSE_UNAVAILABLE", "{message}");
        assert!(!message.contains("canary"), "{message}");
    }
    // Denying does not wait for the warehouse; anything else does.
    let nr = "mutation { setColumnClassification(table: \"way\", column: \"ref\", classification: NR) { changed } }";
    assert_eq!(refused(&service, &admin, nr).await.0, "WAREHOUSE_UNAVAILABLE");
    let denied =
        change(&service, &admin, "setColumnClassification(table: \"way\", column: \"ref\", classification: DE)").await;
    assert_eq!((&denied["changed"], &denied["after"]["pii_exempt_by"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_process_without_a_warehouse_says_which_setting_it_lacks() {
    let endpoint = Endpoint::with("rules_alone", Options::default()).await;
    let end = crate::support::issuer::now() - 86_400;
    for query in [
        "{ unclassifiedColumns { table } }".to_owned(),
        format!("{{ explainExport(table: \"way\", startTime: {}, endTime: {end}) {{ rows }} }}", end - 60),
    ] {
        let (code, message) = endpoint.refusal(&query, json!({})).await;
        assert_eq!(code, "SETTINGS_INVALID", "{message}");
        assert!(message.contains("EXPORTER_WAREHOUSE_URL"), "{message}");
    }
    let many: String = (0..4)
        .map(|n| format!("e{n}: explainExport(table: \"way\", startTime: {}, endTime: {end}) {{ rows }} ", end - 60))
        .collect();
    let (code, message) = endpoint.refusal(&format!("{{ {many} }}"), json!({})).await;
    assert_eq!(code, "BAD_REQUEST", "explanations are not for nothing: {message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_tells_what_the_export_then_does_and_nothing_of_others() {
    let platform = Platform::sample("rules_explain", 4_000).await;
    sql(
        &platform.warehouse,
        "CREATE TABLE fleet (id bigint, owner text, source text, at timestamptz, speed real);
         INSERT INTO fleet SELECT n, CASE WHEN n % 10 = 0 THEN 'acme' WHEN n % 10 < 7 THEN 'default' END,
             CASE WHEN n % 4 = 0 THEN 'HERE' ELSE 'FUSION' END,
             CASE WHEN n % 50 = 0 THEN NULL ELSE timestamptz '2026-03-02T12:00Z' END, 1.5
         FROM generate_series(1, 400) AS n",
    )
    .await;
    sql(
        &platform.metadata,
        "INSERT INTO export_tables (table_name, time_column, source_column, tenant_column)
             VALUES ('fleet', 'at', 'source', 'owner');
         INSERT INTO data_column_classification (table_name, column_name, classification)
             VALUES ('fleet', 'id', 'nr'), ('fleet', 'at', 'nr'), ('fleet', 'speed', 'mx'), ('fleet', 'owner', 'de')",
    )
    .await;
    let service = platform.serve("all", "api,worker", &[KEYS]).await;
    let (start, end) = day_range();
    let query = format!(
        "{{ explainExport(table: \"fleet\", startTime: {start}, endTime: {end}) {{
            policyHash rows rowsInWindow rowsExported rowsWithoutTime warnings refused {{ code }}
            columns {{ name type fate rule changes }} rowRules {{ rule rows rowsHeldBack }} }} }}"
    );
    for tenant in ["acme", "default", "nobody"] {
        let key = platform.key(tenant, Role::Requester).await;
        let explained = ask(&service, &key, &query).await["explainExport"].take();
        let own = |condition: &str| {
            let query = format!("SELECT count(*) FROM fleet WHERE owner = $1 AND {condition}");
            let pool = platform.warehouse.clone();
            async move {
                sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query)).bind(tenant).fetch_one(&pool).await.unwrap()
            }
        };
        assert_eq!(explained["rowsInWindow"].as_i64(), Some(own("at IS NOT NULL").await), "{tenant}: {explained}");
        let exported = own("at IS NOT NULL AND source = 'FUSION'").await;
        assert_eq!(explained["rowsExported"].as_i64(), Some(exported), "{tenant}: {explained}");
        assert_eq!(explained["rowsWithoutTime"].as_i64(), Some(own("at IS NULL").await), "{tenant}: {explained}");
        let rules = explained["rowRules"].as_array().unwrap();
        for rule in rules {
            let held = match rule["rule"].as_str().unwrap().starts_with("tenant_column") {
                true => None,
                false => Some(own("at IS NOT NULL AND source = 'HERE'").await),
            };
            assert_eq!(rule["rowsHeldBack"].as_i64(), held, "{tenant}: {rule}");
        }
        assert_eq!(rules.len(), 2);
        let others = ["acme", "default", "nobody"].into_iter().filter(|other| *other != tenant);
        others.for_each(|other| assert!(!explained.to_string().contains(&format!("'{other}'")), "{explained}"));
        // The export does what was said, under the same policy.
        let mutation = format!("mutation {{ requestData(startTime: {start}, endTime: {end}, tables: [\"fleet\"]) }}");
        let id = ask(&service, &key, &mutation).await["requestData"].as_str().unwrap().to_owned();
        let (rows, hash): (i64, String) = loop {
            let statuses = "SELECT row_count, policy_hash FROM table_export_job_statuses
                            WHERE job_id = $1::uuid AND status = 'COMPLETED'";
            let found = sqlx::query_as(statuses).bind(&id).fetch_optional(&platform.metadata).await.unwrap();
            if let Some(found) = found {
                break found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_eq!((rows, Some(hash.as_str())), (exported, explained["policyHash"].as_str()), "{tenant}");
        let fates: Vec<(&str, &str)> = explained["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| (column["name"].as_str().unwrap(), column["fate"].as_str().unwrap()))
            .collect();
        assert_eq!(
            fates,
            [("id", "KEPT"), ("owner", "LEFT_OUT"), ("source", "LEFT_OUT"), ("at", "KEPT"), ("speed", "KEPT")]
        );
    }
    let requester = platform.key("default", Role::Requester).await;
    let acme = platform.key("acme", Role::Requester).await;
    let asked = |table: &str, start: i64, end: i64| {
        format!("{{ explainExport(table: \"{table}\", startTime: {start}, endTime: {end}) {{ rowsInWindow }} }}")
    };
    for (key, query, code) in [
        (&requester, asked("way", start, end + 1), "RANGE_TOO_LONG"),
        (&requester, asked("way", end, start), "RANGE_INVALID"),
        (&requester, asked("way", start * 1_000, end * 1_000), "RANGE_INVALID"),
        (&requester, asked("way", 4_000_000_000, 4_000_000_060), "RANGE_IN_FUTURE"),
        (&requester, asked("driver_registry", start, end), "TABLE_NOT_OFFERED"),
        (&requester, asked("nowhere", start, end), "TABLE_NOT_OFFERED"),
        (&requester, asked("road_class_reference", start, end), "TABLE_WITHOUT_TIME"),
        (&acme, asked("way", start, end), "TABLE_NOT_OFFERED"),
    ] {
        let (found, message) = refused(&service, key, &query).await;
        assert_eq!(found, code, "{query}: {message}");
    }
    // Unless rows are asked for, none are counted.
    let quiet = ask(&service, &requester, &asked("way", start, end).replace("rowsInWindow", "rowRules { rule }")).await;
    assert_eq!(quiet["explainExport"]["rowRules"], json!([]));
    let half = "explainExport(table: \"fleet\", startTime: START, endTime: END) { rowsInWindow: policyHash rowRules { ...r } }";
    let half = half.replace("START", &start.to_string()).replace("END", &end.to_string());
    let counted = format!("{{ {half} }} fragment r on ExplainedRule {{ held: rowsHeldBack }}");
    let counted = ask(&service, &requester, &counted).await;
    assert!(counted["explainExport"]["rowRules"][1]["held"].is_number(), "{counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_the_policy_that_it_was_planned_with() {
    let platform = Platform::sample("rules_kept", 4_000).await;
    // The rules change in the very transaction that commits the plan: nothing has been read by then.
    sql(
        &platform.metadata,
        "CREATE FUNCTION deny_lanes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE data_column_classification SET classification = 'de' WHERE column_name = 'lanes';
             UPDATE actual_data_classifications SET classification = 'de' WHERE source = 'FUSION';
             RETURN NULL; END $$;
         CREATE TRIGGER deny_lanes AFTER UPDATE ON export_jobs FOR EACH ROW
             WHEN (OLD.state = 'PLANNING' AND NEW.state = 'RUNNING') EXECUTE FUNCTION deny_lanes()",
    )
    .await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let tables = ["way", "probe_speed"];
    let first = worker.finished(worker.request(&tables).await).await;
    assert_eq!(first.state, JobState::Completed, "{:?}", first.error);
    let second = worker.finished(worker.request(&tables).await).await;
    let mut seen = Vec::new();
    for view in [&first, &second] {
        let (revision, columns): (i64, Vec<String>) = sqlx::query_as(
            "SELECT rules_revision, ARRAY(SELECT jsonb_array_elements(plan -> 'policy' -> 'columns') ->> 'name')
             FROM export_jobs JOIN export_job_tables ON job_id = id WHERE id = $1 AND table_name = 'way'",
        )
        .bind(view.id.0)
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
        let speeds = view.tables.iter().find(|table| table.name.to_string() == "probe_speed").unwrap();
        seen.push((columns.contains(&"lanes".to_owned()), speeds.rows > 0, revision));
    }
    assert_eq!((seen[0].0, seen[0].1), (true, true), "{seen:?}");
    assert_eq!((seen[1].0, seen[1].1), (false, false), "{seen:?}");
    assert!(seen[0].2 < seen[1].2, "{seen:?}");
    worker.stop().await;
}
