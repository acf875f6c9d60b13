//! The rules as files: read with the line of every error, written so that reading gives the same rows.

use std::str::FromStr;

use chrono::NaiveDate;

use super::check::{self, Placed};
use super::error::{Place, RuleError, RuleErrors};
use super::pii::PiiText;
use super::rows::{self, ColumnRule, ExportTable, MetricRule, Restriction, SourceRule};
use super::table::RuleTable;
use super::{Rows, RuleSet};
use crate::code::Code;
use crate::table::TableName;

/// A file of rules that somebody has read already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleFile<'a> {
    /// Its name without folders, such as `export_tables.csv`; errors show it.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

pub(super) fn parse(files: &[RuleFile<'_>]) -> Result<RuleSet, RuleErrors> {
    let mut placed = Placed::default();
    let mut errors = Vec::new();
    for file in files {
        let Some(table) = RuleTable::of_file(file.name) else {
            if file.name.ends_with(".csv") {
                let known = RuleTable::ALL.map(RuleTable::file_name).join(", ");
                let pii = RuleTable::PiiRules.file_name();
                errors.push(in_file(file.name, format!("no table has this name; the files are {known} and {pii}")));
            }
            continue;
        };
        if files.iter().filter(|other| other.name == file.name).count() > 1 {
            errors.push(in_file(file.name, "given more than once".to_owned()));
            continue;
        }
        match table {
            RuleTable::ExportTables => read(file, table, &mut placed.tables, &mut errors, export_table),
            RuleTable::DataColumnClassification => read(file, table, &mut placed.columns, &mut errors, column_rule),
            RuleTable::ActualDataClassifications => read(file, table, &mut placed.sources, &mut errors, source_rule),
            RuleTable::LongTableDataClassifications => read(file, table, &mut placed.metrics, &mut errors, metric_rule),
            RuleTable::ColumnRestrictions => read(file, table, &mut placed.restrictions, &mut errors, restriction),
            RuleTable::PiiRules => match PiiText::parse(file.name, file.text) {
                Ok(pii) => placed.pii = pii,
                Err(wrong) => errors.extend(wrong),
            },
        }
    }
    for table in RuleTable::ALL {
        let name = table.file_name();
        if !files.iter().any(|file| file.name == name) {
            errors
                .push(in_file(&name, format!("missing; without rows it is its header: {}", table.columns().join(","))));
        }
    }
    let pii = RuleTable::PiiRules.file_name();
    if !files.iter().any(|file| file.name == pii) {
        let message = "missing; an empty one searches for everything that is known and redacts it";
        errors.push(in_file(&pii, message.to_owned()));
    }
    check::build(placed, errors)
}

fn in_file(file: &str, message: String) -> RuleError {
    RuleError { place: Place::File { file: file.to_owned() }, message }
}

/// Reads one file's records; rows that cannot be read leave errors instead.
fn read<T>(
    file: &RuleFile<'_>,
    table: RuleTable,
    rows: &mut Vec<(Place, T)>,
    errors: &mut Vec<RuleError>,
    row: fn(&mut Cells<'_>) -> Option<T>,
) {
    // Spreadsheets put a byte order mark before the header.
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(file.text);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut lines = Lines { text, offset: 0, line: 1 };
    let mut header: Option<Vec<String>> = None;
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                errors.push(in_file(file.name, format!("not CSV: {error}")));
                return;
            }
        };
        let line = lines.of(record.position().map_or(0, csv::Position::byte));
        let place = Place::Line { file: file.name.to_owned(), line };
        let mut problems = Vec::new();
        match &header {
            None => {
                header_problems(&record, table, &mut problems);
                if problems.is_empty() {
                    header = Some(record.iter().map(str::to_owned).collect());
                }
            }
            Some(header) if record.len() != header.len() => {
                problems.push(format!("{} cells where the header has {}", record.len(), header.len()));
            }
            Some(header) => {
                let mut cells = Cells { header, record: &record, problems: &mut problems };
                rows.extend(row(&mut cells).map(|row| (place.clone(), row)));
            }
        }
        errors.extend(problems.into_iter().map(|message| RuleError { place: place.clone(), message }));
        if header.is_none() {
            return;
        }
    }
    if header.is_none() {
        errors.push(in_file(file.name, format!("empty; its header is: {}", table.columns().join(","))));
    }
    // A quote that is never closed swallows every row behind it without an error of the reader.
    if text.bytes().filter(|&byte| byte == b'"').count() % 2 == 1 {
        errors.push(in_file(file.name, "a quote is opened and never closed, or stands alone in a cell".to_owned()));
    }
}

fn header_problems(record: &csv::StringRecord, table: RuleTable, problems: &mut Vec<String>) {
    for (position, name) in record.iter().enumerate() {
        if !table.columns().contains(&name) {
            problems.push(format!("unknown column '{name}'; the columns are {}", table.columns().join(",")));
        } else if record.iter().take(position).any(|other| other == name) {
            problems.push(format!("column '{name}' stands twice in the header"));
        }
    }
    for column in table.columns() {
        if !table.came_later(column) && !record.iter().any(|name| name == *column) {
            problems.push(format!("column '{column}' is missing; the columns are {}", table.columns().join(",")));
        }
    }
}

