//! A manifest as it is found: anything may be in it. What is not known is passed over, what must be there is asked for,
//! and nothing of it is trusted, its names least of all.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::report::{CheckKind, Report};
use crate::jobs::{ExportFormat, FileForm};
use crate::pipeline::gate::{Described, DescribedColumn, Sought};

/// One file of a manifest.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name of a file, without any folder.
    pub name: String,
    /// Its address in object storage.
    pub url: Option<String>,
    /// Bytes.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// In hex.
    pub sha256: String,
    /// The half-open range of its rows' times.
    pub window: Option<[DateTime<Utc>; 2]>,
}

/// What a manifest says.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) entries: Vec<Entry>,
    pub(super) bytes: Option<u64>,
    pub(super) rows: Option<u64>,
    pub(super) window: Option<[DateTime<Utc>; 2]>,
    /// `None` where it does not say how to read the files.
    pub(super) described: Option<Described>,
    /// Whether it says what its columns hold.
    pub(super) says_columns: bool,
    table: String,
    job: String,
}

impl Manifest {
    /// Reads a manifest. What makes sense alone is kept, what does not is told to `report`.
    ///
    /// # Errors
    /// Why nothing of it can be used.
    pub(super) fn read(bytes: &Bytes, report: &mut Report) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Eof => "is cut off before its end".to_owned(),
            _ => "is no JSON".to_owned(),
        })?;
        if value.pointer("/author/name").and_then(Value::as_str) != Some("data-exporter") {
            return Err("is no manifest of this program: it does not name data-exporter as its author".to_owned());
        }
        let listed = value.get("entries").and_then(Value::as_array).ok_or("lists no entries")?;
        let window = range(value.pointer("/export/window"), "the export's window", report);
        let mut entries = Vec::with_capacity(listed.len());
        let mut names = BTreeSet::new();
        for (number, value) in listed.iter().enumerate() {
            match Entry::read(value, window, report) {
                Ok(entry) if names.insert(entry.name.clone()) => entries.push(entry),
                Ok(entry) => report.wrong(CheckKind::Manifest, Some(&entry.name), "is listed twice"),
                Err(what) => report.wrong(CheckKind::Manifest, None, format!("its entry {number} {what}")),
            }
        }
        let total = |name: &str| value.pointer(&format!("/meta/{name}")).and_then(Value::as_u64);
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
        Ok(Self {
            bytes: total("content_length"),
            rows: total("record_count"),
            window,
            says_columns: value.pointer("/export/columns").is_some_and(Value::is_array),
            described: described(&value, report),
            table: text("/export/table"),
            job: text("/export/job_id"),
            entries,
        })
    }

    /// The export in a few words.
    pub(super) fn about(&self) -> String {
        let files = self.entries.len();
        let about =
            format!("'{}' of job {}, {files} {}", self.table, self.job, if files == 1 { "file" } else { "files" });
        about.chars().filter(|c| !c.is_control()).take(300).collect()
    }

    pub(super) fn is_parquet(&self) -> bool {
        self.described.as_ref().is_some_and(|described| described.form.format == ExportFormat::Parquet)
    }
}

impl Entry {
    fn read(value: &Value, export: Option<[DateTime<Utc>; 2]>, report: &mut Report) -> Result<Self, String> {
        let name = value.get("name").and_then(Value::as_str).ok_or("has no name")?;
        // A name leads nowhere else than to a file beside the manifest.
        if !is_file_name(name) {
            return Err("has a name that is no plain name of a file; it was not opened".to_owned());
        }
        let count = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
        let bytes = count("/meta/content_length").ok_or("does not say how many bytes it has, as a whole number")?;
        let rows = count("/meta/record_count").ok_or("does not say how many rows it has, as a whole number")?;
        let sha256 = value.get("sha256").and_then(Value::as_str).ok_or("has no SHA-256")?;
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("has a SHA-256 that is none".to_owned());
        }
        let url = value.get("url").and_then(Value::as_str).map(str::to_owned);
        if url.as_ref().is_some_and(|url| url.rsplit('/').next() != Some(name)) {
            report.wrong(CheckKind::Manifest, Some(name), "has an address that ends with another name");
        }
        let window = range(value.get("window"), name, report);
        if let (Some(window), Some(export)) = (window, export)
            && (window[0] < export[0] || window[1] > export[1])
        {
            report.wrong(CheckKind::Window, Some(name), "has a window that is not within the export's");
        }
        Ok(Self { name: name.to_owned(), url, bytes, rows, sha256: sha256.to_owned(), window })
    }
}

