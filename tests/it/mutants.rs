//! Rules and detectors switched off, one at a time: what the tests of the decision table and the canaries look at must
//! then differ, or they prove nothing. The lists are printed: `make mutants`.
//!
//! A mutant is a change of the rules, which are data, so nothing is compiled again. Mutants of different tables do not
//! meet, and share an export.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use data_exporter::jobs::{FileForm, JobId, JobState};
use data_exporter::warehouse::postgres::PostgresOptions;
use sqlx::AssertSqlSafe;

use crate::support::decisions::{self, HIDDEN, SHEETS, SOURCE_RULES, Sheet, rule_of};
use crate::support::files::{self, Content};
use crate::support::inprocess::{Running, Troubled};
use crate::support::needles::Needles;
use crate::support::pii::{self, NAMED, PATTERN, PERSONAL};
use crate::support::platform::Platform;
use crate::support::protect::key;
use crate::support::s3;

/// How a mutant must show.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shows {
    /// A value leaves that must not leave.
    Leak,
    /// Something else is there, or less.
    Difference,
}

struct Mutant {
    rule: String,
    statement: String,
    shows: Shows,
}

fn mutant(rule: impl Into<String>, statement: String, shows: Shows) -> Mutant {
    Mutant { rule: rule.into(), statement, shows }
}

/// Everything that a rule of this table, or the lack of one, can be replaced by and that loosens or loses it.
fn of_sheet(sheet: &Sheet) -> Vec<Mutant> {
    let table = sheet.table;
    let mut mutants = Vec::new();
    for (kind, name, rule) in sheet.ruled() {
        // A value that does not leave does not differ by what would be done to it, and NULL is no metric to classify.
        let matters = kind == "column" || sheet.value_leaves();
        // Where the column has an action too, what the metric's adds is seen, but no value as it was.
        let leak = if kind == "metric" && sheet.value == Some("hwc") { Shows::Difference } else { Shows::Leak };
        let (code, action) = rule_of(rule, kind);
        if name == "null" {
            continue;
        }
        let (rules, named) = match kind {
            "column" => ("data_column_classification", "column_name"),
            _ => ("long_table_data_classifications", "metric_name"),
        };
        let of_rule = format!("WHERE table_name = '{table}' AND {named} = '{name}'");
        let of_restriction = format!("WHERE table_name = '{table}' AND kind = '{kind}' AND name = '{name}'");
        let whole = format!(
            "UPDATE column_restrictions SET action = 'truncate', params = '{{\"length\": 99}}' {of_restriction}"
        );
        let said = format!("{kind} {name}");
        let to_nr = |before: &str| {
            let statement = format!("UPDATE {rules} SET classification = 'nr' {of_rule}");
            mutant(format!("{said}: {before} -> nr"), statement, if rule == "m_hwc" { leak } else { Shows::Leak })
        };
        match code {
            None => mutants.push(mutant(
                format!("{said}: none -> nr"),
                format!("INSERT INTO {rules} (table_name, {named}, classification) VALUES ('{table}', '{name}', 'nr')"),
                Shows::Leak,
            )),
            Some("nr") => mutants.push(mutant(
                format!("{said}: nr -> none"),
                format!("DELETE FROM {rules} {of_rule}"),
                Shows::Difference,
            )),
            Some("hwc") if rule.ends_with("hwc") && !matters => {}
            // The column drops the rows of the same sources.
            Some("mx") if kind == "metric" && table == "long_mx_drop" => {}
            Some(code) => mutants.push(to_nr(code)),
        }
        match rule.strip_prefix("m_").unwrap_or(rule) {
            "hwc" => {
                if matters {
                    mutants.push(mutant(format!("{said}: its action does nothing"), whole, leak));
                }
                let delete = format!("DELETE FROM column_restrictions {of_restriction}");
                mutants.push(mutant(format!("{said}: its action is gone"), delete, Shows::Difference));
            }
            "bare" => mutants.push(mutant(
                format!("{said}: an action is added"),
                format!(
                    "INSERT INTO column_restrictions (table_name, kind, name, action, params)
                     VALUES ('{table}', '{kind}', '{name}', 'truncate', '{{\"length\": 99}}')"
                ),
                Shows::Leak,
            )),
            "late" => mutants.push(mutant(
                format!("{said}: its expiry is gone"),
                format!("UPDATE column_restrictions SET expires_at = NULL {of_restriction}"),
                Shows::Difference,
            )),
            "drop" => mutants.push(mutant(format!("{said}: drop -> truncate"), whole, Shows::Leak)),
            _ => assert!(action.is_none()),
        }
    }
    mutants.extend(of_sources(sheet));
    mutants.extend(of_table(sheet));
    mutants
}

