//! README's examples do what it says: its shell lines run, its queries are answered, its SQL fits the schema.

use std::process::Stdio;

use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::support::platform::{Platform, program};
use crate::support::python;

const README: &str = include_str!("../../README.md");

/// The blocks of a language, each with whether the line above it is the mark for running it.
fn blocks(language: &str) -> Vec<(bool, String)> {
    let lines: Vec<&str> = README.lines().collect();
    let fence = format!("```{language}");
    let mut found = Vec::new();
    for (start, _) in lines.iter().enumerate().filter(|(_, line)| **line == fence) {
        let body: Vec<&str> = lines[start + 1..].iter().take_while(|line| **line != "```").copied().collect();
        found.push((start > 0 && lines[start - 1] == "<!-- run -->", body.join("\n")));
    }
    assert!(!found.is_empty(), "README has no block of {language}");
    found
}

/// What README shows as the output of a script: the block of text that follows it.
fn shown_after(script: &str) -> Option<&'static str> {
    let rest = README.split_once(&format!("{script}\n```\n"))?.1;
    Some(rest.strip_prefix("\n```text\n")?.split_once("\n```")?.0)
}

/// A line as it is compared: words, whatever the numbers, which follow the size of the sample, and the blanks.
fn words(line: &str) -> String {
    let mut words = String::new();
    for part in line.split_whitespace() {
        let part: String = part.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let number = part.chars().all(|c| c == '0');
        // Thousands stand apart.
        if !(number && words.ends_with("# ")) {
            words.push_str(if number { "#" } else { &part });
            words.push(' ');
        }
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_works() {
    let platform = Platform::sample("readme", 4_000).await;
    // The example applies the rules itself.
    sqlx::raw_sql("TRUNCATE export_tables, data_column_classification, actual_data_classifications, long_table_data_classifications")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let service = platform.serve("all", "api,worker", &[]).await;
    let program = program();
    let programs = std::path::Path::new(&program).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let (mut ran, mut compared) = (0, 0);
    for (run, script) in blocks("sh") {
        if !run {
            continue;
        }
        let shown = shown_after(&script).unwrap_or_default();
        let script = script.replace("127.0.0.1:8080", &service.address);
        let mut shell = tokio::process::Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &script]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        shell.envs(platform.environment()).env("PATH", &path);
        let done = shell.output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{script}\n{said}\n{}", String::from_utf8_lossy(&done.stderr));
        assert!(!said.contains("\"errors\""), "{script}\n{said}");
        let lines: Vec<String> = said.lines().map(words).collect();
        for line in shown.lines().filter(|line| *line != "…") {
            assert!(lines.contains(&words(line)), "README shows '{line}'; {script}\nsays {said}");
            compared += 1;
        }
        ran += 1;
    }
    assert!(ran >= 3, "only {ran} examples are marked to be run");
    assert!(compared >= 10, "only {compared} lines of output are compared");

    let mut id = String::new();
    let mut status = Value::Null;
    for (_, query) in blocks("graphql") {
        let answer = service.ask(&query.replace("REQUEST_ID", &id)).await;
        assert_eq!(answer.get("errors"), None, "{query}\n{answer}");
        if let Some(requested) = answer["data"]["requestData"].as_str() {
            let ended = service.finished(requested).await;
            assert_eq!(ended["status"], "Completed", "{ended}");
            // What follows is about the first request; its files are read below.
            if id.is_empty() {
                id = requested.to_owned();
                status = ended;
            }
        }
    }

    let downloads = platform.folder.path().join("downloads");
    std::fs::create_dir(&downloads).unwrap();
    let link = status["dataRequestDownloadLinks"]["vms"][0].as_str().unwrap();
    std::fs::write(downloads.join("vms_000.parquet"), reqwest::get(link).await.unwrap().bytes().await.unwrap())
        .unwrap();
    for (_, program) in blocks("python") {
        python::run_text(&program, platform.folder.path());
    }

    for (_, statement) in blocks("sql") {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&platform.metadata).await;
        assert!(done.is_ok(), "{statement}: {done:?}");
    }
}

#[test]
fn every_setting_is_listed() {
    let source = include_str!("../../src/config/source.rs");
    let keys = source.split("KEYS: &[&str] = &[").nth(1).unwrap().split(']').next().unwrap();
    for key in
        keys.split('"').filter(|part| part.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !part.is_empty())
    {
        assert!(README.contains(&format!("`{key}`")), "README does not list {key}");
    }
}
