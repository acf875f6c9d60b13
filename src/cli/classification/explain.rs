//! `data-exporter classification explain`.

use std::process::ExitCode;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, Utc};
use clap::Args;
use classification::TableName;

use super::super::output::{self, grouped};
use super::with_warehouse;
use crate::config::Source;
use crate::error::{ErrorCode, Failure};
use crate::explain::{ExplainedColumn, Explanation, Question, Sight};
use crate::identity::tenant_of;
use crate::jobs::{Tenant, Window};

#[derive(Debug, Args)]
#[command(after_help = "Example, one day:\n  data-exporter classification explain way --from 2026-03-02\n\n\
                        Counting reads the rows of the range; EXPORTER_STATEMENT_TIMEOUT_SECONDS bounds it.")]
pub(in crate::cli) struct ExplainArgs {
    /// The table, as export_tables names it.
    table: String,
    /// The first instant of the range: a day, an instant in RFC 3339, or seconds since 1970-01-01T00:00:00Z. Without
    /// it and --to, the last full day in UTC.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// The first instant after the range; left out: a day after --from.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Option<DateTime<Utc>>,
    /// For whom the table would be exported.
    #[arg(long, value_name = "T", default_value = Tenant::DEFAULT)]
    tenant: String,
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    if let Some(instant) = text.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
        return Ok(instant);
    }
    DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc()).map_err(|_| {
        "write a day such as 2026-03-02, an instant such as 2026-03-02T12:00:00Z, or epoch seconds".to_owned()
    })
}

pub(super) async fn run(source: &Source, args: &ExplainArgs, json: bool) -> Result<ExitCode, Failure> {
    let table: TableName =
        args.table.parse().map_err(|error| Failure::new(ErrorCode::TableNotOffered, format!("{error}")))?;
    let tenant = tenant_of(&args.tenant)?;
    let window = window(args.from, args.to)?;
    let (_, explainer) = with_warehouse(source).await?;
    let question = Question { table, tenant, window, sight: Sight::Everything, counted: true };
    let explanation = explainer.explain(&question).await?;
    if json {
        output::json(&explanation);
    } else {
        text(&explanation).iter().for_each(|line| output::line(line));
    }
    Ok(ExitCode::SUCCESS)
}

/// The range, one day where only one end is given.
fn window(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Result<Option<Window>, Failure> {
    let day = Days::new(1);
    let (start, end) = match (from, to) {
        (None, None) => return Ok(None),
        (Some(start), Some(end)) => (Some(start), Some(end)),
        (Some(start), None) => (Some(start), start.checked_add_days(day)),
        (None, Some(end)) => (end.checked_sub_days(day), Some(end)),
    };
    match (start, end) {
        (Some(start), Some(end)) if start < end => Ok(Some(Window { start, end })),
        _ => Err(Failure::new(ErrorCode::RangeInvalid, "--to is not after --from; the range ends before --to")),
    }
}

fn sql_type(column: &ExplainedColumn) -> &str {
    column.sql_type.as_deref().unwrap_or("-")
}

/// The explanation for people.
fn text(explanation: &Explanation) -> Vec<String> {
    let written = |instant: DateTime<Utc>| instant.to_rfc3339_opts(SecondsFormat::Secs, true);
    let range = explanation.window.map_or("all rows".to_owned(), |window| {
        format!("rows of {} to {}", written(window.start), written(window.end))
    });
    let Explanation { table, tenant, rules_revision, .. } = explanation;
    let mut lines = vec![format!("{table}, for tenant {}: {range}, rules revision {rules_revision}", tenant.as_str())];
    if let Some(refused) = &explanation.refused {
        lines.push(format!("NOT EXPORTED as it stands: {} [{}]", refused.message, refused.code));
        lines.push("what follows is what would leave without that".to_owned());
    }
    let widest = |text: fn(&ExplainedColumn) -> &str| {
        explanation.columns.iter().map(|column| text(column).chars().count()).max().unwrap_or_default()
    };
    let (width, types) = (widest(|column| &column.name), widest(sql_type));
    lines.push("columns".to_owned());
    for column in &explanation.columns {
        let mut line =
            format!("  {:<8}  {:<width$}  {:<types$}  {}", column.fate, column.name, sql_type(column), column.rule);
        for change in &column.changes {
            line.push_str(&format!("; {change}"));
        }
        lines.push(line);
    }
    let (format, compression) = (explanation.files.format.as_str(), explanation.files.compression.as_str());
    lines.push(format!("files: {format}, compression {compression}, unless a request says otherwise"));
    lines.push(format!("rows: {}", explanation.rows));
    if let Some(counts) = &explanation.counts {
        let held_back = counts.in_window - counts.exported;
        lines.push(format!(
            "  {} in the range, {} exported, {} held back",
            grouped(counts.in_window),
            grouped(counts.exported),
            grouped(held_back)
        ));
        for rule in &explanation.row_rules {
            let count = rule.rows_held_back.map_or("?".to_owned(), grouped);
            lines.push(format!("  {count} held back by {}", rule.rule));
        }
        if let Some(timeless) = counts.timeless {
            lines
                .push(format!("  {} with a time that is NULL or infinite: they belong to no range", grouped(timeless)));
        }
    }
    for drift in &explanation.drift {
        lines.push(format!("drift: {}", drift));
    }
    lines.extend(explanation.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_days_instants_or_seconds() {
        for (text, seconds) in [
            ("2026-03-02", Some(1_772_409_600)),
            ("2026-03-02T00:00:00Z", Some(1_772_409_600)),
            ("2026-03-02T01:00:00+01:00", Some(1_772_409_600)),
            ("1772409600", Some(1_772_409_600)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(instant(text).ok().map(|instant| instant.timestamp()), seconds, "{text}");
        }
        let at = |text| Some(instant(text).unwrap());
        let day = Window { start: instant("2026-03-02").unwrap(), end: instant("2026-03-03").unwrap() };
        assert_eq!(window(None, None).unwrap(), None);
        assert_eq!(window(at("2026-03-02"), None).unwrap(), Some(day));
        assert_eq!(window(None, at("2026-03-03")).unwrap(), Some(day));
        assert_eq!(window(at("2026-03-03"), at("2026-03-02")).unwrap_err().code, ErrorCode::RangeInvalid);
    }
}