/// What is done to sources in this table.
fn of_sources(sheet: &Sheet) -> Vec<Mutant> {
    let table = sheet.table;
    let leaves = if sheet.is_long() { sheet.value_leaves() } else { sheet.names().any(|n| n == "mx") };
    if !sheet.asks_source() || table == "mx_sourceless" {
        return Vec::new();
    }
    let of = |name: &str| format!("WHERE table_name = '{table}' AND kind = 'source' AND name = '{name}'");
    let whole = "UPDATE column_restrictions SET action = 'truncate', params = '{\"length\": 99}'";
    let mut mutants = vec![
        mutant(
            "source DELTA: its action is gone",
            format!("DELETE FROM column_restrictions {}", of("DELTA")),
            Shows::Difference,
        ),
        mutant(
            "source ECHO: an action is added",
            format!(
                "INSERT INTO column_restrictions (table_name, kind, name, action, params)
                 VALUES ('{table}', 'source', 'ECHO', 'mask_last4', '{{}}')"
            ),
            Shows::Difference,
        ),
        mutant(
            "source FOXTROT: its expiry is gone",
            format!("UPDATE column_restrictions SET expires_at = NULL {}", of("FOXTROT")),
            Shows::Difference,
        ),
        mutant("source GOLF: drop -> truncate", format!("{whole} {}", of("GOLF")), Shows::Leak),
    ];
    if leaves {
        let shows = if sheet.value == Some("hwc") { Shows::Difference } else { Shows::Leak };
        mutants.push(mutant("source DELTA: its action does nothing", format!("{whole} {}", of("DELTA")), shows));
    }
    mutants
}

/// What `export_tables` says of this table.
fn of_table(sheet: &Sheet) -> Vec<Mutant> {
    let set = |what: &str| format!("UPDATE export_tables SET {what} WHERE table_name = '{}'", sheet.table);
    let settings = sheet.settings.0;
    let mut mutants = vec![
        mutant("enabled -> false", set("enabled = false"), Shows::Difference),
        mutant(
            "its row is gone",
            format!("DELETE FROM export_tables WHERE table_name = '{}'", sheet.table),
            Shows::Difference,
        ),
    ];
    if settings.contains("metric_column") {
        // Rules of metrics go with their column, or the database refuses it.
        let table = sheet.table;
        let none = format!(
            "DELETE FROM long_table_data_classifications WHERE table_name = '{table}';
             DELETE FROM column_restrictions WHERE table_name = '{table}' AND kind = 'metric'; {}",
            set("metric_column = NULL, value_column = NULL")
        );
        mutants.push(mutant("metric_column -> none", none, Shows::Leak));
    }
    if settings.contains("tenant_column") {
        mutants.push(mutant("tenant_column -> none", set("tenant_column = NULL"), Shows::Leak));
    }
    if sheet.asks_source() && settings.contains("source_column") {
        let none = format!(
            "DELETE FROM column_restrictions WHERE table_name = '{}' AND kind = 'source'; {}",
            sheet.table,
            set("source_column = NULL")
        );
        mutants.push(mutant("source_column -> none", none, Shows::Difference));
    }
    if settings.contains("denied_cell") {
        mutants.push(mutant("null_cell -> drop_row", set("denied_cell = 'drop_row'"), Shows::Difference));
    }
    if ["mx_drop", "long_mx_drop"].contains(&sheet.table) {
        mutants.push(mutant("drop_row -> null_cell", set("denied_cell = 'null_cell'"), Shows::Leak));
    }
    mutants
}

/// What the sources are in all tables, and the tables that must not be there.
fn of_all() -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for (source, code) in SOURCE_RULES {
        mutants.push(match *code {
            "nr" => mutant(
                format!("source {source}: nr -> none"),
                format!("DELETE FROM actual_data_classifications WHERE source = '{source}'"),
                Shows::Difference,
            ),
            code => mutant(
                format!("source {source}: {code} -> nr"),
                format!("UPDATE actual_data_classifications SET classification = 'nr' WHERE source = '{source}'"),
                Shows::Leak,
            ),
        });
    }
    for source in ["HOTEL", "alpha", "ALPHA "] {
        let statement = format!("INSERT INTO actual_data_classifications VALUES ('{source}', 'nr')");
        mutants.push(mutant(format!("source '{source}': none -> nr"), statement, Shows::Leak));
    }
    let enable = "UPDATE export_tables SET enabled = true WHERE table_name = 'disabled'";
    mutants.push(mutant("table disabled: enabled", enable.to_owned(), Shows::Leak));
    let list = "INSERT INTO export_tables (table_name, time_column) VALUES ('unlisted', 'at')";
    mutants.push(mutant("table unlisted: put on the list", list.to_owned(), Shows::Leak));
    mutants
}

/// A worker over tables and rules, and one export after the other.
struct Runs {
    platform: Platform,
    worker: Running,
    rules: String,
    jobs: Vec<JobId>,
}

