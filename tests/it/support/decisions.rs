//! The decision table as tables of a warehouse: every combination of what a column, a metric and a source may be,
//! with a value of its own in each cell, and what must become of it. The grids are written by hand from the design;
//! nothing here asks the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::files::Content;
use super::protect::KEY;

/// The sources of a row: what each is stands in [`SOURCE_RULES`]. The last four are names that nobody has classified,
/// two of them nearly the first, and NULL.
const SOURCES: &[Option<&str>] = &[
    Some("ALPHA"),
    Some("BRAVO"),
    Some("CHARLIE"),
    Some("DELTA"),
    Some("ECHO"),
    Some("FOXTROT"),
    Some("GOLF"),
    Some("HOTEL"),
    Some("alpha"),
    Some("ALPHA "),
    None,
];

/// The tenants of a row, where they decide. The test is `default`.
const TENANTS: &[Option<&str>] = &[Some("default"), Some("other"), Some("Default"), None];

/// Code by source. DELTA has an action in every table that asks for sources, ECHO none, FOXTROT's has expired and
/// GOLF's is to drop.
pub(crate) const SOURCE_RULES: &[(&str, &str)] = &[
    ("ALPHA", "nr"),
    ("BRAVO", "mx"),
    ("CHARLIE", "de"),
    ("DELTA", "hwc"),
    ("ECHO", "hwc"),
    ("FOXTROT", "hwc"),
    ("GOLF", "hwc"),
];

/// What stands in a grid: `=` the value leaves as it is; `c`, `m` and `s` changed by the action of the column, the
/// metric and the source, one after the other; `0` NULL; `-` the row is dropped; `x` the column is not there, the row is.
/// A line for each column or, in a long table, each metric; one mark for each source, or the same for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sheet {
    pub(crate) table: &'static str,
    /// More columns of `export_tables`, and their values.
    pub(crate) settings: (&'static str, &'static str),
    /// What the value column of a long table is; `None` for other tables.
    pub(crate) value: Option<&'static str>,
    /// What the column `src` may hold.
    axis: &'static [Option<&'static str>],
    grid: &'static [(&'static str, &'static str)],
}

const BY_SOURCE: (&str, &str) = ("source_column", "'src'");
const LONG: (&str, &str) = ("source_column, metric_column, value_column", "'src', 'metric', 'value'");

const fn sheet(
    table: &'static str,
    settings: (&'static str, &'static str),
    value: Option<&'static str>,
    grid: &'static [(&'static str, &'static str)],
) -> Sheet {
    Sheet { table, settings, value, axis: SOURCES, grid }
}

