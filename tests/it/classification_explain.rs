//! `explain`: what it says of each column and rule, and that its counts are those of the warehouse.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::calendar;
use crate::support::platform::{Platform, sql_day};
use crate::support::warehouse::TestWarehouse;

use classification::Predicate;
use data_exporter::error::ErrorCode;
use data_exporter::warehouse::{TimeSlice, TimeUnit, Warehouse};

async fn explain(platform: &Platform, arguments: &[&str]) -> Value {
    let done =
        platform.program(&[&["--json", "classification", "explain"], arguments].concat()).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

async fn rows(platform: &Platform, table: &str, condition: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table} WHERE {condition}");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&platform.warehouse).await.unwrap()
}

#[tokio::test]
async fn every_column_has_its_reason_and_every_count_is_the_warehouses() {
    let platform = Platform::sample("explain_sample", 6_000).await;
    let (start, end) = sql_day();
    let day = format!("ts >= '{start}' AND ts < '{end}'");
    sqlx::raw_sql(
        "INSERT INTO probe_speed SELECT * FROM probe_speed LIMIT 0;
         ALTER TABLE probe_speed ALTER COLUMN ts DROP NOT NULL;
         UPDATE probe_speed SET ts = 'infinity' WHERE id IN (SELECT min(id) FROM probe_speed);
         UPDATE probe_speed SET ts = NULL WHERE id IN (SELECT max(id) FROM probe_speed)",
    )
    .execute(&platform.warehouse)
    .await
    .unwrap();
    let explained = explain(&platform, &["probe_speed", "--from", "2026-03-02", "--to", "2026-03-03"]).await;
    let counts = &explained["counts"];
    let (all, fusion) = (
        rows(&platform, "probe_speed", &day).await,
        rows(&platform, "probe_speed", &format!("{day} AND source = 'FUSION'")).await,
    );
    assert!(fusion > 0 && fusion < all, "{fusion} of {all}");
    assert_eq!((counts["inWindow"].as_i64(), counts["exported"].as_i64()), (Some(all), Some(fusion)));
    assert_eq!(counts["timeless"].as_i64(), Some(2));
    let rules = explained["rowRules"].as_array().unwrap();
    assert_eq!(rules.len(), 1, "{explained}");
    assert_eq!(rules[0]["rowsHeldBack"].as_i64(), Some(all - fusion));
    assert!(rules[0]["rows"].as_str().unwrap().contains("FUSION"), "{explained}");
    for (column, fate, words) in [
        ("speed_kmh", "KEPT", "data_column_classification: mx"),
        ("way_id", "KEPT", "data_column_classification: nr"),
        ("vehicle_id", "LEFT_OUT", "data_column_classification: hwc"),
    ] {
        let found = explained["columns"].as_array().unwrap().iter().find(|it| it["name"] == column).unwrap();
        assert_eq!(found["fate"], fate, "{found}");
        assert!(found["rule"].as_str().unwrap().contains(words), "{found}");
    }
    // Without a range it is the last full day by the database's clock, which the sample knows nothing of.
    calendar::away_from_midnight().await;
    let now = explain(&platform, &["probe_speed"]).await;
    assert_eq!(now["counts"]["inWindow"].as_i64(), Some(0));
    let hours: f64 =
        sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp() - $1::timestamptz) / 3600)::float8")
            .bind(now["window"]["end"].as_str().unwrap())
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
    assert!((0.0..24.0).contains(&hours), "{hours}");

    // A long table, and one without time.
    let metrics = explain(&platform, &["sensor_metric", "--from", "2026-03-02"]).await;
    let held = metrics["rowRules"][0]["rowsHeldBack"].as_i64().unwrap();
    let denied = "recorded_epoch >= 1772409600 AND recorded_epoch < 1772496000
        AND metric_name NOT IN ('air_temperature', 'flow', 'mean_speed', 'occupancy', 'rain_intensity')";
    assert!(held > 0 && held == rows(&platform, "sensor_metric", denied).await, "{metrics}");
    let reference = explain(&platform, &["road_class_reference"]).await;
    assert_eq!(reference["window"], Value::Null);
    assert_eq!(
        (reference["counts"]["inWindow"].as_i64(), &reference["counts"]["timeless"]),
        (Some(rows(&platform, "road_class_reference", "true").await), &Value::Null)
    );
    assert_eq!(reference["files"], json!({"format": "parquet", "compression": "zstd"}));
    sqlx::query("UPDATE export_tables SET format = 'csv', compression = 'gzip' WHERE table_name = 'driver_registry'")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let disabled = explain(&platform, &["driver_registry", "--from", "2026-03-02"]).await;
    assert_eq!(disabled["refused"]["code"], "TABLE_NOT_OFFERED");
    assert_eq!(disabled["files"], json!({"format": "csv", "compression": "gzip"}));
    assert_eq!(disabled["counts"]["exported"].as_i64(), Some(0));
    let left = |column: &Value| column["fate"] == "LEFT_OUT";
    assert!(disabled["columns"].as_array().unwrap().iter().all(left), "{disabled}");
}

