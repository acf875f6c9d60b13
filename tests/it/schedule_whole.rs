//! Tables without a time column: exported whole every day, or only on days on which they have changed. A day on which one has
//! not refers to the last one that has, and stays readable whatever becomes of that one's folder.

use std::time::Duration;

use chrono::NaiveDate;
use data_exporter::jobs::coverage::{Coverage, DayState};
use data_exporter::jobs::days::Day;
use data_exporter::jobs::{JobId, Queue};
use data_exporter::pipeline::retain;
use data_exporter::storage::ObjectStore;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::export_types::{MADE, TYPES};
use crate::support::days::{self, day};
use crate::support::offered::{offer, run};
use crate::support::platform::Platform;
use crate::support::queue::{plan, ready, settings, staged, submit};
use crate::support::s3;

/// A table of kinds without a time, exported when it has changed, beside one with a time.
async fn platform(name: &str) -> Platform {
    let platform = Platform::empty(name).await;
    run(
        &platform.warehouse,
        "CREATE TABLE kind (id bigint, at text, note text);
         CREATE TABLE event (id bigint, at timestamptz, note text);
         INSERT INTO kind SELECT id, NULL, 'kind ' || id FROM generate_series(1, 3) AS id",
    )
    .await;
    offer(&platform, "event", "timestamp", "UTC").await;
    offer(&platform, "kind", "timestamp", "UTC").await;
    run(
        &platform.metadata,
        "UPDATE export_tables SET time_column = NULL, whole_export = 'when_changed' WHERE table_name = 'kind'",
    )
    .await;
    platform
}

fn date(day: u32) -> Day {
    self::day("UTC", &format!("2026-03-{day:02}"))
}

/// Exports a day and returns what is in the folder of the table, the manifest, and the day's word on it.
async fn export(platform: &Platform, day: &Day) -> (Vec<String>, Value, Value) {
    let (summary, succeeded) = days::told(platform, day, None).await;
    assert!(succeeded, "{summary}");
    let tables = summary["tables"].as_array().unwrap();
    let word = tables.iter().find(|table| table["name"] == "kind").unwrap().clone();
    (folder(platform, day).await, days::manifest(platform, day, "kind").await, word)
}

async fn folder(platform: &Platform, day: &Day) -> Vec<String> {
    let tree = days::tree(platform, day).await;
    tree.iter().filter_map(|key| key.strip_prefix("kind/").map(str::to_owned)).collect()
}

const OWN: [&str; 3] = ["_manifest", "_r1/kind_000.parquet", "kind_000.parquet"];
const NONE: [&str; 1] = ["_manifest"];

/// The ids in the files that a manifest lists, each of which must be what it says.
async fn listed(platform: &Platform, manifest: &Value) -> usize {
    let mut rows = 0;
    for entry in manifest["entries"].as_array().unwrap() {
        let key = entry["url"].as_str().unwrap().strip_prefix(&format!("s3://{}/", s3::BUCKET)).unwrap();
        let bytes = days::read(platform, key).await.unwrap_or_else(|| panic!("{key} is gone"));
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry["sha256"], json!(hash), "{key}");
        assert_eq!(entry["meta"]["content_length"], json!(bytes.len()), "{key}");
        rows += usize::try_from(entry["meta"]["record_count"].as_u64().unwrap()).unwrap();
    }
    assert_eq!(manifest["meta"]["record_count"], json!(rows));
    rows
}