/// Every row of the decision table.
pub(crate) const SHEETS: &[Sheet] = &[
    sheet(
        "plain",
        BY_SOURCE,
        None,
        &[("nr", "="), ("hwc", "c"), ("bare", "x"), ("late", "x"), ("drop", "x"), ("de", "x"), ("missing", "x")],
    ),
    sheet(
        "mx_drop",
        BY_SOURCE,
        None,
        //         ALPHA BRAVO CHARLIE DELTA ECHO FOXTROT GOLF HOTEL alpha 'ALPHA ' NULL
        &[("nr", "= - - = - - - - - - -"), ("hwc", "c - - c - - - - - - -"), ("mx", "= - - s - - - - - - -")],
    ),
    sheet(
        "mx_null",
        ("source_column, denied_cell", "'src', 'null_cell'"),
        None,
        &[("nr", "="), ("hwc", "c"), ("mx", "= 0 0 s 0 0 0 0 0 0 0")],
    ),
    sheet("mx_sourceless", ("strict", "false"), None, &[("nr", "="), ("mx", "x")]),
    sheet(
        "long_nr",
        LONG,
        Some("nr"),
        &[
            ("m_nr", "="),
            ("m_mx", "= - - s - - - - - - -"),
            ("m_hwc", "m"),
            ("m_de", "-"),
            ("m_bare", "-"),
            ("m_late", "-"),
            ("m_drop", "-"),
            ("m_missing", "-"),
            ("M_NR", "-"),
            ("null", "-"),
        ],
    ),
    sheet(
        "long_hwc",
        LONG,
        Some("hwc"),
        &[
            ("m_nr", "c"),
            ("m_mx", "c - - cs - - - - - - -"),
            ("m_hwc", "cm"),
            ("m_de", "-"),
            ("m_bare", "-"),
            ("m_late", "-"),
            ("m_drop", "-"),
            ("m_missing", "-"),
            ("null", "-"),
        ],
    ),
    sheet(
        "long_mx_drop",
        LONG,
        Some("mx"),
        &[
            ("m_nr", "= - - s - - - - - - -"),
            ("m_mx", "= - - s - - - - - - -"),
            ("m_hwc", "m - - ms - - - - - - -"),
            ("m_de", "-"),
            ("m_bare", "-"),
            ("m_late", "-"),
            ("m_drop", "-"),
            ("m_missing", "-"),
            ("null", "-"),
        ],
    ),
    sheet(
        "long_mx_null",
        ("source_column, metric_column, value_column, denied_cell", "'src', 'metric', 'value', 'null_cell'"),
        Some("mx"),
        &[
            ("m_nr", "= 0 0 s 0 0 0 0 0 0 0"),
            ("m_mx", "= - - s - - - - - - -"),
            ("m_hwc", "m 0 0 ms 0 0 0 0 0 0 0"),
            ("m_de", "-"),
            ("m_bare", "-"),
            ("m_late", "-"),
            ("m_drop", "-"),
            ("m_missing", "-"),
            ("null", "-"),
        ],
    ),
    sheet("long_de", LONG, Some("de"), VALUE_LEFT_OUT),
    sheet("long_missing", LONG, Some("missing"), VALUE_LEFT_OUT),
    sheet("long_bare", LONG, Some("bare"), VALUE_LEFT_OUT),
    sheet("long_late", LONG, Some("late"), VALUE_LEFT_OUT),
    sheet(
        "long_sourceless",
        ("metric_column, value_column", "'metric', 'value'"),
        Some("nr"),
        &[("m_nr", "="), ("m_mx", "-"), ("m_hwc", "m"), ("m_de", "-"), ("m_missing", "-"), ("null", "-")],
    ),
    Sheet {
        table: "tenants",
        settings: ("tenant_column", "'src'"),
        value: None,
        axis: TENANTS,
        grid: &[("nr", "= - - -"), ("hwc", "c - - -")],
    },
];

/// A long table whose value does not leave: its rows go by their metrics all the same.
const VALUE_LEFT_OUT: &[(&str, &str)] = &[
    ("m_nr", "x"),
    ("m_mx", "x - - x - - - - - - -"),
    ("m_hwc", "x"),
    ("m_de", "-"),
    ("m_bare", "-"),
    ("m_late", "-"),
    ("m_drop", "-"),
    ("m_missing", "-"),
    ("null", "-"),
];

/// Tables that must not be there at all: switched off, and never put on the list.
pub(crate) const HIDDEN: &[&str] = &["disabled", "unlisted"];

/// A value that stands nowhere else: letters alone, so that no detector takes it for something.
pub(crate) fn canary(of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    let letter = |byte: &u8| char::from(if byte & 16 == 0 { b'A' } else { b'a' } + byte % 16);
    digest.iter().take(28).map(letter).collect()
}

/// What the actions of the sheets make of a value. The code of a pseudonym is calculated here once more.
fn changed(value: &str, marks: &str) -> String {
    marks.chars().fold(value.to_owned(), |value, mark| match mark {
        'c' => format!("{}{}", "*".repeat(value.len() - 4), &value[value.len() - 4..]),
        'm' => value[..12].to_owned(),
        's' => {
            let mut code = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
            code.update(&6_u64.to_be_bytes());
            code.update(&0_u64.to_be_bytes());
            code.update(b"source");
            code.update(value.as_bytes());
            code.finalize().into_bytes().iter().take(16).fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
        }
        '=' => value,
        mark => panic!("'{mark}' changes nothing"),
    })
}