#[tokio::test]
async fn a_tenants_rows_are_told_apart_and_wrong_questions_are_refused() {
    let platform = Platform::sample("explain_tenants", 2_000).await;
    sqlx::raw_sql(
        "CREATE TABLE fleet (id bigint, owner text, at timestamptz, secret text);
         INSERT INTO fleet SELECT n, CASE n % 3 WHEN 0 THEN 'acme' WHEN 1 THEN 'default' END, '2026-03-02T12:00Z', 'x'
         FROM generate_series(1, 30) AS n",
    )
    .execute(&platform.warehouse)
    .await
    .unwrap();
    sqlx::raw_sql(
        "INSERT INTO export_tables (table_name, time_column, tenant_column) VALUES ('fleet', 'at', 'owner');
         INSERT INTO data_column_classification (table_name, column_name, classification)
         VALUES ('fleet', 'id', 'nr'), ('fleet', 'at', 'nr'), ('fleet', 'secret', 'de')",
    )
    .execute(&platform.metadata)
    .await
    .unwrap();
    let acme = explain(&platform, &["fleet", "--from", "2026-03-02", "--tenant", "acme"]).await;
    assert_eq!(
        (acme["counts"]["inWindow"].as_i64(), acme["counts"]["exported"].as_i64()),
        (Some(30), Some(10)),
        "{acme}"
    );
    assert_eq!(acme["rowRules"][0]["rowsHeldBack"].as_i64(), Some(20));
    let drift: Vec<&str> = acme["drift"].as_array().unwrap().iter().filter_map(|it| it["column"].as_str()).collect();
    assert_eq!(drift, ["owner"]);
    for (arguments, code, words) in [
        (&["way", "--tenant", "acme"][..], 2, "TABLE_NOT_OFFERED"),
        (&["nowhere"], 2, "TABLE_NOT_OFFERED"),
        (&["way", "--from", "2026-03-02", "--to", "2026-03-01"], 2, "RANGE_INVALID"),
        (&["way", "--from", "yesterday"], 2, "2026-03-02"),
        (&["way", "--tenant", "a/b"], 2, "BAD_REQUEST"),
    ] {
        let done = platform.program(&[&["classification", "explain"], arguments].concat()).output().await.unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn counts_are_of_odd_names_and_all_units_and_time_out() {
    let mut test = TestWarehouse::new("count_rows").await;
    test.run(
        "CREATE TABLE \"odd \"\"one\" (id int, \"so\"\"urce\" text, stamp timestamptz, plain timestamp, day date,
             seconds bigint, millis numeric);
         INSERT INTO \"odd \"\"one\"
         SELECT n, CASE n % 4 WHEN 0 THEN 'it''s' WHEN 1 THEN 'HERE' WHEN 2 THEN 'here' END,
             timestamptz '2026-03-02T00:00Z' + n * interval '1 hour', timestamp '2026-03-02' + n * interval '1 hour',
             date '2026-03-02' + n / 24, 1772409600 + n * 3600, (1772409600 + n * 3600)::numeric * 1000
         FROM generate_series(0, 47) AS n;
         INSERT INTO \"odd \"\"one\" VALUES (100, 'HERE', NULL, NULL, NULL, NULL, NULL),
             (101, 'HERE', 'infinity', 'infinity', 'infinity', 9e17::bigint, 'NaN'),
             (102, 'it''s', '-infinity', '-infinity', '-infinity', NULL, NULL)",
    )
    .await;
    let table = test.table("odd \"one");
    let one_of = |values: &[&str]| Predicate::one_of("so\"urce", values.iter().copied());
    let conditions =
        [Predicate::Always, one_of(&["it's"]), Predicate::Never, one_of(&["it's", "HERE"]), one_of(&["it's"])];
    let counted = test.warehouse.count(&table, None, &conditions).await.unwrap();
    assert_eq!(counted, [51, 13, 0, 27, 13]);
    assert_eq!(test.warehouse.count(&table, None, &[]).await.unwrap(), Vec::<i64>::new());
    for (column, unit, timeless, here) in [
        ("stamp", TimeUnit::Timestamp, 3, 2),
        ("plain", TimeUnit::Timestamp, 3, 2),
        ("day", TimeUnit::Date, 3, 2),
        ("seconds", TimeUnit::EpochS, 2, 1),
        ("millis", TimeUnit::EpochMs, 3, 2),
    ] {
        let slice = TimeSlice {
            column: column.to_owned(),
            unit,
            zone: "UTC".to_owned(),
            start: "2026-03-02T00:00:00Z".parse().unwrap(),
            end: "2026-03-03T00:00:00Z".parse().unwrap(),
        };
        let counted = test.warehouse.count(&table, Some(&slice), &conditions).await.unwrap();
        assert_eq!(counted, [24, 6, 0, 12, 6], "{column}");
        for (condition, expected) in [(Predicate::Always, timeless), (one_of(&["HERE"]), here), (Predicate::Never, 0)] {
            let found = test.warehouse.count_timeless(&table, &slice, &condition).await.unwrap();
            assert_eq!(found, expected, "{column} {condition}");
        }
        let wrong = TimeSlice { column: "id\"".to_owned(), ..slice };
        let refused = test.warehouse.count(&table, Some(&wrong), &conditions).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::SchemaChanged);
        assert_eq!(
            test.warehouse.count_timeless(&table, &wrong, &Predicate::Always).await.unwrap_err().code(),
            ErrorCode::SchemaChanged
        );
    }
    let gone = test.warehouse.count(&test.table("gone"), None, &conditions).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::TableNotFound);

    test.run("CREATE VIEW slow AS SELECT 1 AS id, pg_sleep(30)::text AS nap").await;
    let hurried = data_exporter::warehouse::postgres::PostgresWarehouse::new(
        crate::support::warehouse::url().into(),
        data_exporter::warehouse::postgres::PostgresOptions {
            statement_timeout: std::time::Duration::from_millis(200),
            ..Default::default()
        },
    )
    .unwrap();
    let nap = Predicate::one_of("nap", ["x"]);
    let late = hurried.count(&test.table("slow"), None, &[nap]).await.unwrap_err();
    assert_eq!(late.code(), ErrorCode::WarehouseTimeout);
}
