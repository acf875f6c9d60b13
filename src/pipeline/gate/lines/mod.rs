//! CSV and JSONL as they come by: one pass over the object, decompressed and cut into records as a stream, with one
//! record in memory and a batch of what the policy's conditions ask for.
//!
//! The reader knows one form of each format, the exporter's own, and refuses every other: what it would have to guess,
//! a reader elsewhere may guess otherwise. It shares no code with what writes the files.

mod cells;
mod csv;
mod jsonl;
mod records;
pub(super) mod types;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

use self::cells::Cells;
use self::csv::{Guard, Malformed};
use self::records::{LONGEST, Pieces, Records};
use self::types::Form;
use super::GateReport;
use super::read::{Reader, Refusal};
use super::search::Column;
use super::times::Times;
use crate::jobs::{ExportFormat, FileForm};
use crate::pipeline::plan::TablePlan;

/// Lines that count as a row group, where only some of them are searched.
const GROUP_ROWS: u64 = 1 << 16;
/// Values of a column that are remembered, so that each is searched once.
const REMEMBERED: usize = 4096;
/// Longer values are not remembered.
const LONGEST_REMEMBERED: usize = 128;

/// What is known of a file of lines before it is read through.
#[derive(Debug)]
pub(super) struct ExpectedLines {
    pub(super) form: FileForm,
    pub(super) columns: Vec<ExpectedColumn>,
    pub(super) size: u64,
    /// How many rows it must have; `None` where whoever asks counts himself.
    pub(super) rows: Option<u64>,
    /// In hex; `None` where whoever sends the pieces hashes them.
    pub(super) sha256: Option<String>,
    /// Its place among the table's files.
    pub(super) ordinal: u64,
    /// The time range that rows are counted by.
    pub(super) times: Option<Times>,
}

/// A column of lines.
#[derive(Debug)]
pub(super) struct ExpectedColumn {
    name: String,
    form: Form,
    /// Whether its values are texts to whoever searches them.
    text: bool,
    /// Whether texts that begin like a formula have a `'` before them.
    guarded: bool,
}

impl ExpectedColumn {
    /// Takes any text for one of its values where the kind of its texts is not known.
    pub(super) fn unknown(&mut self) {
        if matches!(self.form, Form::Text | Form::NumberText | Form::Json) {
            (self.form, self.guarded) = (Form::Json, false);
        }
    }
}

impl ExpectedLines {
    /// The columns of a plan.
    pub(super) fn columns(plan: &TablePlan) -> Vec<ExpectedColumn> {
        let guards = plan.form.format == ExportFormat::Csv && plan.form.formula_guard;
        let columns = plan.policy.columns.iter().zip(&plan.manifest_types);
        columns
            .map(|(column, manifest_type)| {
                let form = Form::of(column, manifest_type, plan.options.get(&column.name));
                let text = manifest_type == "character varying";
                let guarded = guards && text && form != Form::NumberText;
                ExpectedColumn { name: column.name.clone(), form, text, guarded }
            })
            .collect()
    }

    fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }
}

impl Reader {
    /// Reads a file of lines whose pieces come in order. `None` when they ended before the file: whoever sent them
    /// knows why. Blocks: not for a reactor's thread.
    pub(super) fn read_lines(
        &self,
        expected: &ExpectedLines,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Option<GateReport>, Refusal> {
        let mut pieces = Pieces::new(pieces, expected.size);
        let mut file = File::new(self, expected);
        let walked = records::plain(&mut pieces, expected.form.compression)
            .map_err(|_| broken("cannot be decompressed"))
            .and_then(|plain| file.walk(plain));
        if pieces.silent() {
            return Ok(None);
        }
        walked?;
        if !pieces.all_read() {
            return Err(broken("goes on after its compressed end"));
        }
        let sha256 = pieces.sha256();
        if expected.sha256.as_ref().is_some_and(|expected| *expected != sha256) {
            return Err(broken("has another SHA-256 than what was staged"));
        }
        file.finish()
    }
}

fn broken(what: impl Into<String>) -> Refusal {
    Refusal::Broken(what.into())
}

/// A file on its way through the checks.
struct File<'r> {
    reader: &'r Reader,
    expected: &'r ExpectedLines,
    places: Vec<Place<'r>>,
    /// The place of the column that rows are counted by, if its values can tell.
    timed: Option<(usize, &'r Times)>,
    cells: Cells<'r>,
    rows: u64,
    report: GateReport,
}

/// What is done with the values of one column.
struct Place<'r> {
    column: &'r ExpectedColumn,
    searching: Option<Searching<'r>>,
    guarded: u64,
}

