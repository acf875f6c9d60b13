//! Published files read again, by what a manifest says of them: for whoever verifies an export, and has neither its plan
//! nor the database. The checks are the gate's own. It fetches nothing, and it stops no export.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use classification::{ColumnKind, Policy, PolicyColumn, Predicate, TableName};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::detect::Entity;
use super::lines::ExpectedLines;
use super::read::{Expected, Reader, Refusal};
use super::rules::PiiRules;
use super::times::{TimeColumn, Times};
use super::{Part, Ranges, footer_faults, is_flat, read_footer};
use crate::jobs::{ExportFormat, FileForm, Progress, Window};
use crate::pipeline::plan::TablePlan;
use crate::warehouse::{ColumnOptions, GeometryForm};

/// What is looked for in the texts of searched columns. Owners' own patterns are named and not told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sought {
    /// Entities with the least score of a finding.
    pub entities: BTreeMap<String, u8>,
    /// Names of owners' patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// Whether what was found may have left its last four characters.
    #[serde(default)]
    pub masks: bool,
}

impl Sought {
    /// What a policy's PII rules look for.
    ///
    /// # Errors
    /// What is wrong with the rules, without quoting them.
    pub(in crate::pipeline) fn of(pii_rules: &str) -> Result<Self, &'static str> {
        let rules = PiiRules::read(pii_rules)?;
        Ok(Self {
            entities: rules.entities.iter().map(|(entity, score)| (entity.label().to_owned(), *score)).collect(),
            patterns: rules.patterns.into_iter().map(|(name, _)| name).collect(),
            masks: rules.masks,
        })
    }

    /// What this program does not look for, or cannot: entities that it does not know, and patterns, which are not told.
    pub fn unknown(&self) -> Vec<&str> {
        let known: BTreeSet<&str> = Entity::ALL.iter().map(|entity| entity.label()).collect();
        let entities = self.entities.keys().map(String::as_str).filter(|name| !known.contains(name));
        entities.chain(self.patterns.iter().map(String::as_str)).collect()
    }

    /// As PII rules without patterns.
    fn rules(&self) -> String {
        let entry = |entity: &Entity| match self.entities.get(entity.label()) {
            Some(score) => {
                let action = if self.masks { "action = \"mask_last4\"\n" } else { "" };
                format!("[entities.{}]\nthreshold = {score}\n{action}", entity.label())
            }
            None => format!("[entities.{}]\nenabled = false\n", entity.label()),
        };
        Entity::ALL.iter().map(entry).collect()
    }
}

/// A column as a manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedColumn {
    /// Its name.
    pub name: String,
    /// Its type in the words of a manifest.
    pub manifest_type: String,
    /// What kind of values it has; `None` when the manifest does not say it.
    pub kind: Option<ColumnKind>,
    /// Whether its texts were searched for personal data.
    pub searched: bool,
}

/// The files of a table as a manifest describes them.
#[derive(Debug, Clone)]
pub struct Described {
    /// In the files' order.
    pub columns: Vec<DescribedColumn>,
    /// How they are written.
    pub form: FileForm,
    /// What they must name in their footers; `None` asks for nothing.
    pub policy_hash: Option<String>,
    /// What searched columns are searched for.
    pub sought: Sought,
    /// The column that tells a row's time.
    pub time: Option<TimeColumn>,
}

/// What is wrong with a file, in words that follow its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Other columns or types.
    Schema(String),
    /// Made under another policy.
    Policy(String),
    /// It cannot be read as what it should be.
    Content(String),
    /// Values that hold personal data: how many, by column and entity.
    Personal(BTreeMap<(String, String), u64>),
}

/// What was read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Rows that were decoded.
    pub rows: u64,
    /// Rows outside of the time range; `None` when that was not to be found out.
    pub outside: Option<u64>,
    /// Texts in searched columns.
    pub texts: u64,
}

/// A file that is about to be read through.
#[derive(Debug)]
pub struct Opened {
    expected: Expecting,
    /// What its footer shows to be wrong.
    pub wrong: Vec<Wrong>,
    /// Rows by its footer; lines have none.
    pub rows: Option<u64>,
}

#[derive(Debug)]
enum Expecting {
    Parquet(Box<Expected>),
    Lines(ExpectedLines),
    /// Nothing of it can be decoded.
    Nothing,
}

/// Reads the files of one table.
#[derive(Debug)]
pub struct Again {
    plan: TablePlan,
    reader: Reader,
    described: Described,
}

