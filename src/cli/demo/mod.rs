//! `data-exporter demo`: the main job on invented data, shown step by step and checked at the end.

mod client;
mod compare;
mod scheduled;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use clap::Args;
use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::client::Client;
use super::output::{self, Progress};
use crate::config::{Needs, Settings, Source};
use crate::error::{ErrorCode, Failure};
use crate::local::sample::{self, SampleOptions, SampleOutcome};
use crate::local::{LocalEnvironment, environment};
use crate::startup::Services;
use crate::{lifecycle, rules, telemetry};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End after everything was checked, with exit code 0 if it was right; otherwise stay up to be tried out.
    #[arg(long)]
    once: bool,
    /// The endpoint's port on 127.0.0.1; 8080, or a free one when that is taken.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Where the demo keeps its PostgreSQL and its objects.
    #[arg(long, value_name = "D")]
    data_dir: Option<PathBuf>,
    /// Rows of the largest table, over both days; the others follow in proportion.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    rows: u64,
}

/// What the demo asks for, as a requester would write it.
const REQUEST: &str = "mutation($start: Int!, $end: Int!) { requestData(startTime: $start, endTime: $end) }";
const STATUS: &str = "mutation($id: String!) { requestStatus(requestId: $id) {
    status progress dataRequestDownloadLinks linksExpireAt
    tables { name status rows bytes error { code message } } error { code message } } }";

pub(super) async fn run(source: &Source, args: &DemoArgs, json: bool) -> Result<ExitCode, Failure> {
    let data_dir = args.data_dir.clone().unwrap_or_else(|| LocalEnvironment::default_data_dir("data-exporter-demo"));
    let listener = listen(args.port).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::new(ErrorCode::LocalSetupFailed, format!("no local address: {error}")))?;
    // Of what is set elsewhere only the logs are heeded: a demo must not meet a real database or bucket.
    let mut own = source.only(&["EXPORTER_LOG", "EXPORTER_LOG_FORMAT"]);
    own.set_default("EXPORTER_LOG", "warn");
    own.set_default("EXPORTER_PSEUDONYM_KEY_FILE", &pseudonym_key(&data_dir)?.display().to_string());
    let mut settings = Settings::read(&own, Needs { local: true, ..Needs::default() })?;
    settings.bind = address;
    settings.data_dir = Some(data_dir.clone());
    telemetry::start_logs(&settings.log, settings.log_format)
        .map_err(|error| Failure::new(ErrorCode::SettingsInvalid, error.to_string()))?;
    let metrics = telemetry::start_metrics().map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    let stop = lifecycle::stop_on_signal()
        .map_err(|error| Failure::new(ErrorCode::Internal, format!("signals cannot be caught: {error}")))?;

    say(json, &format!("Data Exporter {}: the main job on invented data\n", env!("CARGO_PKG_VERSION")));
    say(json, &format!("1. A private PostgreSQL and an S3 server, kept in {}", data_dir.display()));
    let services = tokio::select! {
        services = Services::start(settings, true) => services?,
        () = stop.cancelled() => return Ok(ExitCode::FAILURE),
    };
    let serving = CancellationToken::new();
    let (showed, served) = tokio::join!(
        async {
            let showed = tokio::select! {
                showed = show(&services, args, address, json, &stop) => showed,
                () = stop.cancelled() => Err(Failure::new(ErrorCode::Cancelled, "interrupted")),
            };
            // Outside the choice above: a signal now is how the demo is meant to end, not an interruption of it.
            if showed.is_ok() && !args.once {
                stop.cancelled().await;
            }
            serving.cancel();
            showed
        },
        services.run(Some(listener), metrics, serving.clone())
    );
    services.stop().await;
    served?;
    showed.map(|()| ExitCode::SUCCESS)
}

/// The demo's own key for pseudonyms, made at its first start.
fn pseudonym_key(data_dir: &Path) -> Result<PathBuf, Failure> {
    let path = data_dir.join("pseudonym-key");
    let made = std::fs::create_dir_all(data_dir).and_then(|()| environment::secret(&path));
    made.map_err(|error| {
        let why = format!(
            "no key for pseudonyms can be kept in '{}' ({}); choose another --data-dir",
            data_dir.display(),
            error.kind()
        );
        Failure::new(ErrorCode::LocalSetupFailed, why)
    })?;
    Ok(path)
}

async fn show(
    services: &Services,
    args: &DemoArgs,
    address: SocketAddr,
    json: bool,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let warehouse = services
        .settings
        .warehouse_url
        .clone()
        .ok_or_else(|| Failure::new(ErrorCode::LocalSetupFailed, "local mode has no warehouse"))?;
    let day = sample::yesterday(&warehouse).await?;
    say(json, &format!("2. A warehouse with two days of traffic data up to {day}"));
    let built = sample::build(&warehouse, &SampleOptions { rows: args.rows, ..SampleOptions::new(day) }).await?;
    if built == SampleOutcome::Kept {
        say(json, "   (it was there already)");
    }
    let changes = services.rules.apply(&rules::shipped()?, "demo").await?;
    say(json, &format!("3. The rules of what may leave: {} changed, see classification/*.csv", changes.len()));

    let client = Client::new(address)?;
    let (start, end) = whole_day(day);
    say(
        json,
        &format!(
            "4. A request over GraphQL for {day}:\n\n   mutation {{ requestData(startTime: {start}, endTime: {end}) }}\n"
        ),
    );
    let answer = client.ask(REQUEST, serde_json::json!({"start": start, "end": end})).await?;
    let id = answer["requestData"].as_str().unwrap_or_default().to_owned();
    let status = follow(&client, &id, json, stop).await?;
    if status["status"] != "Completed" {
        return Err(Failure::new(
            ErrorCode::Internal,
            format!("the export ended as {}: {}", status["status"], status["error"]),
        ));
    }
    if !json {
        results(&status);
    }
    say(json, "5. Every link downloaded with a plain HTTP client and compared with the warehouse, row by row:\n");
    let compared = check(&client, &warehouse, &status, day, json).await?;
    let nightly = scheduled::show(services, &client, &warehouse, day, json, stop).await?;
    if json {
        let told = serde_json::json!({"requestId": id, "status": status, "compared": compared, "scheduled": nightly});
        output::json(&told);
    }
    if !args.once {
        output::note(&next_steps(address, &id, &status));
    }
    Ok(())
}