/// The rules of one column or metric by the name that a grid gives it: its code, and its restriction as action,
/// parameters and expiry.
pub(crate) fn rule_of(name: &str, kind: &str) -> (Option<&'static str>, Option<&'static str>) {
    let name = name.strip_prefix("m_").unwrap_or(name);
    let column = kind == "column";
    match name {
        "nr" => (Some("nr"), None),
        "mx" => (Some("mx"), None),
        "de" => (Some("de"), None),
        "hwc" if column => (Some("hwc"), Some("'mask_last4', '{}', NULL")),
        "hwc" => (Some("hwc"), Some("'truncate', '{\"length\": 12}', NULL")),
        "bare" => (Some("hwc"), None),
        "late" => (Some("hwc"), Some("'truncate', '{\"length\": 12}', '2020-01-01'")),
        "drop" => (Some("hwc"), Some("'drop', '{}', NULL")),
        _ => (None, None),
    }
}

/// One row of a sheet's table.
#[derive(Debug)]
struct Row {
    id: usize,
    source: Option<&'static str>,
    metric: Option<&'static str>,
    /// Column, value, mark.
    cells: Vec<(&'static str, String, &'static str)>,
}

impl Row {
    fn leaves(&self) -> bool {
        self.cells.iter().all(|cell| cell.2 != "-")
    }
}

impl Sheet {
    pub(crate) fn is_long(&self) -> bool {
        self.value.is_some()
    }

    /// Whether a source is asked for anything in this table.
    pub(crate) fn asks_source(&self) -> bool {
        self.settings.0.contains("source_column") && self.table != "plain"
    }

    /// Whether values of the column that the grid is about leave at all.
    pub(crate) fn value_leaves(&self) -> bool {
        self.grid.iter().any(|(_, marks)| !marks.contains('x') && *marks != "-")
    }

