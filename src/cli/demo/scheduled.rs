//! The demo's second half: the same day as the schedule exports it, its tree in the bucket, and what is told of it.

use std::time::Duration;

use chrono::NaiveDate;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{compare, follow, say};
use crate::cli::output;
use crate::error::{ErrorCode, Failure};
use crate::identity::Actor;
use crate::startup::Services;
use crate::storage::ObjectKey;
use crate::upkeep::{ScheduledRuns, Todo, Wish};

/// How an administrator would look at the day's tables.
const STATUSES: &str =
    "query($date: Date!) { tableExportJobStatuses(filter: {from: $date, to: $date, latest: true}, first: 100) {
    edges { node { table status rows } } } }";
/// What was told last.
const TOLD: &str = "{ notifications(first: 20) { edges { node { type status state body } } } }";

/// Exports the day, unless an earlier start of the demo has, shows what there is of it, and compares it with the warehouse.
/// Returns the rows compared, table by table.
pub(super) async fn show(
    services: &Services,
    client: &Client,
    warehouse: &SecretString,
    day: NaiveDate,
    json: bool,
    stop: &CancellationToken,
) -> Result<Map<String, Value>, Failure> {
    say(
        json,
        &format!("\n6. The same day as the schedule exports it every night:\n\n   data-exporter run --date {day}\n"),
    );
    let runs = ScheduledRuns::new(services.scheduler());
    match runs.ensure(day, Wish::Missing, None, &Actor::command_line("demo")).await? {
        Todo::Nothing => say(json, "   (it is exported already)\n"),
        Todo::Started(job) | Todo::Join(job) => {
            follow(client, &job.to_string(), json, stop).await?;
            while !services.scheduler().days().is_closed(job).await? && !stop.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let folder = format!("{}/{}", services.settings.env, day.format("%Y/%m/%d"));
    let summary = read(services, &format!("{folder}/_SUCCESS")).await.map_err(|_| {
        Failure::new(ErrorCode::Internal, format!("{day} is not exported as a whole; see _FAILED in {folder}"))
    })?;
    if !json {
        tree(services, &folder, &summary).await?;
    }
    let mut compared = Map::new();
    for table in summary["tables"].as_array().into_iter().flatten() {
        let name = table["name"].as_str().unwrap_or_default();
        let manifest = read(services, &format!("{folder}/{name}/_manifest")).await?;
        let mut files = Vec::new();
        for entry in manifest["entries"].as_array().into_iter().flatten() {
            files.push(client.download(&link(services, entry["url"].as_str().unwrap_or_default()).await?).await?);
        }
        // A table without a time is exported whole, by the schedule alone.
        let rows = match compare::EXPECTED.iter().any(|(expected, ..)| *expected == name) {
            true => compare::table(warehouse, name, day, files).await?.rows,
            false => manifest["meta"]["record_count"].as_i64().unwrap_or_default(),
        };
        compared.insert(name.to_owned(), rows.into());
    }
    let statuses = client.ask(STATUSES, json!({"date": day.to_string()})).await?["tableExportJobStatuses"].take();
    let told = client.ask(TOLD, json!({})).await?["notifications"].take();
    if !json {
        tell(&statuses, &told, day);
    }
    Ok(compared)
}

/// The day's tree: the tables' folders, the rules beside them, and what stands there last.
async fn tree(services: &Services, folder: &str, summary: &Value) -> Result<(), Failure> {
    output::line(&format!("   s3://{}/{folder}/", services.store.bucket()));
    let tables = summary["tables"].as_array().into_iter().flatten().filter_map(|table| table["name"].as_str());
    for inner in tables.chain(["classifications"]) {
        let names = listed(services, &format!("{folder}/{inner}")).await?;
        output::line(&format!("     {:<22} {}", format!("{inner}/"), names.join(" ")));
    }
    for name in listed(services, folder).await? {
        output::line(&format!("     {name}"));
    }
    output::line("");
    Ok(())
}

async fn listed(services: &Services, folder: &str) -> Result<Vec<String>, Failure> {
    let mut names = services.store.list(&ObjectKey::new(folder)?).await?;
    names.sort();
    Ok(names)
}

fn tell(statuses: &Value, told: &Value, day: NaiveDate) {
    output::line("   table_export_job_statuses:\n");
    for status in statuses["edges"].as_array().into_iter().flatten().map(|edge| &edge["node"]) {
        output::line(&format!(
            "   {:<22} {:<12} {:>12} rows",
            status["table"].as_str().unwrap_or_default(),
            status["status"].as_str().unwrap_or_default(),
            output::grouped(status["rows"].as_i64().unwrap_or_default()),
        ));
    }
    let of_day = |node: &&Value| node["body"]["date"].as_str() == Some(&day.to_string());
    let found = told["edges"].as_array().into_iter().flatten().map(|edge| &edge["node"]).find(of_day);
    if let Some(notification) = found {
        output::line(&format!(
            "\n   and the notification, {} to the log because no topic is set: {} {}",
            notification["state"].as_str().unwrap_or_default().to_lowercase(),
            notification["type"].as_str().unwrap_or_default(),
            notification["body"]["date"].as_str().unwrap_or_default(),
        ));
    }
}

async fn read(services: &Services, key: &str) -> Result<Value, Failure> {
    let bytes = services.store.get(&ObjectKey::new(key)?).await?;
    serde_json::from_slice(&bytes).map_err(|_| Failure::new(ErrorCode::Internal, format!("'{key}' is not JSON")))
}

/// A link to the object at an `s3://` address of a manifest.
async fn link(services: &Services, url: &str) -> Result<String, Failure> {
    let key = url.strip_prefix(&format!("s3://{}/", services.store.bucket())).unwrap_or(url);
    Ok(services.store.presign_get(&ObjectKey::new(key)?, services.settings.link_ttl).await?.url)
}