impl Runs {
    async fn new(name: &str, warehouse: String, rules: String) -> Self {
        let platform = Platform::empty(name).await;
        sqlx::raw_sql(AssertSqlSafe(warehouse)).execute(&platform.warehouse).await.unwrap();
        let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
        let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
        let worker = Running::with_key(&platform, warehouse, store, Some(key()));
        Self { platform, worker, rules, jobs: Vec::new() }
    }

    /// Has everything exported under the rules with these changes; returns once it is planned, since a job keeps the
    /// policies of its plan.
    async fn run(&mut self, statements: impl IntoIterator<Item = &str>) {
        let statements: Vec<&str> = statements.into_iter().collect();
        let sql = format!("{};\n{}", self.rules, statements.join(";\n"));
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.platform.metadata).await;
        done.unwrap_or_else(|error| panic!("{error}: {statements:?}"));
        let job = self.worker.request_in(&[], files::choice(FileForm::PARQUET)).await;
        while matches!(self.worker.view(job).await.state, JobState::Queued | JobState::Planning) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.jobs.push(job);
    }

    /// What the files of each run and table hold. A table that has none has failed, which is seen by that.
    async fn read(self) -> BTreeMap<(usize, String), Vec<Content>> {
        let mut paths = Vec::new();
        let mut places = Vec::new();
        for (run, &job) in self.jobs.iter().enumerate() {
            let view = self.worker.finished(job).await;
            let folder = self.platform.folder.path().join(run.to_string());
            for table in &view.tables {
                let name = table.name.to_string();
                for path in files::fetch(&self.platform, &view, &name, &folder).await {
                    paths.push(path);
                    places.push((run, name.clone()));
                }
            }
        }
        self.worker.stop().await;
        let mut contents: BTreeMap<_, Vec<Content>> = BTreeMap::new();
        for (place, content) in places.into_iter().zip(files::read(&paths)) {
            contents.entry(place).or_default().push(content);
        }
        contents
    }
}

/// The tables in which rules of sources are tried.
const ASKING: &[&str] = &["mx_drop", "mx_null", "long_nr", "long_mx_null"];

/// Leaves these tables alone on the list, to export no others for nothing.
fn only<'a>(tables: impl Iterator<Item = &'a str>) -> String {
    let tables: Vec<String> = tables.map(|table| format!("'{table}'")).collect();
    format!("UPDATE export_tables SET on_demand = false WHERE table_name NOT IN ({})", tables.join(", "))
}