    /// The names of the grid's lines: columns, or metrics.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.grid.iter().map(|line| line.0)
    }

    fn rows(&self) -> Vec<Row> {
        let marks = |line: &'static str, at: usize| {
            let marks: Vec<&str> = line.split(' ').collect();
            assert!(marks.len() == 1 || marks.len() == self.axis.len(), "{}: {line}", self.table);
            if marks.len() == 1 { marks[0] } else { marks[at] }
        };
        let value = |name: &str, at: usize| canary(&format!("{}/{name}/{at}", self.table));
        let mut rows = Vec::new();
        let lines: Vec<&[(&str, &str)]> = if self.is_long() { self.grid.chunks(1).collect() } else { vec![self.grid] };
        for lines in lines {
            for (at, source) in self.axis.iter().enumerate() {
                let id = rows.len() + 1;
                let cell = |line: &(&'static str, &'static str)| {
                    (if self.is_long() { "value" } else { line.0 }, value(line.0, at), marks(line.1, at))
                };
                let mut cells: Vec<_> = lines.iter().map(cell).collect();
                // A column that nobody denies, to see the row by.
                cells.insert(0, ("free", canary(&format!("{}/free/{id}", self.table)), "="));
                let metric = lines[0].0;
                rows.push(Row { id, source: *source, metric: (metric != "null").then_some(metric), cells });
            }
        }
        rows
    }

    /// The table and its rows, all of them on the day that is exported.
    pub(crate) fn in_warehouse(&self) -> String {
        let quoted = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let rows = self.rows();
        let columns: Vec<&str> = rows[0].cells.iter().map(|cell| cell.0).collect();
        let mut sql = format!(
            "CREATE TABLE {} (id bigint, at timestamptz, src text, metric text, {} text);\n",
            self.table,
            columns.join(" text, ")
        );
        for row in &rows {
            let values: Vec<String> = row.cells.iter().map(|cell| format!("'{}'", cell.1)).collect();
            let (source, metric) = (quoted(row.source), quoted(row.metric));
            writeln!(
                sql,
                "INSERT INTO {} VALUES ({}, '2026-03-02T12:00Z', {source}, {metric}, {});",
                self.table,
                row.id,
                values.join(", ")
            )
            .unwrap();
        }
        sql
    }

    /// Its rules, as somebody writes them by SQL.
    pub(crate) fn rules(&self) -> String {
        let table = self.table;
        let mut sql = format!(
            "INSERT INTO export_tables (table_name, time_column, {}) VALUES ('{table}', 'at', {});\n",
            self.settings.0, self.settings.1
        );
        let mut columns = vec![("id", "nr"), ("at", "nr"), ("free", "nr")];
        let restrict = |kind: &str, name: &str, action: &str| {
            format!(
                "INSERT INTO column_restrictions (table_name, kind, name, action, params, expires_at) \
                 VALUES ('{table}', '{kind}', '{name}', {action});\n"
            )
        };
        for (kind, name, rule) in self.ruled() {
            let (code, action) = rule_of(rule, kind);
            match (kind, code) {
                ("column", Some(code)) => columns.push((name, code)),
                ("metric", Some(code)) => {
                    writeln!(
                        sql,
                        "INSERT INTO long_table_data_classifications VALUES ('{table}', '{name}', '{code}');"
                    )
                    .unwrap();
                }
                _ => {}
            }
            if let Some(action) = action {
                sql.push_str(&restrict(kind, name, action));
            }
        }
        for (name, code) in columns {
            writeln!(sql, "INSERT INTO data_column_classification VALUES ('{table}', '{name}', '{code}');").unwrap();
        }
        if self.asks_source() {
            sql.push_str(&restrict("source", "DELTA", "'pseudonym', '{\"domain\": \"source\"}', NULL"));
            sql.push_str(&restrict("source", "FOXTROT", "'truncate', '{\"length\": 12}', '2020-01-01'"));
            sql.push_str(&restrict("source", "GOLF", "'drop', '{}', NULL"));
        }
        sql
    }

    /// What there may be a rule about: kind, name, and the name of its rule.
    pub(crate) fn ruled(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        let kind = if self.is_long() { "metric" } else { "column" };
        let mut ruled: Vec<_> = self.names().map(|name| (kind, name, name)).collect();
        ruled.extend(self.value.map(|value| ("column", "value", value)));
        ruled
    }

    /// The columns that must be in the files, in order.
    fn columns(&self) -> Vec<&'static str> {
        let rows = self.rows();
        let there = |column: &&str| {
            rows.iter().flat_map(|row| &row.cells).any(|cell| cell.0 == *column && !matches!(cell.2, "x" | "-"))
        };
        let names = rows[0].cells.iter().map(|cell| cell.0);
        ["id", "at"].into_iter().chain(names.filter(there)).collect()
    }

    /// The values that must not be in any file, and those that must.
    pub(crate) fn canaries(&self) -> (Vec<String>, Vec<String>) {
        let mut canaries = (Vec::new(), Vec::new());
        for row in self.rows() {
            let leaves = row.leaves();
            for (_, value, mark) in row.cells {
                if leaves && mark == "=" { canaries.1.push(value) } else { canaries.0.push(value) }
            }
        }
        canaries
    }

    /// Where what has left differs from the grid, cell by cell; nothing where it is the same.
    pub(crate) fn differences(&self, found: &[Content]) -> Vec<String> {
        let table = self.table;
        if found.is_empty() {
            return vec![format!("{table} has no files")];
        }
        let mut wrong = Vec::new();
        let mut rows: BTreeMap<usize, BTreeMap<&str, Option<&str>>> = BTreeMap::new();
        for file in found {
            if file.columns != self.columns() {
                wrong.push(format!("{table} has the columns {:?} instead of {:?}", file.columns, self.columns()));
            }
            for row in &file.rows {
                let cells: BTreeMap<&str, Option<&str>> =
                    file.columns.iter().map(String::as_str).zip(row.iter().map(Option::as_deref)).collect();
                let id = cells.get("id").copied().flatten().and_then(|id| id.parse().ok()).unwrap_or_default();
                if rows.insert(id, cells).is_some() {
                    wrong.push(format!("{table} has row {id} twice"));
                }
            }
        }
        let mut expected = BTreeSet::new();
        for row in self.rows().iter().filter(|row| row.leaves()) {
            expected.insert(row.id);
            let place = format!("{table}, row {} ({:?}, {:?})", row.id, row.source, row.metric);
            let Some(cells) = rows.get(&row.id) else {
                wrong.push(format!("{place} is missing"));
                continue;
            };
            for (column, value, mark) in &row.cells {
                let want = match *mark {
                    "x" => None,
                    "0" => Some(None),
                    marks => Some(Some(changed(value, marks))),
                };
                let got = cells.get(column).map(|cell| cell.map(str::to_owned));
                if got != want {
                    wrong.push(format!("{place}, {column}: {got:?} instead of {want:?}"));
                }
            }
        }
        wrong.extend(rows.keys().filter(|id| !expected.contains(id)).map(|id| format!("{table}, row {id} has left")));
        wrong
    }
}