/// What `is-exported` and `verify` say of the table on a day: complete, the reason why not, and whether the manifest holds.
async fn out(platform: &Platform, day: &Day) -> (Value, Value, bool) {
    let date = day.date.to_string();
    let asked = platform.program(&["--json", "is-exported", "kind", "--date", &date]).output().await.unwrap();
    let told: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let manifest = format!("s3://{}/{}/kind/_manifest", s3::BUCKET, days::folder(day));
    let verified = platform.program(&["verify", &manifest]).output().await.unwrap();
    (told[0]["complete"].clone(), told[0]["reason"].clone(), verified.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_has_not_changed_is_stated_and_not_repeated() {
    let platform = platform("schedule_whole").await;
    let _worker = days::worker(&platform).await;

    let (files, first, word) = export(&platform, &date(2)).await;
    assert_eq!(files, OWN, "in a folder that nothing is ever written to again, and where readers of folders look");
    assert_eq!(days::seen(&platform, &date(2), &["kind"]).await["tables"]["kind"], json!([1, 2, 3]));
    assert_eq!((first["export"].get("unchanged_since"), word.get("unchanged_since")), (None, None));
    assert!(first["entries"][0]["url"].as_str().unwrap().ends_with("2026/03/02/kind/_r1/kind_000.parquet"));

    // The same rows in another order are no change.
    run(&platform.warehouse, "UPDATE kind SET note = note WHERE id = 1").await;
    let (files, second, word) = export(&platform, &date(3)).await;
    assert_eq!(files, NONE);
    assert_eq!((&second["entries"], &second["meta"]), (&first["entries"], &first["meta"]));
    let since = json!({"job_id": first["export"]["job_id"], "date": "2026-03-02", "revision": 1});
    assert_eq!(second["export"]["unchanged_since"], since);
    assert_ne!(second["export"]["job_id"], first["export"]["job_id"]);
    assert_eq!(second["export"]["gate"]["rows"], 3, "what is referred to has passed the gate of this day");
    assert_eq!((&word["status"], &word["rows"]), (&json!("COMPLETED"), &json!(3)));
    assert_eq!(word["unchanged_since"], "2026-03-02");
    assert_eq!(out(&platform, &date(3)).await, (json!(true), Value::Null, true));
    let row: (NaiveDate, i64) = sqlx::query_as(
        "SELECT unchanged_since, row_count FROM table_export_job_statuses WHERE table_name = 'kind' AND export_date = '2026-03-03'",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(row, (date(2).date, 3));
    let calendar = Coverage::new(platform.metadata.clone(), "UTC").days(date(3).date, date(3).date).await.unwrap();
    assert_eq!(calendar[0].state, DayState::Exported);
    assert_eq!(calendar[0].tables[1].unchanged_since, Some(date(2).date));
    let body: Value = sqlx::query_scalar(
        "SELECT body FROM export_notifications WHERE event_type = 'DAY_COMPLETED' AND export_date = '2026-03-03'",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(body["tables"][1]["unchangedSince"], "2026-03-02");

    // A day that refers to one that refers names the one that has the files.
    let (files, third, _) = export(&platform, &date(4)).await;
    assert_eq!((files.as_slice(), &third["export"]["unchanged_since"]), (&NONE.map(str::to_owned)[..], &since));

    // One row more, one value of one row, one row twice: each is a change.
    for (day, change, rows) in [
        (5, "INSERT INTO kind VALUES (4, NULL, 'late')", 4),
        (6, "UPDATE kind SET note = NULL WHERE id = 4", 4),
        (7, "INSERT INTO kind VALUES (4, NULL, NULL)", 5),
        (8, "DELETE FROM kind", 0),
    ] {
        run(&platform.warehouse, change).await;
        let (files, manifest, word) = export(&platform, &date(day)).await;
        assert_eq!((files.as_slice(), word.get("unchanged_since")), (&OWN.map(str::to_owned)[..], None), "{change}");
        assert_eq!(listed(&platform, &manifest).await, rows, "{change}");
    }
    let (files, empty, _) = export(&platform, &date(9)).await;
    assert_eq!(
        (files.as_slice(), listed(&platform, &empty).await),
        (&NONE.map(str::to_owned)[..], 0),
        "and so is none"
    );
    assert_eq!(out(&platform, &date(9)).await, (json!(true), Value::Null, true));
}

/// Every type that leaves can be compared: lists, maps and what has fields among them.
#[tokio::test(flavor = "multi_thread")]
async fn columns_of_every_type_are_compared() {
    let platform = platform("schedule_whole_types").await;
    let name = |place: usize| format!("c{place}");
    let columns: Vec<String> = TYPES.iter().enumerate().map(|(i, (of, _))| format!("{} {of}", name(i))).collect();
    let values: Vec<&str> = TYPES.iter().map(|(_, value)| *value).collect();
    run(
        &platform.warehouse,
        format!(
            "{MADE} DROP TABLE kind; CREATE TABLE kind (id bigint, at text, note text, {});
             INSERT INTO kind VALUES (1, NULL, 'a', {}), (2, NULL, 'b'{})",
            columns.join(", "),
            values.join(", "),
            ", NULL".repeat(TYPES.len())
        ),
    )
    .await;
    run(
        &platform.metadata,
        format!(
            "INSERT INTO data_column_classification
             SELECT 'kind', 'c' || place, 'nr', 'test', 'made up', '2099-12-31' FROM generate_series(0, {}) AS place",
            TYPES.len() - 1
        ),
    )
    .await;
    let _worker = days::worker(&platform).await;
    let place = |of: &str| name(TYPES.iter().position(|(found, _)| *found == of).unwrap());
    let mut number = 1;
    for profile in ["portable", "native"] {
        run(&platform.metadata, format!("UPDATE export_tables SET type_profile = '{profile}'")).await;
        number += 1;
        assert_eq!(export(&platform, &date(number)).await.0, OWN, "{profile}");
        number += 1;
        assert_eq!(export(&platform, &date(number)).await.0, NONE, "{profile}");
        // The value of a key, an item of a list, a field in a list, whether a bound belongs to a range; nothing and NULL.
        for (of, value) in [
            ("public.hstore", "'a=>1, \"b c\"=>2'"),
            ("integer[]", "'{1,NULL,4}'"),
            ("pair[]", "ARRAY['(1,two)'::pair, '(,)'::pair]"),
            ("numrange", "'(,7.5)'"),
            ("interval", "'1 month 2 days 03:04:06'"),
            ("text[]", "'{}'"),
            ("text[]", "NULL"),
        ] {
            run(&platform.warehouse, format!("UPDATE kind SET {} = {value} WHERE id = 1", place(of))).await;
            number += 1;
            assert_eq!(export(&platform, &date(number)).await.0, OWN, "{profile}: {of} became {value}");
        }
        number += 1;
        assert_eq!(export(&platform, &date(number)).await.0, NONE, "{profile}");
        run(
            &platform.warehouse,
            format!(
                "UPDATE kind SET ({}) = ({}) WHERE id = 1",
                (0..TYPES.len()).map(name).collect::<Vec<_>>().join(", "),
                values.join(", ")
            ),
        )
        .await;
    }
}

/// As a worker of an earlier version leaves its files, which says nothing of their rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_files_do_not_say_what_they_hold_is_exported_every_day() {
    let platform = platform("schedule_whole_unsaid").await;
    let _worker = days::worker(&platform).await;
    export(&platform, &date(2)).await;
    assert_eq!(export(&platform, &date(3)).await.0, NONE);
    run(
        &platform.metadata,
        "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.report := NEW.report - 'content'; RETURN NEW; END $$;
         CREATE TRIGGER forget BEFORE UPDATE ON export_job_partitions FOR EACH ROW EXECUTE FUNCTION forget()",
    )
    .await;
    for number in [4, 5] {
        let (files, manifest, word) = export(&platform, &date(number)).await;
        assert_eq!((files.as_slice(), word.get("unchanged_since")), (&OWN.map(str::to_owned)[..], None));
        assert_eq!((listed(&platform, &manifest).await, manifest["export"].get("unchanged_since")), (3, None));
    }
    // Once they say it again there is a day to compare with.
    run(&platform.metadata, "DROP TRIGGER forget ON export_job_partitions").await;
    let (files, manifest, _) = export(&platform, &date(6)).await;
    assert_eq!(files, OWN, "the last one with files of its own says nothing");
    assert_eq!(listed(&platform, &manifest).await, 3);
    assert_eq!(export(&platform, &date(7)).await.0, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_change_are_a_change() {
    let platform = platform("schedule_whole_rules").await;
    let _worker = days::worker(&platform).await;
    let (_, first, _) = export(&platform, &date(2)).await;
    // No value is so long: the rows are the same, the policy is not.
    run(
        &platform.metadata,
        "UPDATE data_column_classification SET classification = 'hwc' WHERE table_name = 'kind' AND column_name = 'note';
         INSERT INTO column_restrictions (table_name, name, action, params) VALUES ('kind', 'note', 'truncate', '{\"length\": 900}')",
    )
    .await;
    let (files, second, _) = export(&platform, &date(3)).await;
    assert_eq!(files, OWN);
    assert_eq!(second["entries"][0]["meta"]["record_count"], first["entries"][0]["meta"]["record_count"]);
    assert_ne!(second["export"]["policy_hash"], first["export"]["policy_hash"]);
    assert_eq!(export(&platform, &date(4)).await.0, NONE);
    run(&platform.metadata, "UPDATE export_tables SET format = 'csv' WHERE table_name = 'kind'").await;
    assert_eq!(export(&platform, &date(5)).await.0, ["_manifest", "_r1/kind_000.csv", "kind_000.csv"]);
    assert_eq!(export(&platform, &date(6)).await.0, NONE, "lines are compared like Parquet");
    // Lines say nothing of their policy.
    run(&platform.metadata, "UPDATE column_restrictions SET params = '{\"length\": 901}' WHERE table_name = 'kind'")
        .await;
    let (files, newer, _) = export(&platform, &day("UTC", "2026-03-07")).await;
    assert_eq!(files, ["_manifest", "_r1/kind_000.csv", "kind_000.csv"]);
    assert_ne!(newer["export"]["policy_hash"], second["export"]["policy_hash"]);
    // Whole every day, as without the setting: files where anybody looks, and in no other place.
    run(
        &platform.metadata,
        "UPDATE export_tables SET format = NULL, whole_export = 'always' WHERE table_name = 'kind'",
    )
    .await;
    let visible = ["_manifest", "kind_000.parquet"];
    assert_eq!(export(&platform, &date(8)).await.0, visible);
    assert_eq!(export(&platform, &date(9)).await.0, visible);
    // Those may be replaced when their day is restated: nothing refers to them.
    run(&platform.metadata, "UPDATE export_tables SET whole_export = 'when_changed' WHERE table_name = 'kind'").await;
    assert_eq!(export(&platform, &date(10)).await.0, OWN);
    assert_eq!(export(&platform, &date(11)).await.0, NONE);
    // A month later it is repeated all the same, and never is anything referred to that comes after.
    assert_eq!(export(&platform, &day("UTC", "2026-04-10")).await.0, NONE);
    assert_eq!(export(&platform, &day("UTC", "2026-04-11")).await.0, OWN);
    assert_eq!(export(&platform, &day("UTC", "2026-02-01")).await.0, OWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_referred_to_stays_whatever_becomes_of_its_day() {
    let platform = platform("schedule_whole_restated").await;
    let worker = days::worker(&platform).await;
    let (_, first, _) = export(&platform, &date(2)).await;
    let (files, second, _) = export(&platform, &date(3)).await;
    assert_eq!(files, NONE);

    // The day that is referred to is exported again, with other rows, and its visible files follow.
    run(&platform.warehouse, "INSERT INTO kind VALUES (9, NULL, 'late')").await;
    let (_, restated, word) = export(&platform, &date(2)).await;
    assert_eq!((&restated["export"]["supersedes"]["revision"], &word["supersedes"]["rows"]), (&json!(1), &json!(3)));
    assert_eq!(listed(&platform, &restated).await, 4);
    run(&platform.metadata, "UPDATE export_day_swaps SET due_at = clock_timestamp() WHERE done_at IS NULL").await;
    days::swapped(&platform, "kind").await;
    assert_eq!(days::seen(&platform, &date(2), &["kind"]).await["tables"]["kind"], json!([1, 2, 3, 9]));
    // So old that files of requests would be gone.
    run(&platform.metadata, "UPDATE export_jobs SET completed_at = completed_at - interval '99 days'").await;
    let queue = Queue::new(platform.metadata.clone(), settings());
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let kept = retain(&queue, &store as &dyn ObjectStore, Duration::from_secs(1), &CancellationToken::new()).await;
    assert_eq!(kept.unwrap().objects, 0);
    assert_eq!(days::manifest(&platform, &date(3), "kind").await, second);
    assert_eq!((listed(&platform, &second).await, listed(&platform, &first).await), (3, 3));
    assert_eq!(out(&platform, &date(3)).await, (json!(false), json!("LATE_ROWS"), true), "as for any table");

    // A day that referred and is exported again has files of its own, at once where everybody looks: nobody sees any yet.
    let (files, again, word) = export(&platform, &date(3)).await;
    assert_eq!(files, ["_manifest", "_r2/kind_000.parquet", "kind_000.parquet"]);
    assert_eq!(again["export"].get("unchanged_since"), None);
    assert_eq!((&word["supersedes"]["rows"], listed(&platform, &again).await), (&json!(3), 4));
    // And the next one refers to those.
    let (files, next, _) = export(&platform, &date(4)).await;
    assert_eq!((files.as_slice(), &next["entries"]), (&NONE.map(str::to_owned)[..], &again["entries"]));

    // A revision that failed was to replace what is there: it is not what a day stands on.
    run(&platform.metadata, "UPDATE data_column_classification SET classification = 'de' WHERE table_name = 'kind'")
        .await;
    assert!(!days::told(&platform, &date(4), None).await.1);
    run(&platform.metadata, "UPDATE data_column_classification SET classification = 'nr' WHERE table_name = 'kind'")
        .await;
    assert_eq!(export(&platform, &date(5)).await.0, OWN);
    // Nor is one whose content was known, and that failed after that.
    run(
        &platform.metadata,
        "UPDATE table_export_job_statuses SET status = 'FAILED', manifest_url = NULL, error_code = 'MANIFEST_CONFLICT'
         WHERE table_name = 'kind' AND export_date = '2026-03-05'",
    )
    .await;
    assert_eq!(export(&platform, &date(6)).await.0, OWN);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_as_it_was_is_not_referred_to() {
    let platform = platform("schedule_whole_gone").await;
    let _worker = days::worker(&platform).await;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let file = |day: u32| s3::key(&format!("dev/2026/03/{day:02}/kind/_r1/kind_000.parquet"));
    export(&platform, &date(2)).await;
    store.delete(&file(2)).await.unwrap();
    assert_eq!(export(&platform, &date(3)).await.0, OWN);
    // As many bytes, and others.
    let there = store.head(&file(3)).await.unwrap().unwrap();
    let mut bytes = store.get(&file(3)).await.unwrap().to_vec();
    bytes[5] ^= 1;
    store.replace(&file(3), &there.etag, bytes.into(), "application/vnd.apache.parquet").await.unwrap();
    let (files, manifest, _) = export(&platform, &date(4)).await;
    assert_eq!((files.as_slice(), listed(&platform, &manifest).await), (&OWN.map(str::to_owned)[..], 3));
    assert_eq!(export(&platform, &date(5)).await.0, NONE);
}

#[tokio::test]
async fn where_a_table_refers_to_is_decided_once() {
    let (pool, queue) = ready("schedule_whole_once").await;
    submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let partition = queue.claim_partition().await.unwrap().unwrap();
    queue.complete_partition(&partition, staged("a")).await.unwrap();
    let task = queue.claim_table().await.unwrap().unwrap();
    let (content, origin) = ("0".repeat(64), JobId::new());
    let decide = async |content: &str, origin| queue.decide_content(&task, content, origin).await.unwrap();
    assert_eq!(decide(&content, Some(origin)).await, Some(origin));
    assert_eq!(decide(&content, None).await, Some(origin), "a finalizer that finds nothing repeats one that did");
    assert_eq!(decide(&"1".repeat(64), Some(JobId::new())).await, Some(origin));
    let stale = data_exporter::jobs::TableTask { epoch: task.epoch - 1, ..task.clone() };
    assert!(queue.decide_content(&stale, &content, None).await.is_err());
}
