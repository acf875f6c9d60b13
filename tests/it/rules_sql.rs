//! Rules written by plain SQL: held to what files are held to, audited, loaded, kept for later.

use classification::RuleSet;
use classification::actions::Action;
use classification::rules::{ActionKind, FileCompression, FileFormat, RuleTable};
use data_exporter::error::{ErrorCode, Failure};
use data_exporter::rules::{RulesError, shipped};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::platform::Platform;

/// Runs statements in one transaction, as an operator's client would send them.
async fn sql(platform: &Platform, statements: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&platform.metadata).await.map(|_| ())
}

#[tokio::test]
async fn what_files_may_not_say_sql_may_not_say() {
    let platform = Platform::empty("rules_sql_checks").await;
    // Each stands behind `INSERT INTO`.
    let columns = "data_column_classification VALUES";
    let restrictions = "column_restrictions (table_name, kind, name, action, params, owner, expires_at) VALUES";
    let tables =
        "export_tables (table_name, time_zone, source_column, metric_column, value_column, tenant_column) VALUES";
    for (into, row, words) in [
        (tables, "('public.way', 'UTC', NULL, NULL, NULL, NULL)", "not the normal form"),
        (columns, "('public.way', 'id', 'nr')", "not the normal form"),
        ("long_table_data_classifications VALUES", "('public.way', 'm', 'nr')", "not the normal form"),
        (restrictions, "('public.way', 'column', 'id', 'drop', '{}', NULL, NULL)", "not the normal form"),
        (columns, "('.way', 'id', 'nr')", "is not a table name"),
        (columns, "('ops.', 'id', 'nr')", "is not a table name"),
        (tables, "('way', 'Mars/Olympus', NULL, NULL, NULL, NULL)", "not the name of a zone"),
        (tables, "('way', 'FOO3', NULL, NULL, NULL, NULL)", "not the name of a zone"),
        (tables, "('way', 'UTC', NULL, 'a', 'a', NULL)", "value_not_metric"),
        (tables, "('way', 'UTC', 'a', 'b', 'a', NULL)", "value_not_source"),
        (tables, "('way', 'UTC', 'a', 'a', 'b', NULL)", "source_not_metric"),
        (tables, "('way', 'UTC', NULL, 'a', 'b', 'b')", "value_not_tenant"),
        (columns, "('way', 'id', 'nr', ' ', 'why', '2027-01-01')", "exemption_not_blank"),
        (columns, "('way', 'id', 'nr', 'me', 'why', 'infinity')", "exemption_ends"),
        (columns, "('way', 'id', 'maybe')", "classification"),
        (columns, "('way', 'id', 'nr'), ('way', 'id', 'de')", "duplicate key"),
        (restrictions, "('way', 'column', 'id', 'truncate', '{}', NULL, NULL)", "params_fit_the_action"),
        (restrictions, "('way', 'column', 'id', 'drop', '{}', ' ', NULL)", "owner_not_blank"),
        (restrictions, "('way', 'column', 'id', 'drop', '{}', NULL, 'infinity')", "expires_at_a_day"),
        ("pii_rules (rules) VALUES", "('')", "pii_rules"),
        ("pii_rules (rules) VALUES", "('# a'), ('# b')", "duplicate key"),
        ("export_tables (table_name, compression) VALUES", "('way', 'lz4')", "compression"),
        ("export_tables (table_name, whole_export) VALUES", "('way', 'weekly')", "whole_export"),
        (
            "export_tables (table_name, time_column, whole_export) VALUES",
            "('way', 'at', 'when_changed')",
            "whole_export_without_time",
        ),
        (
            "export_tables (table_name, tenant_column, scheduled_tenants) VALUES",
            "('way', 'o', 'some')",
            "scheduled_tenants",
        ),
        ("export_tables (table_name, scheduled_tenants) VALUES", "('way', 'all')", "scheduled_tenants_of_a_column"),
        (
            "export_tables (table_name, format, compression) VALUES",
            "('way', 'csv', 'snappy')",
            "compression_of_the_format",
        ),
        (
            "export_tables (table_name, format, compression) VALUES",
            "('way', 'jsonl', 'snappy')",
            "compression_of_the_format",
        ),
        (
            "export_tables (table_name) VALUES",
            "('way'); INSERT INTO long_table_data_classifications VALUES ('way', 'flow', 'nr')",
            "has no metric_column",
        ),
        (
            "export_tables (table_name) VALUES",
            "('way'); INSERT INTO column_restrictions (table_name, kind, name) VALUES ('way', 'source', 'A')",
            "no metric or source to restrict",
        ),
    ] {
        let wrong = format!("INSERT INTO {into} {row}");
        let error = sql(&platform, &wrong).await.expect_err(&wrong).to_string();
        assert!(error.contains(words), "{wrong}: {error}");
    }
    // In one transaction, in whatever order.
    sql(
        &platform,
        "INSERT INTO long_table_data_classifications VALUES ('ops.way', 'flow', 'nr');
         INSERT INTO export_tables (table_name, time_zone, metric_column, value_column)
             VALUES ('ops.way', 'Europe/Berlin', 'm', 'v'), ('public.dotted.name', 'UTC', NULL, NULL)",
    )
    .await
    .unwrap();
    let error = sql(&platform, "UPDATE export_tables SET metric_column = NULL, value_column = NULL").await.unwrap_err();
    assert!(error.to_string().contains("has no metric_column"), "{error}");
    platform.rules().load().await.unwrap();
}