impl<'r> File<'r> {
    fn new(reader: &'r Reader, expected: &'r ExpectedLines) -> Self {
        let places = expected.columns.iter().map(|column| {
            let searched = reader.searched.iter().find(|(name, _)| *name == column.name);
            let searched = searched.filter(|_| column.form != Form::Geometry);
            let searching = searched.zip(reader.search.as_ref()).map(|((_, json), search)| Searching {
                column: Column::new(search, *json || column.form == Form::Json),
                values: 0,
                seen: Some(HashSet::new()),
                known: 0,
            });
            Place { column, searching, guarded: 0 }
        });
        let columns = expected.columns.iter().map(|column| (column.name.as_str(), column.form));
        let cells = Cells::new(&reader.checks, columns);
        let timed = expected.times.as_ref().and_then(|times| {
            let named = |column: &ExpectedColumn| column.name == times.column && times.reads(column.form);
            expected.columns.iter().position(named).map(|number| (number, times))
        });
        let report = GateReport { outside: timed.map(|_| 0), ..GateReport::default() };
        Self { reader, expected, places: places.collect(), timed, cells, rows: 0, report }
    }

    /// Checks every record.
    fn walk(&mut self, plain: impl Read) -> Result<(), Refusal> {
        let mut searched = self.places.iter().filter(|place| place.searching.is_some());
        if let Some(place) = searched.find(|place| !place.column.text) {
            let name = &place.column.name;
            return Err(broken(format!("holds '{name}' in a type that cannot be searched for personal data")));
        }
        let csv = self.expected.form.format == ExportFormat::Csv;
        let names = self.expected.names();
        let mut records = Records::new(plain, csv);
        if csv {
            let header = next(&mut records, csv, 0)?.ok_or_else(|| broken("has no header"))?;
            let found = fields(header).map_err(|Malformed| broken("has a header that is no CSV"))?;
            if !found.iter().map(Option::as_deref).eq(names.iter().map(|name| Some(*name))) {
                return Err(other_columns("a header with", &names));
            }
        }
        loop {
            let row = self.rows;
            let Some(record) = next(&mut records, csv, row)? else { break };
            if Some(row) == self.expected.rows {
                return Err(broken(format!("has more than {row} rows")));
            }
            let searches = self.reader.samples(self.expected.ordinal, row / GROUP_ROWS);
            if row.is_multiple_of(GROUP_ROWS) {
                self.report.row_groups += 1;
                self.report.searched += u64::from(searches);
            }
            if csv {
                self.csv(record, searches)?
            } else {
                self.jsonl(record, &names, searches)?
            }
            self.rows += 1;
            self.cells.end_row(|batch| self.reader.check(batch))?;
        }
        if let Some(rows) = self.expected.rows.filter(|rows| *rows != self.rows) {
            return Err(broken(format!("has {} rows instead of {rows}", self.rows)));
        }
        self.cells.flush(|batch| self.reader.check(batch))
    }

    fn csv(&mut self, record: &str, searches: bool) -> Result<(), Refusal> {
        let malformed = |row: u64| broken(format!("has a row {row} that is no CSV of its columns"));
        let mut left = Some(record);
        for number in 0..self.places.len() {
            let rest = left.ok_or_else(|| malformed(self.rows))?;
            let (value, next) = csv::field(rest).map_err(|Malformed| malformed(self.rows))?;
            let value = match value {
                Some(text) if self.places[number].column.guarded => Some(self.unguard(number, text)?),
                other => other,
            };
            self.take(number, value.as_deref(), searches)?;
            left = next;
        }
        if left.is_some() { Err(malformed(self.rows)) } else { Ok(()) }
    }

