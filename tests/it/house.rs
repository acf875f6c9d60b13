//! The rules of the house: who may import whom, and what every file must hold to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use sqlx::AssertSqlSafe;

use crate::support::metadata;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this ending, with its path from there and its text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let base = root().join(folder);
    let mut found = Vec::new();
    walk(&base, &mut found);
    found.sort();
    found
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .map(|path| (path.strip_prefix(&base).unwrap().display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The room of a file: its first folder, or its own name.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Who may use which rooms of the crate. A room that is not here may use none; `error` is everybody's.
const MAY_USE: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli"]),
    (
        "cli",
        &[
            "api",
            "config",
            "explain",
            "identity",
            "jobs",
            "lifecycle",
            "local",
            "pipeline",
            "rules",
            "startup",
            "storage",
            "telemetry",
            "upkeep",
            "verify",
        ],
    ),
    (
        "startup",
        &[
            "api",
            "config",
            "explain",
            "identity",
            "jobs",
            "links",
            "local",
            "notify",
            "pipeline",
            "rules",
            "schedule",
            "storage",
            "upkeep",
            "warehouse",
        ],
    ),
    ("lifecycle", &[]),
    ("telemetry", &["config"]),
    ("config", &["schedule"]),
    ("error", &[]),
    ("api", &["explain", "identity", "jobs", "links", "rules", "storage", "upkeep"]),
    ("verify", &["jobs", "pipeline", "storage"]),
    ("upkeep", &["config", "identity", "jobs", "schedule", "storage", "warehouse"]),
    ("identity", &["jobs"]),
    ("jobs", &[]),
    ("links", &["identity", "jobs"]),
    ("explain", &["jobs", "rules", "warehouse"]),
    ("rules", &["identity", "jobs"]),
    ("pipeline", &["jobs", "rules", "storage", "warehouse"]),
    ("warehouse", &[]),
    ("storage", &[]),
    ("local", &["storage"]),
    ("schedule", &["jobs"]),
    ("notify", &["jobs"]),
];

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let uses = Regex::new(r"\b(?:crate|data_exporter)::(?:\{([^}]*)\}|([a-z_]+))").unwrap();
    let mut seen = BTreeSet::new();
    for (path, text) in files("src", "rs") {
        let room = room(&path);
        seen.insert(room.to_owned());
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("{path}: give the room '{room}' its rule"));
        for found in uses.captures_iter(&code(&text)) {
            let names = found.get(1).or(found.get(2)).unwrap().as_str();
            for used in names.split(',').map(|name| name.trim().split("::").next().unwrap()) {
                let rooms = MAY_USE.iter().any(|(name, _)| *name == used);
                assert!(!rooms || used == room || used == "error" || allowed.contains(&used), "{path} uses {used}");
            }
        }
    }
    assert_eq!(seen, MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect(), "a rule without its room");
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    for (crates, allowed) in [
        (
            r"\bsqlx::",
            &[
                "identity/",
                "jobs/",
                "links/",
                "rules/",
                "warehouse/postgres/",
                "startup.rs",
                "startup/",
                "upkeep/",
                "local/",
                "cli/demo/compare",
            ][..],
        ),
        (r"\baws_(?:config|credential|runtime|sdk|sigv4|smithy|types)[a-z0-9_]*::", &["storage/", "notify/sns.rs"][..]),
        (r"\basync_graphql", &["api/graphql"][..]),
        (r"\baxum::", &["api/", "startup.rs"][..]),
        (r"\bs3s(?:_[a-z]+)?::", &["local/s3"][..]),
        (r"\barrow::", &["pipeline/", "warehouse/", "cli/demo/compare.rs"][..]),
        (r"(?:^|[^:])\bparquet::", &["pipeline/encode/", "pipeline/gate/", "cli/demo/compare.rs"][..]),
        (r"\breqwest::", &["cli/demo/"][..]),
        (r"\bjsonwebtoken::", &["api/auth/"][..]),
        (r"\bhyper_rustls::", &["api/auth/", "upkeep/doctor/", "verify/place/link.rs"][..]),
        (r"\brustls::", &["api/auth/", "upkeep/doctor/", "verify/place/link.rs", "warehouse/postgres/wire/"][..]),
        (r"\b(?:postgres_protocol|webpki_roots)::", &["warehouse/postgres/wire/"][..]),
        (r"\btokio_rustls::", &["warehouse/postgres/wire/", "api/auth/jwks/tests.rs"][..]),
        (r"\b(?:zstd|flate2)::", &["pipeline/encode/", "pipeline/gate/"][..]),
        (r"\bclap::", &["cli/", "main.rs"][..]),
    ] {
        let pattern = Regex::new(crates).unwrap();
        for (path, text) in files("src", "rs") {
            let inside = allowed.iter().any(|prefix| path.starts_with(prefix));
            assert!(inside || !pattern.is_match(&code(&text)), "{path} uses {crates}");
        }
    }
}

#[test]
fn transactions_begin_where_nobody_drops_them() {
    // Two spellings: of a pool, and of a connection that may go back to one. `local` has connections of its own.
    let begins = Regex::new(r"(?:pool(?:\(\))?|connection)\s*\.begin(?:_with)?\(").unwrap();
    for (path, text) in files("src", "rs") {
        let own = path == "jobs/transaction.rs" || path.starts_with("local/") || path.starts_with("warehouse/");
        assert!(own || !begins.is_match(&code(&text)), "{path}: begin by jobs::begin_transaction");
    }
}

