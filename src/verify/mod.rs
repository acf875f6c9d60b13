//! Verifies what was published, from outside: a manifest, and every file that it lists, held against each other.
//!
//! It needs neither the database nor the rules nor the warehouse: what must be true of the files is in the manifest, and
//! a file is read with the eyes of the last gate. It changes nothing, and says what is wrong where, never a value. Files
//! come by as streams: a piece, and of Parquet a row group, is in memory.

mod file;
mod manifest;
pub mod place;
mod report;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::file::Expected;
use self::manifest::Manifest;
use self::place::Place;
pub use self::report::{Check, CheckKind, Finding, Report, Verdict};
use crate::pipeline::gate::Again;

/// Endings of files that an export consists of.
const DATA: [&str; 7] = ["parquet", "csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "jsonl.zst"];

/// Verifies the export of the manifest that lies there.
pub async fn verify(place: &dyn Place) -> Report {
    let mut report = Report::default();
    let bytes = match place.manifest().await {
        Ok(bytes) => bytes,
        Err(trouble) => {
            report.wrong(CheckKind::Manifest, None, trouble.0);
            return report;
        }
    };
    let manifest = match Manifest::read(&bytes, &mut report) {
        Ok(manifest) => manifest,
        Err(what) => {
            report.wrong(CheckKind::Manifest, None, what);
            return report;
        }
    };
    report.checked(CheckKind::Manifest, 1);
    report.about = manifest.about();
    totals(&manifest, &mut report);
    unlisted(place, &manifest, &mut report).await;
    let again = match manifest.described.clone().map(Again::new).transpose() {
        Ok(again) => again.map(Arc::new),
        Err(what) => {
            report.unchecked(CheckKind::PersonalData, what);
            None
        }
    };
    let expected = Expected { manifest: &manifest, again };
    for entry in &manifest.entries {
        match place.open(entry).await {
            Ok(source) => {
                report.checked(CheckKind::Files, 1);
                file::check(&expected, entry, source.as_ref(), &mut report).await;
            }
            Err(trouble) => report.wrong(CheckKind::Files, Some(&entry.name), trouble.0),
        }
    }
    report
}

/// The sums that the manifest says against those of its entries.
fn totals(manifest: &Manifest, report: &mut Report) {
    let sum =
        |of: fn(&manifest::Entry) -> u64| manifest.entries.iter().map(|entry| u128::from(of(entry))).sum::<u128>();
    for (what, said, sum) in
        [("bytes", manifest.bytes, sum(|entry| entry.bytes)), ("rows", manifest.rows, sum(|entry| entry.rows))]
    {
        match said {
            Some(said) if u128::from(said) == sum => report.checked(CheckKind::Totals, 1),
            Some(said) => {
                report.wrong(
                    CheckKind::Totals,
                    None,
                    format!("{said} {what} in all, and {sum} in its entries together"),
                );
            }
            None => report.wrong(CheckKind::Totals, None, format!("it does not say how many {what} there are in all")),
        }
    }
}

/// Data files beside those that are listed: nobody who starts at the manifest reads them, but others may.
async fn unlisted(place: &dyn Place, manifest: &Manifest, report: &mut Report) {
    match place.beside().await {
        Ok(names) => {
            let listed: BTreeSet<&str> = manifest.entries.iter().map(|entry| entry.name.as_str()).collect();
            let data = |name: &str| {
                name.split_once('.').is_some_and(|(_, ending)| {
                    DATA.iter().any(|data| ending == *data || ending.ends_with(&format!(".{data}")))
                })
            };
            report.checked(CheckKind::Unlisted, 1);
            for name in names.iter().filter(|name| data(name) && !name.starts_with(['_', '.'])) {
                if !listed.contains(name.as_str()) {
                    let what = "lies beside the manifest and is not listed in it".to_owned();
                    report.wrong(CheckKind::Unlisted, Some(name), what);
                }
            }
        }
        Err(trouble) => report.unchecked(CheckKind::Unlisted, trouble.0),
    }
}