/// Counts lines up to growing byte positions.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at or after `byte`: the reader counts empty lines before it as its own.
    fn of(&mut self, byte: u64) -> u64 {
        let bytes = self.text.as_bytes();
        let byte = usize::try_from(byte).map_or(bytes.len(), |byte| byte.min(bytes.len()));
        while self.offset < bytes.len() {
            let current = bytes[self.offset];
            if self.offset >= byte && current != b'\n' && current != b'\r' {
                break;
            }
            self.line += u64::from(current == b'\n');
            self.offset += 1;
        }
        self.line
    }
}

/// The cells of a record. Each getter notes what is wrong and answers `None` only then.
struct Cells<'a> {
    header: &'a [String],
    record: &'a csv::StringRecord,
    problems: &'a mut Vec<String>,
}

impl Cells<'_> {
    /// The cell's text; an empty cell is NULL.
    fn get(&self, column: &str) -> Option<&str> {
        let position = self.header.iter().position(|name| name == column)?;
        self.record.get(position).filter(|text| !text.is_empty())
    }

    fn optional(&mut self, column: &str) -> Option<String> {
        self.get(column).map(str::to_owned)
    }

    fn named(&mut self, column: &str) -> Option<String> {
        let text = self.optional(column);
        if text.is_none() {
            self.problems.push(format!("{column} is empty"));
        }
        text
    }

    fn table(&mut self) -> Option<TableName> {
        let text = self.named("table_name")?;
        text.parse().map_err(|error| self.problems.push(format!("table_name: {error}"))).ok()
    }

    /// A word, or the default for an empty cell.
    fn word<T: FromStr<Err: std::fmt::Display>>(&mut self, column: &str, default: T) -> Option<T> {
        self.word_or_none(column).map(|word| word.unwrap_or(default))
    }

    fn word_or_none<T: FromStr<Err: std::fmt::Display>>(&mut self, column: &str) -> Option<Option<T>> {
        let Some(text) = self.get(column) else { return Some(None) };
        match text.parse() {
            Ok(word) => Some(Some(word)),
            Err(error) => {
                self.problems.push(format!("{column}: {error}"));
                None
            }
        }
    }

    fn boolean(&mut self, column: &str, default: bool) -> Option<bool> {
        self.word(column, Boolean(default)).map(|Boolean(value)| value)
    }
}

/// A truth value as people write it and as PostgreSQL's COPY does.
struct Boolean(bool);

impl FromStr for Boolean {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" | "t" => Ok(Self(true)),
            "false" | "f" => Ok(Self(false)),
            _ => Err(format!("'{text}' is not a truth value: write true or false")),
        }
    }
}

/// A calendar date as `YYYY-MM-DD`.
struct Day(NaiveDate);

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // chrono alone would take "2027-1-5" and "+2027-01-05" too.
        let exact = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| exact);
        day.map(Self).ok_or_else(|| format!("'{text}' is not a date: write YYYY-MM-DD"))
    }
}

/// A JSON document.
struct Json(serde_json::Value);

impl FromStr for Json {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text).map(Self).map_err(|error| format!("not JSON: {error}"))
    }
}

fn export_table(cells: &mut Cells<'_>) -> Option<ExportTable> {
    let table_name = cells.table();
    let enabled = cells.boolean("enabled", rows::yes());
    let on_demand = cells.boolean("on_demand", rows::yes());
    let scheduled = cells.boolean("scheduled", rows::yes());
    let time_unit = cells.word("time_unit", rows::timestamp());
    let denied_cell = cells.word("denied_cell", rows::drop_row());
    let strict = cells.boolean("strict", false);
    let format = cells.word_or_none("format");
    let type_profile = cells.word_or_none("type_profile");
    let compression = cells.word_or_none("compression");
    let whole_export = cells.word_or_none("whole_export");
    let scheduled_tenants = cells.word_or_none("scheduled_tenants");
    Some(ExportTable {
        table_name: table_name?,
        enabled: enabled?,
        on_demand: on_demand?,
        scheduled: scheduled?,
        time_column: cells.optional("time_column"),
        time_unit: time_unit?,
        time_zone: cells.optional("time_zone").unwrap_or_else(rows::utc),
        source_column: cells.optional("source_column"),
        metric_column: cells.optional("metric_column"),
        value_column: cells.optional("value_column"),
        tenant_column: cells.optional("tenant_column"),
        denied_cell: denied_cell?,
        strict: strict?,
        format: format?,
        type_profile: type_profile?,
        compression: compression?,
        whole_export: whole_export?,
        scheduled_tenants: scheduled_tenants?,
    })
}

fn classification(cells: &mut Cells<'_>) -> Option<Code> {
    cells.word("classification", rows::denied())
}