/// All tables, those that are hidden too.
pub(crate) fn warehouse() -> String {
    let mut sql: String = SHEETS.iter().map(Sheet::in_warehouse).collect();
    for table in HIDDEN {
        let value = canary(table);
        writeln!(
            sql,
            "CREATE TABLE {table} (at timestamptz, free text); \
             INSERT INTO {table} VALUES ('2026-03-02T12:00Z', '{value}');"
        )
        .unwrap();
    }
    sql
}

/// All rules, instead of those of these tables that there are.
pub(crate) fn rules() -> String {
    let tables: Vec<String> = SHEETS
        .iter()
        .map(|sheet| sheet.table)
        .chain(HIDDEN.iter().copied())
        .map(|table| format!("'{table}'"))
        .collect();
    let tables = tables.join(", ");
    let sources: Vec<String> = SOURCES.iter().flatten().map(|source| format!("'{source}'")).collect();
    let mut sql = String::new();
    for rules in
        ["export_tables", "data_column_classification", "long_table_data_classifications", "column_restrictions"]
    {
        writeln!(sql, "DELETE FROM {rules} WHERE table_name IN ({tables});").unwrap();
    }
    writeln!(sql, "DELETE FROM actual_data_classifications WHERE source IN ({});", sources.join(", ")).unwrap();
    for (source, code) in SOURCE_RULES {
        writeln!(sql, "INSERT INTO actual_data_classifications VALUES ('{source}', '{code}');").unwrap();
    }
    sql.extend(SHEETS.iter().map(Sheet::rules));
    sql.push_str("INSERT INTO export_tables (table_name, time_column, enabled) VALUES ('disabled', 'at', false);\n");
    for table in HIDDEN {
        for column in ["at", "free"] {
            writeln!(sql, "INSERT INTO data_column_classification VALUES ('{table}', '{column}', 'nr');").unwrap();
        }
    }
    sql
}

/// The values that must not be in any file, and those that must, of all tables.
pub(crate) fn canaries() -> (Vec<String>, Vec<String>) {
    let (mut denied, mut granted) = (Vec::new(), Vec::new());
    for sheet in SHEETS {
        let (of_denied, of_granted) = sheet.canaries();
        denied.extend(of_denied);
        granted.extend(of_granted);
    }
    denied.extend(HIDDEN.iter().map(|table| canary(table)));
    (denied, granted)
}