/// The cells of files, in lines.
fn cells(contents: &[Content]) -> String {
    let rows = contents.iter().flat_map(|content| &content.rows);
    rows.flatten().flatten().map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_that_is_switched_off_is_noticed() {
    let mut runs = Runs::new("mutants_rules", decisions::warehouse(), decisions::rules()).await;
    runs.run([]).await;
    let by_sheet: Vec<Vec<Mutant>> = SHEETS.iter().map(of_sheet).collect();
    let rounds = by_sheet.iter().map(Vec::len).max().unwrap();
    for round in 0..rounds {
        let with: Vec<_> = SHEETS.iter().zip(&by_sheet).filter_map(|(s, of)| Some((s.table, of.get(round)?))).collect();
        let only = only(with.iter().map(|(table, _)| *table));
        runs.run([only.as_str()].into_iter().chain(with.iter().map(|(_, mutant)| mutant.statement.as_str()))).await;
    }
    let of_all = of_all();
    let some = only(ASKING.iter().copied().chain(HIDDEN.iter().copied()));
    for mutant in &of_all {
        runs.run([some.as_str(), mutant.statement.as_str()]).await;
    }
    let contents = runs.read().await;
    let of = |run: usize, table: &str| contents.get(&(run, table.to_owned())).map_or(&[][..], Vec::as_slice);
    let judge = |run: usize, sheet: &Sheet, denied: &Needles| {
        let found = of(run, sheet.table);
        (sheet.differences(found).len(), denied.found(cells(found)).len())
    };
    let denied: Vec<Needles> = SHEETS.iter().map(|sheet| Needles::new(sheet.canaries().0)).collect();

    println!("{:<16} {:<44} {:>11} {:>5}", "table", "rule", "differences", "leaks");
    let mut unnoticed = Vec::new();
    let mut report = |table: &str, mutant: &Mutant, (differences, leaks): (usize, usize)| {
        println!("{table:<16} {:<44} {differences:>11} {leaks:>5}", mutant.rule);
        if differences == 0 || mutant.shows == Shows::Leak && leaks == 0 {
            unnoticed.push(format!("{table}: {}", mutant.rule));
        }
    };
    let mut count = of_all.len();
    for ((sheet, mutants), denied) in SHEETS.iter().zip(&by_sheet).zip(&denied) {
        assert_eq!(judge(0, sheet, denied), (0, 0), "{}", sheet.table);
        count += mutants.len();
        for (round, mutant) in mutants.iter().enumerate() {
            report(sheet.table, mutant, judge(1 + round, sheet, denied));
        }
    }
    let hidden = Needles::new(HIDDEN.iter().map(|table| decisions::canary(table)));
    for (at, mutant) in of_all.iter().enumerate() {
        let run = 1 + rounds + at;
        let mut sum = (0, 0);
        for (sheet, denied) in SHEETS.iter().zip(&denied).filter(|(sheet, _)| ASKING.contains(&sheet.table)) {
            let (differences, leaks) = judge(run, sheet, denied);
            sum = (sum.0 + differences, sum.1 + leaks);
        }
        let shown: usize = HIDDEN.iter().map(|table| hidden.found(cells(of(run, table))).len()).sum();
        report("(all)", mutant, (sum.0 + shown, sum.1 + shown));
    }
    println!("{count} mutants of rules, {} unnoticed", unnoticed.len());
    assert!(unnoticed.is_empty(), "nobody noticed: {unnoticed:#?}");
}

/// `pii.toml` with everything on.
fn searched(more: &str) -> String {
    let pattern = format!(
        "[[patterns]]\nname = \"{}\"\nregex = \"QX-[A-Z]{{2}} [0-9]{{4}}\"\nfinds = [\"{}\"]\n",
        PATTERN.0, PATTERN.1
    );
    let text = if more == PATTERN.0 { "# no pattern\n".to_owned() } else { format!("{more}\n{pattern}") };
    format!("DELETE FROM pii_rules; INSERT INTO pii_rules (rules) VALUES ('{text}')")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_detector_that_is_switched_off_is_noticed() {
    let rules = format!("{}{}", pii::rules(), searched(""));
    let mut runs = Runs::new("mutants_detectors", pii::warehouse(), rules).await;
    // What is switched off, where, and the values that leave then.
    let mut mutants: Vec<(String, &str, Vec<String>, String)> = Vec::new();
    for (entity, value, _) in PERSONAL {
        let off = searched(&format!("[entities.{entity}]\nenabled = false"));
        mutants.push((format!("detector {entity}: off"), "remarks", vec![(*value).to_owned()], off));
    }
    mutants.push((format!("pattern {}: gone", PATTERN.0), "remarks", vec![PATTERN.1.to_owned()], searched(PATTERN.0)));
    let attested = |table: &str, column: &str, until: &str| {
        format!(
            "UPDATE data_column_classification SET pii_exempt_by = 'test', pii_exempt_reason = 'test',
             pii_exempt_until = '{until}' WHERE table_name = '{table}' AND column_name = '{column}'"
        )
    };
    let all: Vec<String> = pii::personal().into_iter().map(|(_, value, _)| value.to_owned()).collect();
    for column in ["note", "document", "keyed"] {
        let exempt = attested("remarks", column, "2099-12-31");
        mutants.push((format!("search of {column}: attested exempt"), "remarks", all.clone(), exempt));
        let late = attested("remarks", column, "2020-01-01");
        mutants.push((format!("search of {column}: exempt until 2020"), "remarks", Vec::new(), late));
    }
    for (entity, column) in NAMED {
        let name = format!("name '{column}' ({entity}): attested exempt");
        mutants.push((name, "people", vec![pii::named(column)], attested("people", column, "2099-12-31")));
    }
    runs.run([]).await;
    for (_, _, _, statement) in &mutants {
        runs.run([statement.as_str()]).await;
    }
    let contents = runs.read().await;
    let needles = Needles::new(all.into_iter().chain(NAMED.iter().map(|(_, column)| pii::named(column))));
    println!("{:<56} leaks", "detector");
    let mut wrong = Vec::new();
    for run in 0..=mutants.len() {
        let (name, table, mut expected, _) = match run.checked_sub(1) {
            None => ("none".to_owned(), "remarks", Vec::new(), String::new()),
            Some(at) => mutants[at].clone(),
        };
        for other in ["remarks", "people"] {
            let found = &contents[&(run, other.to_owned())];
            let text = cells(found);
            let found: Vec<String> = needles.found(&text).into_keys().map(str::to_owned).collect();
            expected.sort_unstable();
            let want = if other == table { expected.clone() } else { Vec::new() };
            if found != want {
                wrong.push(format!("{name}: {found:?} instead of {want:?} in {other}"));
            }
            // Text, leaf and key: each was cleaned by this detector.
            if name.starts_with("detector") && other == table {
                let times = text.matches(expected[0].as_str()).count();
                if times != 3 {
                    wrong.push(format!("{name}: the value leaves {times} times instead of 3"));
                }
            }
        }
        println!("{name:<56} {:>5}", expected.len());
    }
    println!("{} mutants of detectors, {} not as expected", mutants.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