/// Whether this is the name of a file in a folder, and of nothing else, on any system.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 255
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

/// A half-open range of instants, `None` where there is none.
fn range(value: Option<&Value>, of: &str, report: &mut Report) -> Option<[DateTime<Utc>; 2]> {
    let value = value.filter(|value| !value.is_null())?;
    let instant = |number: usize| -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc3339(value.get(number)?.as_str()?).ok().map(|at| at.to_utc())
    };
    match (instant(0), instant(1)) {
        (Some(start), Some(end)) if start < end => Some([start, end]),
        _ => {
            report.wrong(CheckKind::Window, Some(of), "has a window that is no range of two instants");
            None
        }
    }
}

/// What a manifest says of how its files are read.
fn described(value: &Value, report: &mut Report) -> Option<Described> {
    let export = value.get("export")?;
    let form = form(export)?;
    let elements = value.pointer("/schema/elements").and_then(Value::as_array);
    let Some(elements) = elements else {
        report.wrong(CheckKind::Schema, None, "it has no schema");
        return None;
    };
    let said = export.get("columns").and_then(Value::as_array);
    let column = |element: &Value| -> Option<DescribedColumn> {
        let name = element.get("name")?.as_str()?.to_owned();
        let manifest_type = element.pointer("/type/base")?.as_str()?.to_owned();
        let info =
            said.and_then(|said| said.iter().find(|info| info.get("name").and_then(Value::as_str) == Some(&name)));
        let kind = info.and_then(|info| part(info.get("kind")));
        let searched = info.and_then(|info| info.get("searched")).and_then(Value::as_bool).unwrap_or(false);
        Some(DescribedColumn { name, manifest_type, kind, searched })
    };
    let Some(columns) = elements.iter().map(column).collect::<Option<Vec<_>>>() else {
        report.wrong(CheckKind::Schema, None, "it has a schema with a column without name or type");
        return None;
    };
    decided(export, &columns, report);
    if let Some(said) = said
        && !said
            .iter()
            .map(|info| info.get("name").and_then(Value::as_str))
            .eq(columns.iter().map(|c| Some(c.name.as_str())))
    {
        report.wrong(CheckKind::Schema, None, "it has other columns in its schema than in its export");
    }
    let sought: Sought = part(export.get("sought")).unwrap_or_default();
    let unknown = sought.unknown();
    if !unknown.is_empty() && columns.iter().any(|column| column.searched) {
        let why = format!("not all: this version cannot look for {}", unknown.join(", "));
        report.unchecked(CheckKind::PersonalData, why);
    }
    Some(Described {
        columns,
        form,
        policy_hash: part(export.get("policy_hash")),
        sought,
        time: part(export.get("time")),
    })
}

/// Every column of the schema must be one that the decisions let out.
fn decided(export: &Value, columns: &[DescribedColumn], report: &mut Report) {
    let Some(decisions) = export.get("decisions").and_then(Value::as_array) else {
        return report.wrong(CheckKind::Policy, None, "it does not say what was decided of its columns");
    };
    for column in columns {
        let of_column = |decision: &&Value| decision.get("column").and_then(Value::as_str) == Some(&column.name);
        let outcome = decisions.iter().find(of_column).and_then(|decision| decision.get("outcome")?.as_str());
        if !matches!(outcome, Some("exported" | "restricted")) {
            let what = format!("its decisions do not let column '{}' out", column.name);
            report.wrong(CheckKind::Policy, None, what);
        }
    }
}

/// How the files are written; `None` where that is in words that are not known here.
fn form(export: &Value) -> Option<FileForm> {
    let Some(files) = export.get("files") else { return Some(FileForm::PARQUET) };
    let formula_guard = export.pointer("/guarded/formulas").and_then(Value::as_bool).unwrap_or(false);
    Some(FileForm { format: part(files.get("format"))?, compression: part(files.get("compression"))?, formula_guard })
}

/// A part that is as this version writes it.
fn part<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    value.and_then(|value| serde_json::from_value(value.clone()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        for name in ["way_000.parquet", "größe.csv.gz", "t=_x_000.jsonl", "..."] {
            assert!(is_file_name(name), "{name}");
        }
        for name in
            ["", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:x", "a\0", "a\nb", &"x".repeat(256)]
        {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
