//! Days of the schedule from a shell and over GraphQL: backfills, interruptions, refusals.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::offered::{offer, run};
use crate::support::platform::Platform;

/// Three days with a row each, and a table without a time.
async fn platform(name: &str) -> Platform {
    let platform = Platform::empty(name).await;
    run(
        &platform.warehouse,
        "CREATE TABLE event (id bigint, at timestamptz, note text);
         CREATE TABLE kind (id bigint, at text, note text);
         INSERT INTO event SELECT day, '2026-03-01 12:00Z'::timestamptz + (day - 1) * interval '1 day', 'x' FROM generate_series(1, 3) AS day;
         INSERT INTO kind VALUES (1, NULL, 'a kind')",
    )
    .await;
    for table in ["event", "kind"] {
        offer(&platform, table, "timestamp", "UTC").await;
    }
    run(&platform.metadata, "UPDATE export_tables SET time_column = NULL WHERE table_name = 'kind'").await;
    platform
}

/// Runs the command for machines. Its exit code and what it printed.
async fn told(platform: &Platform, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = platform.program(&[&["--json", "run"], arguments].concat()).output().await.unwrap();
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let last = String::from_utf8_lossy(said).lines().last().unwrap_or_default().to_owned();
    (output.status.code(), serde_json::from_str(&last).unwrap_or_else(|_| panic!("{last}")))
}