/// SQL takes the parameters that files may give, and no others.
#[tokio::test]
async fn params_are_judged_alike_by_sql_and_by_files() {
    let platform = Platform::empty("rules_sql_params").await;
    let shapes = [
        json!({}),
        json!([]),
        json!({"domain": "x"}),
        json!({"domain": " "}),
        json!({"domain": 3}),
        json!({"domain": "x", "per": "day"}),
        json!({"domain": "x", "per": null}),
        json!({"domain": "x", "per": "week"}),
        json!({"domain": "x", "salt": "y"}),
        json!({"per": "day"}),
        json!({"length": 0}),
        json!({"length": 4_294_967_295_u64}),
        json!({"length": 4_294_967_296_u64}),
        json!({"length": -1}),
        json!({"length": 1.5}),
        json!({"length": 3.0}),
        json!({"length": "3"}),
        json!({"round": -18}),
        json!({"round": 18}),
        json!({"round": 19}),
        json!({"round": 3, "wkt": 3}),
        json!({"round": null}),
        json!({"wkt": 0}),
        json!({"wkt": -1}),
        json!({"wkt": 19}),
        json!({"date_trunc": "hour"}),
        json!({"date_trunc": "Hour"}),
        json!({"date_trunc": 3}),
        json!({"network_prefix": {"v4": 24, "v6": 48}}),
        json!({"network_prefix": {"v4": 33, "v6": 48}}),
        json!({"network_prefix": {"v4": 24}}),
        json!({"network_prefix": 24}),
        json!({"other": 1}),
    ];
    let (mut taken, mut refused) = (0, 0);
    for action in ActionKind::ALL {
        for params in &shapes {
            let holds: bool = sqlx::query_scalar("SELECT restriction_params_hold($1, $2)")
                .bind(action.as_str())
                .bind(params)
                .fetch_one(&platform.metadata)
                .await
                .unwrap();
            let parsed = Action::parse(*action, params);
            assert_eq!(holds, params.is_object() && parsed.is_ok(), "{action} {params}: {parsed:?}");
            taken += u32::from(holds);
            refused += u32::from(!holds);
        }
    }
    assert!(taken >= 14 && refused > 200, "{taken} taken, {refused} refused");
}

/// A table's compression is shown as a difference, written, and read again; so is its absence.
#[tokio::test]
async fn the_compression_of_a_tables_files_is_a_rule_like_the_others() {
    let platform = Platform::empty("rules_sql_compression").await;
    let (store, shipped) = (platform.rules(), shipped().unwrap());
    store.apply(&shipped, "ada").await.unwrap();
    for (format, compression) in [
        (None, Some(FileCompression::Snappy)),
        (Some(FileFormat::Csv), Some(FileCompression::Gzip)),
        (Some(FileFormat::Jsonl), Some(FileCompression::Zstd)),
        (Some(FileFormat::Jsonl), None),
    ] {
        let mut rows = shipped.rows();
        let first = &mut rows.export_tables[0];
        (first.format, first.compression) = (format, compression);
        let rules = RuleSet::from_rows(rows).unwrap();
        let changes = store.apply(&rules, "ada").await.unwrap();
        assert_eq!(changes.len(), 1, "{changes:?}");
        let after = changes[0].after.as_ref().unwrap();
        assert_eq!(after["compression"], json!(compression.map(FileCompression::as_str)));
        assert_eq!(store.diff(&rules).await.unwrap(), []);
        assert_eq!(store.load().await.unwrap().set, rules);
    }
}