/// Polls a request until it ends.
async fn follow(client: &Client, id: &str, json: bool, stop: &CancellationToken) -> Result<Value, Failure> {
    let mut progress = Progress::new(json);
    loop {
        let status = client.ask(STATUS, serde_json::json!({"id": id})).await?["requestStatus"].take();
        let rows: i64 = status["tables"].as_array().into_iter().flatten().filter_map(|t| t["rows"].as_i64()).sum();
        progress.show(status["progress"].as_f64().unwrap_or_default(), &format!("{} rows", output::grouped(rows)));
        if status["status"] != "In Progress" || stop.is_cancelled() {
            progress.end();
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

fn results(status: &Value) {
    output::line(&format!("   {:<22} {:>12} {:>12} {:>6}", "table", "rows", "size", "files"));
    for table in status["tables"].as_array().into_iter().flatten() {
        let name = table["name"].as_str().unwrap_or_default();
        if table["status"] == "SKIPPED" {
            output::line(&format!("   {name:<22} skipped: {}", table["error"]["message"].as_str().unwrap_or_default()));
            continue;
        }
        let files = status["dataRequestDownloadLinks"][name].as_array().map_or(0, Vec::len);
        output::line(&format!(
            "   {name:<22} {:>12} {:>12} {files:>6}",
            output::grouped(table["rows"].as_i64().unwrap_or_default()),
            output::bytes(table["bytes"].as_i64().unwrap_or_default()),
        ));
    }
    output::line("");
}

/// Downloads every link and compares each table with the warehouse. Returns the rows compared, table by table.
async fn check(
    client: &Client,
    warehouse: &SecretString,
    status: &Value,
    day: NaiveDate,
    json: bool,
) -> Result<serde_json::Map<String, Value>, Failure> {
    let mut compared = serde_json::Map::new();
    let links = status["dataRequestDownloadLinks"].as_object().cloned().unwrap_or_default();
    if links.len() != compare::EXPECTED.len() {
        return Err(Failure::new(
            ErrorCode::Internal,
            format!("{} tables were exported instead of {}", links.len(), compare::EXPECTED.len()),
        ));
    }
    for (table, links) in links {
        let mut files = Vec::new();
        for link in links.as_array().into_iter().flatten().filter_map(Value::as_str) {
            files.push(client.download(link).await?);
        }
        let outcome = compare::table(warehouse, &table, day, files).await?;
        if !json {
            output::line(&format!(
                "   {table:<22} {:>12} rows, {:>2} columns: equal{}{}",
                output::grouped(outcome.rows),
                outcome.columns.len(),
                listed("changed as the rules say", &outcome.changed),
                listed("left out", &outcome.left_out),
            ));
        }
        compared.insert(table, outcome.rows.into());
    }
    Ok(compared)
}

fn listed(what: &str, columns: &[String]) -> String {
    if columns.is_empty() { String::new() } else { format!("   ({what}: {})", columns.join(", ")) }
}

fn next_steps(address: SocketAddr, id: &str, status: &Value) -> String {
    let link = status["dataRequestDownloadLinks"]["way"][0].as_str().unwrap_or_default();
    format!(
        "\nIt stays up. Try next:\n\n\
         GraphiQL      http://{address}/graphql\n\
         status        curl -s http://{address}/graphql -H 'content-type: application/json' \\\n\
         \x20               -d '{{\"query\": \"mutation {{ requestStatus(requestId: \\\"{id}\\\") {{ status progress dataRequestDownloadLinks }} }}\"}}'\n\
         a file        curl -s -o way.parquet '{link}'\n\
         its rows      python3 -c 'import duckdb; print(duckdb.sql(\"SELECT * FROM way.parquet LIMIT 5\"))'\n\
         metrics       http://{address}/metrics\n\n\
         Links work until {}. Ctrl-C ends it; the next start finds everything again.",
        status["linksExpireAt"].as_str().unwrap_or("tomorrow")
    )
}

fn whole_day(day: NaiveDate) -> (i64, i64) {
    let start = day.and_time(NaiveTime::MIN).and_utc().timestamp();
    (start, start + 86_400)
}

/// The port that was asked for, or 8080, or any.
async fn listen(port: Option<u16>) -> Result<TcpListener, Failure> {
    let at = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let bound = match port {
        Some(port) => at(port).await,
        None => match at(8080).await {
            Ok(listener) => Ok(listener),
            Err(_) => at(0).await,
        },
    };
    bound.map_err(|error| {
        let port = port.unwrap_or(0);
        Failure::new(
            ErrorCode::SettingsInvalid,
            format!("cannot listen on 127.0.0.1:{port}: {}; choose another --port", error.kind()),
        )
    })
}

fn say(json: bool, text: &str) {
    if json { output::note(text) } else { output::line(text) }
}