impl Again {
    /// By this description.
    ///
    /// # Errors
    /// When what is looked for cannot be.
    pub fn new(described: Described) -> Result<Self, &'static str> {
        let plan = plan(&described)?;
        let reader = Reader::new(&plan, 1.0, Arc::new(Progress::default()))?;
        Ok(Self { plan, reader, described })
    }

    /// Looks at a file of this size before it is read through. `range` is that of its rows' times.
    ///
    /// # Errors
    /// When a range of it did not come.
    pub async fn open<R: Ranges>(
        &self,
        size: u64,
        range: Option<[DateTime<Utc>; 2]>,
        file: &R,
    ) -> Result<Opened, R::Error> {
        let times = self.described.time.as_ref().zip(range).map(|(time, range)| Times::new(time, range));
        if self.plan.form.format != ExportFormat::Parquet {
            let mut columns = ExpectedLines::columns(&self.plan);
            if self.described.columns.iter().any(|column| column.kind.is_none()) {
                columns.iter_mut().for_each(|column| column.unknown());
            }
            let (rows, sha256, ordinal) = (None, None, 0);
            let expected = ExpectedLines { form: self.plan.form, columns, size, rows, sha256, ordinal, times };
            return Ok(Opened { expected: Expecting::Lines(expected), wrong: Vec::new(), rows: None });
        }
        let (footer, metadata) = match read_footer(size, file).await? {
            Ok(found) => found,
            Err(what) => {
                return Ok(Opened { expected: Expecting::Nothing, wrong: vec![Wrong::Content(what)], rows: None });
            }
        };
        let asked = |part: &Part| *part != Part::Policy || self.described.policy_hash.is_some();
        let faults = footer_faults(&footer, &metadata, &self.plan).into_iter().filter(|(part, _)| asked(part));
        let wrong = faults.map(|(part, what)| match part {
            Part::Schema => Wrong::Schema(what),
            Part::Policy => Wrong::Policy(what),
            Part::Content => Wrong::Content(what),
        });
        let wrong: Vec<Wrong> = wrong.collect();
        let rows = Some(footer.rows);
        // With other fields than columns nothing can be found in it.
        let expected = if is_flat(&footer, &metadata) {
            let expected = Expected { metadata, schema: footer.schema, size, sha256: None, ordinal: 0, times };
            Expecting::Parquet(Box::new(expected))
        } else {
            Expecting::Nothing
        };
        Ok(Opened { expected, wrong, rows })
    }

    /// Reads a file whose pieces come in order. `None` when they ended before the file, or when it cannot be decoded at
    /// all, which is known already. Blocks: not for a reactor's thread.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, opened: Opened, pieces: mpsc::Receiver<Bytes>) -> Result<Option<Known>, Wrong> {
        let read = match opened.expected {
            Expecting::Parquet(expected) => self.reader.read(*expected, pieces),
            Expecting::Lines(expected) => self.reader.read_lines(&expected, pieces),
            Expecting::Nothing => return Ok(None),
        };
        match read {
            Ok(report) => Ok(report.map(|read| Known { rows: read.rows, outside: read.outside, texts: read.values })),
            Err(Refusal::Broken(what)) => Err(Wrong::Content(what)),
            Err(Refusal::Columns(what)) => Err(Wrong::Schema(what)),
            Err(Refusal::Personal(found)) => Err(Wrong::Personal(found)),
        }
    }
}

/// A plan that grants every row and every value of these columns.
fn plan(described: &Described) -> Result<TablePlan, &'static str> {
    let columns = described.columns.iter().map(|column| PolicyColumn {
        name: column.name.clone(),
        sql_type: String::new(),
        kind: column.kind.unwrap_or(ColumnKind::Other),
        cell: Predicate::Always,
        care: Vec::new(),
        scan: column.searched,
    });
    // Bytes that were searched as text can only be geometries.
    let wkb = ColumnOptions { geometry: Some(GeometryForm::Wkb), ..ColumnOptions::default() };
    let bytes = described.columns.iter().filter(|column| column.searched && column.manifest_type == "binary varying");
    let options = bytes.map(|column| (column.name.clone(), wkb)).collect();
    let table: TableName = "verified".parse().map_err(|_| "a table has no name")?;
    let policy = Policy {
        table,
        columns: columns.collect(),
        rows: Predicate::Always,
        row_rules: Vec::new(),
        warnings: Vec::new(),
        pii_rules: described.sought.rules(),
        decisions: Vec::new(),
        hash: described.policy_hash.clone().unwrap_or_default(),
    };
    Ok(TablePlan {
        policy,
        window: Window { start: DateTime::<Utc>::MIN_UTC, end: DateTime::<Utc>::MAX_UTC },
        form: described.form,
        manifest_types: described.columns.iter().map(|column| column.manifest_type.clone()).collect(),
        options,
        day: None,
    })
}
