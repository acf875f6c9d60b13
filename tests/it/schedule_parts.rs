//! Days that are exported table by table: a day is a success when every table of it is out, and not before.

use data_exporter::jobs::coverage::{Coverage, DayState};
use data_exporter::upkeep::{ScheduledRuns, Todo, Wish};
use serde_json::{Value, json};

use crate::support::days::{self, day};
use crate::support::offered::run;
use crate::support::platform::Platform;

const DATE: &str = "2026-03-02";

async fn state(platform: &Platform) -> (DayState, Vec<String>) {
    let date = DATE.parse().unwrap();
    let mut days = Coverage::new(platform.metadata.clone(), "UTC").days(date, date).await.unwrap();
    let day = days.remove(0);
    (day.state, day.lacking)
}

fn named(tables: &[&str]) -> Vec<String> {
    tables.iter().map(|&table| table.to_owned()).collect()
}

fn statuses(summary: &Value) -> Vec<(&str, &str)> {
    let tables = summary["tables"].as_array().unwrap().iter();
    tables.map(|table| (table["name"].as_str().unwrap(), table["status"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn some_tables_are_no_day() {
    let platform = days::platform_of("schedule_parts", &["a", "b", "c"]).await;
    let _worker = days::worker(&platform).await;
    let day = day("UTC", DATE);
    let (summary, succeeded) = days::told(&platform, &day, Some(&named(&["b"]))).await;
    assert!(!succeeded, "{summary}");
    assert_eq!((&summary["status"], &summary["missing"]), (&json!("FAILED"), &json!(["a", "c"])));
    assert_eq!(statuses(&summary), [("b", "COMPLETED")]);
    assert_eq!(state(&platform).await, (DayState::Incomplete, named(&["a", "c"])));
    let notification =
        "SELECT body FROM export_notifications WHERE event_type LIKE 'DAY%' ORDER BY revision DESC LIMIT 1";
    let body: Value = sqlx::query_scalar(notification).fetch_one(&platform.metadata).await.unwrap();
    assert_eq!((&body["missing"], &body["counts"]["missing"]), (&json!(["a", "c"]), &json!(2)), "{body}");

    let (summary, succeeded) = days::told(&platform, &day, Some(&named(&["a"]))).await;
    assert_eq!((succeeded, &summary["missing"]), (false, &json!(["c"])));
    // What is not wished for any more is not missed, by the rules of the run that comes.
    run(&platform.metadata, "UPDATE export_tables SET scheduled = false WHERE table_name = 'c'").await;
    let (summary, succeeded) = days::told(&platform, &day, Some(&named(&["a"]))).await;
    assert_eq!((succeeded, summary.get("missing")), (true, Some(&json!([]))), "{summary}");
    assert_eq!(state(&platform).await, (DayState::Exported, vec![]));
    run(&platform.metadata, "UPDATE export_tables SET scheduled = true WHERE table_name = 'c'").await;
    let (_, succeeded) = days::told(&platform, &day, Some(&named(&["b"]))).await;
    assert!(!succeeded, "c is a table of the day again");
    // The last that was missing, and nothing else: then the day is out, though nobody ever asked for it as a whole.
    let (summary, succeeded) = days::told(&platform, &day, Some(&named(&["c"]))).await;
    assert!(succeeded, "{summary}");
    assert_eq!(statuses(&summary), [("a", "COMPLETED"), ("b", "COMPLETED"), ("c", "COMPLETED")]);
    assert_eq!(state(&platform).await, (DayState::Exported, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_was_asked_for_as_a_whole_misses_no_table_that_came_later() {
    let platform = days::platform_of("schedule_parts_whole", &["a", "b"]).await;
    let _worker = days::worker(&platform).await;
    let day = day("UTC", DATE);
    assert!(days::told(&platform, &day, None).await.1);
    days::add(&platform, "later").await;
    let (summary, succeeded) = days::told(&platform, &day, Some(&named(&["a"]))).await;
    assert_eq!((succeeded, &summary["missing"]), (true, &json!([])));
    assert_eq!(state(&platform).await, (DayState::Exported, named(&["later"])));
    // A table that failed, and that the day has no more when it is exported again as a whole.
    run(&platform.metadata, "UPDATE export_tables SET time_column = 'gone' WHERE table_name = 'b'").await;
    let (summary, succeeded) = days::told(&platform, &day, None).await;
    assert!(!succeeded);
    assert_eq!(statuses(&summary), [("a", "COMPLETED"), ("b", "FAILED"), ("later", "COMPLETED")]);
    run(&platform.metadata, "UPDATE export_tables SET enabled = false WHERE table_name = 'b'").await;
    let (summary, succeeded) = days::told(&platform, &day, Some(&named(&["a"]))).await;
    assert!(succeeded, "b failed, and is none of the schedule's tables any more: {summary}");
    assert_eq!(statuses(&summary), [("a", "COMPLETED"), ("later", "COMPLETED")]);
    assert_eq!(state(&platform).await.0, DayState::Exported);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_of_a_day_is_what_a_run_exports() {
    let platform = days::platform_of("schedule_parts_run", &["a", "b", "c"]).await;
    let run_day = |arguments: &'static [&'static str]| {
        let mut command = platform.program(&[&["--json", "run", "--date", DATE], arguments].concat());
        async move {
            let output = command.output().await.unwrap();
            let told: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
            (output.status.code(), told["days"][0].clone())
        }
    };
    let tables = |day: &Value| day["tables"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (code, first) = run_day(&["--table", "b"]).await;
    assert_eq!((code, tables(&first)), (Some(0), named(&["b"])), "what was asked for is out: {first}");
    assert!(!days::summary(&platform, &day("UTC", DATE)).await.1);
    let (code, second) = run_day(&[]).await;
    assert_eq!((code, tables(&second)), (Some(0), named(&["a", "c"])), "{second}");
    assert!(days::summary(&platform, &day("UTC", DATE)).await.1);
    let (code, third) = run_day(&[]).await;
    assert_eq!((code, &third["status"]), (Some(0), &json!("Exported already")));

    // A table that fails and is switched off: nothing of the day is left to be done but its end, and that takes the whole
    // day, since nobody has said that this table is not of it.
    run(&platform.metadata, "UPDATE export_tables SET time_column = 'gone' WHERE table_name = 'b'").await;
    let (code, _) = run_day(&["--table", "b"]).await;
    assert_eq!(code, Some(1));
    run(&platform.metadata, "UPDATE export_tables SET enabled = false WHERE table_name = 'b'").await;
    let (code, last) = run_day(&[]).await;
    assert_eq!((code, tables(&last)), (Some(0), named(&["a", "c"])), "{last}");
    assert!(days::summary(&platform, &day("UTC", DATE)).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_whose_end_is_not_written_is_joined() {
    let platform = days::platform_of("schedule_parts_end", &["a"]).await;
    let (day, worker) = (day("UTC", DATE), days::worker(&platform).await);
    assert!(days::told(&platform, &day, None).await.1);
    worker.stop().await;
    // As a process leaves it that died between the last table and the summary.
    run(&platform.metadata, "UPDATE export_days SET closed_at = NULL, succeeded = NULL").await;
    let calendar = data_exporter::schedule::Calendar::new("0 0 2 * * *", "UTC").unwrap();
    let days = data_exporter::jobs::days::Days::new(platform.metadata.clone());
    let scheduler = data_exporter::schedule::Scheduler::new(
        "daily",
        calendar,
        data_exporter::schedule::CatchUp::All,
        std::time::Duration::ZERO,
        days.clone(),
    );
    let runs = ScheduledRuns::new(scheduler);
    let somebody = data_exporter::identity::Actor::command_line("somebody".to_owned());
    let job = days.latest(day.date).await.unwrap().unwrap().job;
    assert_eq!(runs.ensure(day.date, Wish::Missing, None, &somebody).await.unwrap(), Todo::Join(job));
    let output = platform.program(&["run", "--date", DATE]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(crate::support::days::summary(&platform, &day).await.1);
}