fn column_rule(cells: &mut Cells<'_>) -> Option<ColumnRule> {
    let (table_name, column_name, classification) = (cells.table(), cells.named("column_name"), classification(cells));
    let until = cells.word_or_none::<Day>("pii_exempt_until");
    Some(ColumnRule {
        table_name: table_name?,
        column_name: column_name?,
        classification: classification?,
        pii_exempt_by: cells.optional("pii_exempt_by"),
        pii_exempt_reason: cells.optional("pii_exempt_reason"),
        pii_exempt_until: until?.map(|Day(day)| day),
    })
}

fn source_rule(cells: &mut Cells<'_>) -> Option<SourceRule> {
    let (source, classification) = (cells.named("source"), classification(cells));
    Some(SourceRule { source: source?, classification: classification? })
}

fn metric_rule(cells: &mut Cells<'_>) -> Option<MetricRule> {
    let (table_name, metric_name, classification) = (cells.table(), cells.named("metric_name"), classification(cells));
    Some(MetricRule { table_name: table_name?, metric_name: metric_name?, classification: classification? })
}

fn restriction(cells: &mut Cells<'_>) -> Option<Restriction> {
    let (table_name, name) = (cells.table(), cells.named("name"));
    let kind = cells.word("kind", rows::column());
    let action = cells.word("action", rows::drop_it());
    let params = cells.word("params", Json(rows::no_params()));
    let expires_at = cells.word_or_none::<Day>("expires_at");
    Some(Restriction {
        table_name: table_name?,
        kind: kind?,
        name: name?,
        action: action?,
        params: params?.0,
        owner: cells.optional("owner"),
        reason: cells.optional("reason"),
        expires_at: expires_at?.map(|Day(day)| day),
    })
}

pub(super) fn write(rules: &RuleSet, table: RuleTable) -> String {
    let Rows {
        export_tables,
        data_column_classification,
        actual_data_classifications,
        long_table_data_classifications,
        column_restrictions,
        pii_rules: _,
    } = rules.rows();
    let records: Vec<Vec<String>> = match table {
        RuleTable::ExportTables => export_tables.into_iter().map(export_table_cells).collect(),
        RuleTable::DataColumnClassification => data_column_classification.into_iter().map(column_cells).collect(),
        RuleTable::ActualDataClassifications => actual_data_classifications
            .into_iter()
            .map(|rule| vec![rule.source, rule.classification.to_string()])
            .collect(),
        RuleTable::LongTableDataClassifications => long_table_data_classifications
            .into_iter()
            .map(|rule| vec![rule.table_name.to_string(), rule.metric_name, rule.classification.to_string()])
            .collect(),
        RuleTable::ColumnRestrictions => column_restrictions.into_iter().map(restriction_cells).collect(),
        RuleTable::PiiRules => return rules.pii_text().to_owned(),
    };
    let mut text = line(table.columns());
    for record in &records {
        text.push_str(&line(record));
    }
    text
}

/// One line of CSV. Cells are quoted where their text would be read as anything else.
fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let mut line = String::new();
    for (position, cell) in cells.iter().map(AsRef::as_ref).enumerate() {
        if position > 0 {
            line.push(',');
        }
        if cell.contains(['"', ',', '\n', '\r']) {
            line.push('"');
            line.push_str(&cell.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(cell);
        }
    }
    line.push('\n');
    line
}

fn export_table_cells(row: ExportTable) -> Vec<String> {
    vec![
        row.table_name.to_string(),
        row.enabled.to_string(),
        row.on_demand.to_string(),
        row.scheduled.to_string(),
        row.time_column.unwrap_or_default(),
        row.time_unit.to_string(),
        row.time_zone,
        row.source_column.unwrap_or_default(),
        row.metric_column.unwrap_or_default(),
        row.value_column.unwrap_or_default(),
        row.tenant_column.unwrap_or_default(),
        row.denied_cell.to_string(),
        row.strict.to_string(),
        row.format.map(|format| format.to_string()).unwrap_or_default(),
        row.type_profile.map(|profile| profile.to_string()).unwrap_or_default(),
        row.compression.map(|compression| compression.to_string()).unwrap_or_default(),
        row.whole_export.map(|when| when.to_string()).unwrap_or_default(),
        row.scheduled_tenants.map(|whose| whose.to_string()).unwrap_or_default(),
    ]
}

fn column_cells(row: ColumnRule) -> Vec<String> {
    vec![
        row.table_name.to_string(),
        row.column_name,
        row.classification.to_string(),
        row.pii_exempt_by.unwrap_or_default(),
        row.pii_exempt_reason.unwrap_or_default(),
        row.pii_exempt_until.map(|day| day.to_string()).unwrap_or_default(),
    ]
}

fn restriction_cells(row: Restriction) -> Vec<String> {
    vec![
        row.table_name.to_string(),
        row.kind.to_string(),
        row.name,
        row.action.to_string(),
        row.params.to_string(),
        row.owner.unwrap_or_default(),
        row.reason.unwrap_or_default(),
        row.expires_at.map(|day| day.to_string()).unwrap_or_default(),
    ]
}