#[tokio::test]
async fn pii_rules_are_applied_audited_and_refused_like_the_others() {
    let platform = Platform::empty("rules_sql_pii").await;
    let store = platform.rules();
    assert_eq!(store.load().await.unwrap().set.pii_text(), "", "no row: the defaults");
    let rules = shipped().unwrap();
    assert!(rules.pii().patterns().iter().any(|pattern| pattern.name() == "FLEET_PLATE"));
    let changes = store.apply(&rules, "ada").await.unwrap();
    assert!(changes.iter().any(|change| change.table == RuleTable::PiiRules && change.key == "pii.toml"));
    assert_eq!(store.diff(&rules).await.unwrap(), []);
    let before = store.load().await.unwrap();
    assert_eq!(before.set, rules);

    // By hand: audited with before and after, and a new revision.
    sql(&platform, "UPDATE pii_rules SET rules = E'[entities.PHONE]\\naction = \"null\"'").await.unwrap();
    let after = store.load().await.unwrap();
    assert!(after.revision > before.revision);
    let audited: (String, Value, Value) = sqlx::query_as(
        "SELECT operation, before, after FROM rules_audit WHERE rule_table = 'pii_rules' ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(audited.0, "UPDATE");
    assert_eq!(audited.1["rules"], rules.pii_text());
    assert_eq!(audited.2["rules"], after.set.pii_text());
    // Text that does not hold: nothing is exported under it, and the message has its line.
    sql(&platform, "UPDATE pii_rules SET rules = E'# fine\\n[entities.PHONES]'").await.unwrap();
    let failure = Failure::from(store.load().await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::RulesInvalid);
    assert!(failure.message.contains("pii_rules:2: 'PHONES' is no entity"), "{}", failure.message);
    // No row stands for the defaults, as an empty file does.
    sql(&platform, "DELETE FROM pii_rules").await.unwrap();
    let mut rows = rules.rows();
    rows.pii_rules.clear();
    let defaults = RuleSet::from_rows(rows).unwrap();
    assert_eq!(store.diff(&defaults).await.unwrap(), []);
    store.apply(&rules, "ada").await.unwrap();
    store.apply(&defaults, "ada").await.unwrap();
    assert_eq!(store.load().await.unwrap().set, defaults);
}

#[tokio::test]
async fn what_the_database_alone_knows_is_refused_with_its_words() {
    let platform = Platform::empty("rules_sql_zone").await;
    let mut rows = shipped().unwrap().rows();
    rows.export_tables[0].time_zone = "Mars/Olympus".to_owned();
    let error = platform.rules().apply(&RuleSet::from_rows(rows).unwrap(), "ada").await.unwrap_err();
    assert!(matches!(error, RulesError::Refused(_)), "{error:?}");
    let failure = Failure::from(error);
    assert_eq!(failure.code, ErrorCode::RulesInvalid);
    for words in ["export_tables cctv", "Mars/Olympus", "Europe/Berlin"] {
        assert!(failure.message.contains(words), "{}", failure.message);
    }
    assert_eq!(platform.rules().load().await.unwrap().set, RuleSet::default(), "nothing was applied");
}

#[tokio::test]
async fn the_rules_of_a_planned_job_can_be_read_later() {
    let platform = Platform::empty("rules_sql_snapshot").await;
    let store = platform.rules();
    store.apply(&shipped().unwrap(), "ada").await.unwrap();
    let planned = store.load().await.unwrap();
    assert!(store.snapshot(planned.revision).await.unwrap().is_none());
    store.keep(&planned).await.unwrap();
    store.keep(&planned).await.unwrap();
    sql(&platform, "DELETE FROM actual_data_classifications; DELETE FROM pii_rules").await.unwrap();
    let kept = store.snapshot(planned.revision).await.unwrap().unwrap();
    assert_eq!((kept.set, kept.revision, kept.today), (planned.set, planned.revision, planned.today));
    // Without PII rules of their own as well.
    let bare = store.load().await.unwrap();
    store.keep(&bare).await.unwrap();
    assert_eq!(store.snapshot(bare.revision).await.unwrap().unwrap().set, bare.set);
}
