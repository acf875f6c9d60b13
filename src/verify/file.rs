//! One file against its entry: read once, hashed, and handed to the gate's reader on the way.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::manifest::{Entry, Manifest};
use super::place::{Of, Source, Trouble};
use super::report::{CheckKind, Report};
use crate::pipeline::gate::{Again, Known, Opened, Wrong};

/// Pieces that wait between the source and whoever reads them.
const PIECES_WAITING: usize = 1;

/// What files are held against.
pub(super) struct Expected<'m> {
    pub(super) manifest: &'m Manifest,
    /// Reads what is in them; `None` where the manifest does not say enough.
    pub(super) again: Option<Arc<Again>>,
}

/// Checks one file.
pub(super) async fn check(expected: &Expected<'_>, entry: &Entry, source: &dyn Source, report: &mut Report) {
    let name = Some(entry.name.as_str());
    report.checked(CheckKind::Size, 1);
    if source.size() != entry.bytes {
        let what = format!("has {} bytes, the manifest says {}", source.size(), entry.bytes);
        report.wrong(CheckKind::Size, name, what);
    }
    let window = entry.window.or(expected.manifest.window);
    let opened = match &expected.again {
        Some(again) => match again.open(source.size(), window, &Of(source)).await {
            Ok(opened) => Some(opened),
            Err(Trouble(what)) => return report.wrong(CheckKind::Files, name, what),
        },
        None => None,
    };
    let by_footer = opened.as_ref().and_then(|opened| opened.rows);
    let mut wrong = opened.as_ref().map(|opened| opened.wrong.clone()).unwrap_or_default();
    let (sha256, known) = match read(expected.again.clone().zip(opened), source).await {
        Ok(read) => read,
        Err(Trouble(what)) => return report.wrong(CheckKind::Files, name, what),
    };
    report.bytes = report.bytes.saturating_add(source.size());
    report.checked(CheckKind::Sha256, 1);
    if !sha256.eq_ignore_ascii_case(&entry.sha256) {
        report.wrong(CheckKind::Sha256, name, "has another SHA-256 than the manifest says");
    }
    let known = match known {
        Some(Ok(known)) => known,
        Some(Err(what)) => {
            wrong.push(what);
            None
        }
        None => None,
    };
    contents(expected, entry, (by_footer, known, &wrong), report);
}

/// What was found in a file.
fn contents(
    expected: &Expected<'_>,
    entry: &Entry,
    (by_footer, known, wrong): (Option<u64>, Option<Known>, &[Wrong]),
    report: &mut Report,
) {
    let (name, manifest) = (Some(entry.name.as_str()), expected.manifest);
    if expected.again.is_none() {
        for kind in [CheckKind::Rows, CheckKind::Schema, CheckKind::Content, CheckKind::Window, CheckKind::Policy] {
            report.unchecked(kind, "the manifest does not say how its files are written, in words that are known here");
        }
        return report.unchecked(CheckKind::PersonalData, "nothing was decoded");
    }
    let counted = known.map(|known| known.rows);
    report.rows = report.rows.saturating_add(counted.unwrap_or(0));
    for (how, rows) in [("by its footer", by_footer), ("when they are counted", counted)] {
        if let Some(rows) = rows {
            report.checked(CheckKind::Rows, 1);
            if rows != entry.rows {
                let what = format!("has {rows} rows {how}, the manifest says {}", entry.rows);
                report.wrong(CheckKind::Rows, name, what);
            }
        }
    }
    report.checked(CheckKind::Content, 1);
    report.checked(CheckKind::Schema, 1);
    if manifest.is_parquet() {
        match manifest.described.as_ref().and_then(|described| described.policy_hash.as_ref()) {
            Some(_) => report.checked(CheckKind::Policy, 1),
            None => report.unchecked(CheckKind::Policy, "the manifest names no policy"),
        }
    } else {
        report.unchecked(CheckKind::Policy, "only Parquet files name the policy that they were made under");
    }
    for what in wrong {
        match what {
            Wrong::Schema(what) => report.wrong(CheckKind::Schema, name, what.as_str()),
            Wrong::Policy(what) => report.wrong(CheckKind::Policy, name, what.as_str()),
            Wrong::Content(what) => report.wrong(CheckKind::Content, name, what.as_str()),
            Wrong::Personal(found) => {
                for ((column, entity), values) in found {
                    let what = format!("holds {entity} in {values} values of column '{column}'");
                    report.wrong(CheckKind::PersonalData, name, what);
                }
            }
        }
    }
    match (&manifest.described.as_ref().and_then(|described| described.time.as_ref()), known) {
        (None, _) => {
            let why = "no time column leaves as the warehouse has it, so the time of rows cannot be told";
            report.unchecked(CheckKind::Window, why);
        }
        (Some(_), None) => {}
        (Some(time), Some(known)) => match known.outside {
            None => {
                let why = format!("values of '{}' cannot be compared with instants (zone {})", time.column, time.zone);
                report.unchecked(CheckKind::Window, why);
            }
            Some(0) => report.checked(CheckKind::Window, 1),
            Some(outside) => {
                let what = format!("has {outside} rows whose '{}' is outside of its window", time.column);
                report.wrong(CheckKind::Window, name, what);
            }
        },
    }
    if !manifest.says_columns {
        report.unchecked(CheckKind::PersonalData, "the manifest does not say which columns were searched");
    } else if known.is_some() {
        report.checked(CheckKind::PersonalData, 1);
    }
}

/// Reads a file to its end: its SHA-256, and what is in it.
async fn read(
    reader: Option<(Arc<Again>, Opened)>,
    source: &dyn Source,
) -> Result<(String, Option<Result<Option<Known>, Wrong>>), Trouble> {
    let (send, mut pieces) = mpsc::channel(PIECES_WAITING);
    let (feed, fed) = mpsc::channel(PIECES_WAITING);
    let reading = async {
        match reader {
            Some((again, opened)) => tokio::task::spawn_blocking(move || again.read(opened, fed)).await.ok(),
            None => None,
        }
    };
    let hashing = async {
        let mut hash = Sha256::new();
        let mut feed = Some(feed);
        while let Some(piece) = pieces.recv().await {
            hash.update(&piece);
            // A reader that has seen enough ends; the hash is of the whole file.
            if let Some(to) = &feed
                && to.send(piece).await.is_err()
            {
                feed = None;
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (sent, sha256, known) = tokio::join!(source.send(send), hashing, reading);
    sent?;
    Ok((sha256, known))
}