#[test]
fn the_warehouse_is_only_entered_by_its_trait() {
    for (path, text) in files("src", "rs") {
        if !path.starts_with("warehouse/") && path != "startup.rs" {
            assert!(!code(&text).contains("warehouse::postgres"), "{path} knows the insides of the warehouse");
        }
        if !path.starts_with("storage/") && !path.starts_with("local/") && path != "startup.rs" {
            assert!(!code(&text).contains("storage::s3"), "{path} knows the insides of the store");
        }
    }
}

/// The last gate checks what the removal of personal data has done: it must not share its faults.
#[test]
fn the_gate_shares_nothing_with_what_it_checks() {
    let forbidden =
        Regex::new(r"\bpii\s*::|::\s*(?:pii|protect)\b|\bprotect\s*::|\bProtect(?:or|ed)\b|\bScanner\b").unwrap();
    // What writes files of lines does not say how they are read.
    let encoder =
        Regex::new(r"\bencode\s*::\s*(?:text|\{[^;]*\btext)\b|\bText(?:Encoder|Format|Compression)\b").unwrap();
    // Also behind a list of imports.
    let lists = Regex::new(r"\b(?:classification|crate|pipeline|super)::\{[^;]*\b(?:pii|protect)\b").unwrap();
    let alias = Regex::new(r"\buse classification(?:\s*;|\s+as\b|::\*)").unwrap();
    let gate: Vec<_> = files("src", "rs").into_iter().filter(|(path, _)| path.starts_with("pipeline/gate/")).collect();
    assert!(gate.len() >= 5, "the gate has moved; move this test with it");
    for (path, text) in gate {
        let code = code(&text);
        for pattern in [&forbidden, &encoder, &lists, &alias] {
            assert!(!pattern.is_match(&code), "{path} shares code with what it checks: {pattern}");
        }
    }
    for (shared, broken) in [
        ("use classification::pii::Scanner;", true),
        ("use classification::{ColumnKind, pii};", true),
        ("use crate::pipeline::protect::remove;", true),
        ("use super::super::protect;", true),
        ("use classification as rules;", true),
        ("use crate::pipeline::encode::text::TextFormat;", true),
        ("use super::super::encode::{footer, text};", true),
        ("use super::encode::footer::{self, Footer};", false),
        ("use classification::{ColumnKind, Policy};", false),
    ] {
        let found = [&forbidden, &encoder, &lists, &alias].iter().any(|pattern| pattern.is_match(shared));
        assert_eq!(found, broken, "{shared}");
    }
}

#[test]
fn classification_is_pure() {
    let manifest = fs::read_to_string(root().join("classification/Cargo.toml")).unwrap();
    let parsed: toml::Table = manifest.parse().unwrap();
    for dependency in parsed["dependencies"].as_table().unwrap().keys() {
        let forbidden = ["tokio", "arrow", "parquet", "sqlx", "data-exporter"];
        assert!(!forbidden.contains(&dependency.as_str()) && !dependency.starts_with("aws"), "{dependency}");
    }
    for (path, text) in files("classification/src", "rs") {
        for outside in
            ["std::fs", "std::net::Tcp", "std::net::Udp", "ToSocketAddrs", "std::env", "std::process", "std::thread"]
        {
            assert!(!code(&text).contains(outside), "{path} uses {outside}");
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for folder in ["src", "classification/src", "tests/it", "tests/chaos", "benches"] {
        if !root().join(folder).exists() {
            continue;
        }
        for (path, text) in files(folder, "rs") {
            let lines = text.lines().count();
            assert!(lines <= 500, "{folder}/{path} has {lines} lines: split it by subject");
            let described = text.starts_with("//!") || path.ends_with("tests.rs");
            assert!(described, "{folder}/{path} does not begin with what it is for");
        }
    }
}

/// A worker's clock an hour off changes nothing, because nothing asks it: what is due, leased, late, stalled or expired is
/// decided by the database's, and by that of the moment, not of the transaction's begin.
#[test]
fn only_the_databases_clock_decides() {
    let ours = Regex::new(r"\b(?:Utc|Local|SystemTime)::now\b").unwrap();
    for (path, text) in files("src", "rs") {
        let decides = ["jobs/", "pipeline/", "links/", "rules/", "identity/", "notify/"]
            .iter()
            .any(|room| path.starts_with(room));
        assert!(!decides || !ours.is_match(&code(&text)), "{path} asks this machine's clock");
    }
    let begun = Regex::new(r"(?i)(?:^|[^_a-z])now\(\)|current_timestamp|localtimestamp|transaction_timestamp").unwrap();
    let statements = files("src", "sql").into_iter().filter(|(path, _)| !path.starts_with("local/sample/"));
    for (path, text) in statements.chain(files("migrations", "sql")) {
        let text: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        assert!(!begun.is_match(&text.join("\n")), "{path} asks when the transaction began");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = Regex::new(r"\b(?:todo|unimplemented)!\(|#\[ignore|\bTO\x44O\b|\bFIX\x4dE\b").unwrap();
    for folder in ["src", "classification/src", "tests/it", "tests/chaos"] {
        for (path, text) in files(folder, "rs") {
            assert!(!marks.is_match(&text), "{folder}/{path} has an unfinished mark");
        }
    }
}

/// Statements that live in files are understood by the database that the migrations make.
#[tokio::test]
async fn every_statement_fits_the_schema() {
    let pool = metadata::database("every_statement").await;
    let mut statements = files("src", "sql");
    statements.retain(|(path, _)| !path.starts_with("local/sample/"));
    assert!(statements.len() > 30, "the statements have moved; move this test with them");
    for (number, (path, text)) in statements.into_iter().enumerate() {
        let prepared =
            sqlx::raw_sql(AssertSqlSafe(format!("PREPARE statement_{number} AS {text}"))).execute(&pool).await;
        assert!(prepared.is_ok(), "{path}: {}", prepared.unwrap_err());
    }
}