fn days(told: &Value) -> Vec<(&str, &str)> {
    let days = told["days"].as_array().unwrap();
    days.iter().map(|day| (day["date"].as_str().unwrap(), day["status"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_filled_in_once_and_again_only_when_asked() {
    let platform = platform("schedule_run_cli").await;
    let (code, first) = told(&platform, &["--date", "2026-03-01", "--to", "2026-03-02"]).await;
    assert_eq!(code, Some(0), "{first}");
    assert_eq!(days(&first), [("2026-03-01", "Completed"), ("2026-03-02", "Completed")]);
    assert_eq!(first["days"][1]["tables"]["event"]["rows"], 1);
    assert_eq!(first["days"][1]["tables"]["kind"]["rows"], 1);

    // Given again with a day more: what is there is passed over. The table that fails is named.
    run(&platform.warehouse, "ALTER TABLE kind RENAME TO kinds").await;
    let (code, second) = told(&platform, &["--date", "2026-03-01", "--to", "2026-03-03"]).await;
    assert_eq!(code, Some(1), "{second}");
    let expected = [("2026-03-01", "Exported already"), ("2026-03-02", "Exported already"), ("2026-03-03", "Failed")];
    assert_eq!(days(&second), expected);
    assert_eq!(second["days"][2]["tables"]["kind"]["error"]["code"], "TABLE_NOT_FOUND");

    // Only what failed, and only where something did.
    run(&platform.warehouse, "ALTER TABLE kinds RENAME TO kind").await;
    let (code, third) = told(&platform, &["--date", "2026-03-01", "--to", "2026-03-04", "--failed"]).await;
    assert_eq!(code, Some(0), "{third}");
    let expected = [
        ("2026-03-01", "Exported already"),
        ("2026-03-02", "Exported already"),
        ("2026-03-03", "Completed"),
        ("2026-03-04", "Exported already"),
    ];
    assert_eq!(days(&third), expected);
    assert_eq!(third["days"][2]["tables"].as_object().unwrap().keys().collect::<Vec<_>>(), ["kind"]);

    let (code, again) = told(&platform, &["--date", "2026-03-01", "--table", "event"]).await;
    assert_eq!((code, days(&again)), (Some(0), vec![("2026-03-01", "Completed")]), "{again}");
    let (code, again) = told(&platform, &["--date", "2026-03-01", "--again"]).await;
    assert_eq!((code, days(&again)), (Some(0), vec![("2026-03-01", "Completed")]), "{again}");
    let revisions: Vec<(String, i32)> = sqlx::query_as(
        "SELECT table_name, revision FROM table_export_job_statuses WHERE export_date = '2026-03-01' ORDER BY revision, table_name",
    )
    .fetch_all(&platform.metadata)
    .await
    .unwrap();
    let expected = [("event", 1), ("kind", 1), ("event", 2), ("event", 3), ("kind", 3)];
    assert_eq!(revisions, expected.map(|(table, revision)| (table.to_owned(), revision)));
    let audited: i64 =
        sqlx::query_scalar("SELECT count(*) FROM admin_audit WHERE action = 'day.run' AND origin = 'command line'")
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
    assert_eq!(audited, 6);

    for (arguments, words) in [
        (&["--date", "2099-01-01"][..], "2099-01-01 is not over in UTC"),
        (&["--date", "2026-03-02", "--to", "2026-03-01"], "--to 2026-03-01 is not within"),
        (&["--date", "2026-03-02", "--table", "nothing"], "does not export table 'nothing'"),
    ] {
        let (code, refused) = told(&platform, arguments).await;
        assert_eq!(code, Some(2), "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(words), "{refused}");
    }
}

async fn start(platform: &Platform, arguments: &[&str]) -> tokio::process::Child {
    let mut command: Command = platform.program(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_was_killed_goes_on_where_it_was() {
    let platform = platform("schedule_killed").await;
    run(
        &platform.warehouse,
        "INSERT INTO event SELECT g, '2026-03-02 00:00Z'::timestamptz + g * interval '1 s', repeat('x', 2000) FROM generate_series(10, 40000) AS g",
    )
    .await;
    let mut killed = start(&platform, &["run", "--date", "2026-03-01", "--to", "2026-03-03"]).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let running = "SELECT count(*) FROM export_job_partitions AS p JOIN export_days AS day USING (job_id)
                   WHERE day.export_date = '2026-03-02' AND p.state = 'RUNNING'";
    while sqlx::query_scalar::<_, i64>(running).fetch_one(&platform.metadata).await.unwrap() == 0 {
        assert!(Instant::now() < deadline && killed.try_wait().unwrap().is_none(), "the second day never ran");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.kill().await.unwrap();
    let (code, ended) = told(&platform, &["--date", "2026-03-01", "--to", "2026-03-03"]).await;
    assert_eq!(code, Some(0), "{ended}");
    let expected = [("2026-03-01", "Exported already"), ("2026-03-02", "Completed"), ("2026-03-03", "Completed")];
    assert_eq!(days(&ended), expected);
    assert_eq!(ended["days"][1]["tables"]["event"]["rows"], 39_992);
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM export_days").fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(jobs, 3, "each day has one job");
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_run_days_over_graphql() {
    let platform = platform("schedule_graphql").await;
    let service = platform.serve("all", "api,worker,scheduler", &[("EXPORTER_SCHEDULE", "0 0 0 1 1 *")]).await;
    let mutation = |date: &str, more: &str| format!("mutation {{ runScheduledExport(date: \"{date}\"{more}) }}");
    let answer = service.ask(&mutation("2026-03-01", ", tables: [\"event\"]")).await;
    let id = answer["data"]["runScheduledExport"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let status = service.finished(&id).await;
    assert_eq!((&status["status"], status["tables"].as_array().unwrap().len()), (&json!("Completed"), 1), "{status}");
    for (asked, code) in [
        (mutation("2099-01-01", ""), "RANGE_IN_FUTURE"),
        (mutation("2026-03-01", ", tables: [\"nothing\"]"), "TABLE_NOT_OFFERED"),
        (mutation("2026-02-30", ""), "BAD_REQUEST"),
    ] {
        let answer = service.ask(&asked).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{asked}: {answer}");
    }
    assert!(service.logged().contains("scheduler started"));
    let wrong =
        platform.program(&["serve"]).env("EXPORTER_SCHEDULE", "0 0 2 30 2 *").env("EXPORTER_TIMEZONE", "Mars").output();
    let wrong = String::from_utf8_lossy(&wrong.await.unwrap().stderr).into_owned();
    for words in ["'Mars' is not an IANA time zone", "'0 0 2 30 2 *' never fires"] {
        assert!(wrong.contains(words), "all of it at once: {wrong}");
    }
    let wrong = platform.program(&["run", "--date", "2026-03-01"]).env("EXPORTER_SCHEDULE", "at night").output().await;
    let wrong = wrong.unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let wrong = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.contains("EXPORTER_SCHEDULE") && wrong.contains("'at night' is not a cron expression"), "{wrong}");
}