    fn unguard<'t>(&mut self, number: usize, text: Cow<'t, str>) -> Result<Cow<'t, str>, Refusal> {
        let place = &mut self.places[number];
        match csv::unguarded(&text) {
            Guard::Free(_) => Ok(text),
            Guard::Guarded(_) => {
                place.guarded += 1;
                Ok(match text {
                    Cow::Borrowed(text) => Cow::Borrowed(&text[1..]),
                    Cow::Owned(text) => Cow::Owned(text[1..].to_owned()),
                })
            }
            Guard::Missing => {
                let name = &place.column.name;
                Err(broken(format!("holds a value of '{name}' that a spreadsheet takes for a formula")))
            }
        }
    }

    fn jsonl(&mut self, record: &str, names: &[&str], searches: bool) -> Result<(), Refusal> {
        let walked = jsonl::object(record, names, &mut |number, raw| {
            if raw == "null" {
                return self.take(number, None, searches);
            }
            let column = self.places[number].column;
            let text = column.form.of_json(raw).ok_or_else(|| other_value(column))?;
            self.take(number, Some(&text), searches)
        });
        walked.map_err(|trouble| match trouble {
            jsonl::Trouble::Malformed => broken(format!("has a row {} that is no JSON object", self.rows)),
            jsonl::Trouble::Keys => other_columns(&format!("a row {} with", self.rows), names),
            jsonl::Trouble::Value(refusal) => refusal,
        })
    }

    /// Checks a value of a column, and keeps what is checked later.
    fn take(&mut self, number: usize, text: Option<&str>, searches: bool) -> Result<(), Refusal> {
        let place = &mut self.places[number];
        if let Some(text) = text {
            if !place.column.form.admits(text) {
                return Err(other_value(place.column));
            }
            if let Some(searching) = place.searching.as_mut().filter(|_| searches) {
                searching.add(text);
            }
        }
        if let Some((_, times)) = self.timed.filter(|(timed, _)| *timed == number)
            && text.is_none_or(|text| times.text_outside(text))
        {
            self.report.outside = self.report.outside.map(|outside| outside + 1);
        }
        self.cells.add(number, text);
        Ok(())
    }

    /// What was read; or the personal data in it.
    fn finish(mut self) -> Result<Option<GateReport>, Refusal> {
        let mut personal = BTreeMap::new();
        for place in self.places {
            let name = &place.column.name;
            if place.guarded > 0 {
                self.report.guarded.insert(name.clone(), place.guarded);
            }
            if let Some(searching) = place.searching {
                self.report.values += searching.values;
                let found = searching.column.finish();
                self.report.distinct += found.values;
                personal.extend(found.labels.into_iter().map(|(label, count)| ((name.clone(), label), count)));
            }
        }
        self.report.rows = self.rows;
        if personal.is_empty() { Ok(Some(self.report)) } else { Err(Refusal::Personal(personal)) }
    }
}

/// The next record without its line end.
fn next<R: Read>(records: &mut Records<R>, csv: bool, row: u64) -> Result<Option<&str>, Refusal> {
    let record = records.next().map_err(|trouble| match trouble {
        records::Trouble::Source => broken("cannot be decompressed"),
        records::Trouble::Unended => broken("ends in the middle of a row"),
        records::Trouble::TooLong => broken(format!(
            "has a row {row} of more than {} MiB, which no file of lines may have; export the table as Parquet",
            LONGEST >> 20
        )),
    })?;
    let Some(record) = record else { return Ok(None) };
    let record = if csv {
        record.strip_suffix(b"\r").ok_or_else(|| broken(format!("has a row {row} that does not end with CRLF")))?
    } else {
        record
    };
    let text = std::str::from_utf8(record).map_err(|_| broken(format!("has a row {row} that is not UTF-8")))?;
    Ok(Some(text))
}

fn fields(record: &str) -> Result<Vec<Option<Cow<'_, str>>>, Malformed> {
    let (mut found, mut left) = (Vec::new(), Some(record));
    while let Some(rest) = left {
        let (value, next) = csv::field(rest)?;
        found.push(value);
        left = next;
    }
    Ok(found)
}

/// What was found is not told: where a header is missing, it is a row.
fn other_columns(what: &str, names: &[&str]) -> Refusal {
    Refusal::Columns(format!("has {what} other columns, or in another order, where the policy grants {names:?}"))
}

fn other_value(column: &ExpectedColumn) -> Refusal {
    broken(format!("holds a value of '{}' that is no {}", column.name, column.form.name()))
}

/// One column on its way through the search.
struct Searching<'r> {
    column: Column<'r>,
    values: u64,
    /// Short values that were handed to the search; `None` where they do not repeat themselves.
    seen: Option<HashSet<Box<str>>>,
    /// How often one of them came again.
    known: usize,
}

impl Searching<'_> {
    fn add(&mut self, text: &str) {
        self.values += 1;
        if let Some(seen) = self.seen.as_mut().filter(|_| text.len() <= LONGEST_REMEMBERED) {
            if seen.contains(text) {
                self.known += 1;
                return;
            }
            seen.insert(text.into());
            if seen.len() == REMEMBERED {
                seen.clear();
                if self.known < REMEMBERED {
                    self.seen = None;
                }
                self.known = 0;
            }
        }
        self.column.push(std::iter::once(text));
    }
}
