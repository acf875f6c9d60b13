//! `data-exporter verify MANIFEST`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use url::Url;

use super::output;
use crate::error::{ErrorCode, Failure};
use crate::startup;
use crate::storage::ObjectKey;
use crate::verify::place::{BucketPlace, FolderPlace, LinkPlace, Place};
use crate::verify::{Check, CheckKind, Finding, Report, Verdict, verify};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The manifest: a path, with the files beside it; an s3:// address, with credentials as the AWS SDK finds them; or a
    /// link.
    manifest: String,
    /// JSON with links to the files, such as the answer of requestStatus; for a manifest behind a link.
    #[arg(long, value_name = "FILE")]
    links: Option<PathBuf>,
}

/// Needs no settings, and no database.
pub(super) async fn run(args: &VerifyArgs, json: bool) -> Result<ExitCode, Failure> {
    let place = place(args).await?;
    let report = verify(place.as_ref()).await;
    if json {
        output::json(&machine(&report))
    } else {
        person(&report)
    }
    Ok(if report.right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn usage(what: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadRequest, what)
}

async fn place(args: &VerifyArgs) -> Result<Box<dyn Place>, Failure> {
    let scheme = args.manifest.split_once("://").map(|(scheme, _)| scheme);
    if args.links.is_some() && !matches!(scheme, Some("http" | "https")) {
        return Err(usage("--links belongs to a manifest behind a link; elsewhere its files are found by themselves"));
    }
    match scheme {
        None => Ok(Box::new(FolderPlace::new(&args.manifest))),
        Some("s3") => {
            let address = args.manifest.trim_start_matches("s3://").split_once('/');
            let address = address.filter(|(bucket, _)| !bucket.is_empty());
            let key = address.and_then(|(bucket, key)| Some((bucket, ObjectKey::new(key).ok()?)));
            let (bucket, key) =
                key.ok_or_else(|| usage("the address of the manifest is not of the form s3://bucket/key"))?;
            Ok(Box::new(BucketPlace::new(startup::bucket(bucket).await?, key)))
        }
        Some("http" | "https") => {
            let url = Url::parse(&args.manifest).map_err(|_| usage("the manifest's link is not an address"))?;
            let links = args.links.as_deref().map(links).transpose()?;
            let place = LinkPlace::new(url, links.unwrap_or_default());
            Ok(Box::new(place.map_err(|what| Failure::new(ErrorCode::Internal, what))?))
        }
        Some(_) => Err(usage("a manifest is a path, or an address that begins with s3://, http:// or https://")),
    }
}

/// Every link in a JSON document, wherever it stands.
fn links(path: &Path) -> Result<Vec<Url>, Failure> {
    fn collect(value: &Value, found: &mut Vec<Url>) {
        match value {
            Value::String(text) if text.starts_with("http://") || text.starts_with("https://") => {
                found.extend(Url::parse(text).ok());
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            Value::Object(values) => values.values().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let text =
        std::fs::read(path).map_err(|error| usage(format!("{} cannot be read: {}", path.display(), error.kind())))?;
    let value: Value = serde_json::from_slice(&text).map_err(|_| usage(format!("{} is no JSON", path.display())))?;
    let mut found = Vec::new();
    collect(&value, &mut found);
    if found.is_empty() { Err(usage(format!("{} holds no links", path.display()))) } else { Ok(found) }
}

fn person(report: &Report) {
    if !report.about.is_empty() {
        output::line(&format!("the export of {}", report.about));
    }
    for (kind, verdict, check) in report.checks() {
        let mark = match verdict {
            Verdict::Right => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "WRONG",
            Verdict::Unchecked => "not checked",
        };
        let line = |what: &str| output::line(&format!("  {mark:<12} {:<14} {what}", kind.name()));
        if verdict == Verdict::Right || verdict == Verdict::Unchecked {
            line(&said(kind, &check));
        }
        for finding in &check.findings {
            line(&told(finding));
        }
        if check.more > 0 {
            line(&format!("and {} more", check.more));
        }
    }
    let read =
        format!("{} rows, {} read", output::grouped(i64::try_from(report.rows).unwrap_or(i64::MAX)), size(report));
    let wrong = report.checks().filter(|(_, verdict, _)| *verdict == Verdict::Wrong).count();
    output::line(&match wrong {
        0 => format!("nothing is wrong: {read}"),
        1 => format!("1 check found something wrong: {read}"),
        wrong => format!("{wrong} checks found something wrong: {read}"),
    });
}

fn size(report: &Report) -> String {
    output::bytes(i64::try_from(report.bytes).unwrap_or(i64::MAX))
}

fn told(finding: &Finding) -> String {
    match &finding.file {
        Some(file) => format!("{file}: {}", finding.what),
        None => finding.what.clone(),
    }
}

/// What was looked at, or why it was not.
fn said(kind: CheckKind, check: &Check) -> String {
    if let Some(why) = &check.unchecked {
        return why.clone();
    }
    match kind {
        _ if check.looked_at == 0 => "there was nothing to look at".to_owned(),
        CheckKind::Manifest => "a manifest of data-exporter".to_owned(),
        CheckKind::Files => format!("{} found", check.looked_at),
        CheckKind::Unlisted => "none beside the manifest".to_owned(),
        CheckKind::Size => "each has the bytes that the manifest says".to_owned(),
        CheckKind::Sha256 => "each is what the manifest says".to_owned(),
        CheckKind::Rows => "each has the rows that the manifest says".to_owned(),
        CheckKind::Totals => "bytes and rows add up".to_owned(),
        CheckKind::Schema => "each has the manifest's columns".to_owned(),
        CheckKind::Content => "each can be read to its end".to_owned(),
        CheckKind::Window => "every row's time is in its window".to_owned(),
        CheckKind::Policy => "each was made under the manifest's policy".to_owned(),
        CheckKind::PersonalData => "none where it was searched for".to_owned(),
    }
}

fn machine(report: &Report) -> Value {
    let checks = report.checks().map(|(kind, verdict, check)| {
        let findings = check.findings.iter().map(|finding| json!({"file": finding.file, "what": finding.what}));
        json!({
            "check": kind.name(), "verdict": verdict.name(), "lookedAt": check.looked_at,
            "findings": findings.collect::<Vec<_>>(), "moreFindings": check.more, "why": check.unchecked,
        })
    });
    let checks: Vec<Value> = checks.collect();
    json!({"right": report.right(), "rows": report.rows, "bytes": report.bytes, "checks": checks})
}
