//! What must hold of the rules: of each row, of rows with one key, and of rows that speak of one table.

use std::collections::BTreeMap;

use chrono::Datelike;

use super::error::{Place, RuleError, RuleErrors};
use super::pii::PiiText;
use super::rows::{ColumnRule, ExportTable, FileFormat, MetricRule, Restriction, RestrictionKind, SourceRule};
use super::table::RuleTable;
use super::{Rows, RuleSet};
use crate::actions::Action;
use crate::code::Code;
use crate::pii::names::suspect;

/// Rows with the places where they stand.
#[derive(Default)]
pub(super) struct Placed {
    pub(super) tables: Vec<(Place, ExportTable)>,
    pub(super) columns: Vec<(Place, ColumnRule)>,
    pub(super) sources: Vec<(Place, SourceRule)>,
    pub(super) metrics: Vec<(Place, MetricRule)>,
    pub(super) restrictions: Vec<(Place, Restriction)>,
    pub(super) pii: PiiText,
}

impl Placed {
    /// Rows of a database: their keys are their places. What cannot be placed, because it is a text that does not
    /// hold, leaves errors.
    pub(super) fn by_key(rows: Rows, errors: &mut Vec<RuleError>) -> Self {
        let table = RuleTable::PiiRules;
        if rows.pii_rules.len() > 1 {
            let place = Place::Row { table, key: "(all rows)".to_owned() };
            errors.push(RuleError { place, message: "more than one row; keep the one that counts".to_owned() });
        }
        let text = rows.pii_rules.first().map_or("", |row| row.rules.as_str());
        let pii = PiiText::parse(table.name(), text).unwrap_or_else(|wrong| {
            errors.extend(wrong);
            PiiText::default()
        });

        fn place<T: Row>(rows: Vec<T>) -> Vec<(Place, T)> {
            rows.into_iter().map(|row| (Place::Row { table: T::TABLE, key: row.label() }, row)).collect()
        }
        Self {
            tables: place(rows.export_tables),
            columns: place(rows.data_column_classification),
            sources: place(rows.actual_data_classifications),
            metrics: place(rows.long_table_data_classifications),
            restrictions: place(rows.column_restrictions),
            pii,
        }
    }
}

/// What the five kinds of rows have in common.
pub(super) trait Row {
    const TABLE: RuleTable;
    type Key: Ord;

    /// What no other row of the table may share.
    fn key(&self) -> Self::Key;

    /// The key as people would say it.
    fn label(&self) -> String;

    /// What is wrong with this row alone.
    fn problems(&self) -> Vec<String>;
}

/// The set, if everything holds and nothing was wrong before.
pub(super) fn build(placed: Placed, mut errors: Vec<RuleError>) -> Result<RuleSet, RuleErrors> {
    let tables = keyed(placed.tables, &mut errors);
    let columns = keyed(placed.columns, &mut errors);
    let sources = keyed(placed.sources, &mut errors);
    let metrics = keyed(placed.metrics, &mut errors);
    let restrictions = keyed(placed.restrictions, &mut errors);
    for (place, rule) in metrics.values() {
        if tables.get(&rule.table_name).is_some_and(|(_, table)| table.metric_column.is_none()) {
            let message = format!("table '{}' has no metric_column, so it has no metrics to classify", rule.table_name);
            errors.push(RuleError { place: place.clone(), message });
        }
    }
    for (place, rule) in restrictions.values() {
        let Some((_, table)) = tables.get(&rule.table_name) else { continue };
        let missing = match rule.kind {
            RestrictionKind::Metric if table.metric_column.is_none() => "metric",
            RestrictionKind::Source if table.source_column.is_none() => "source",
            _ => continue,
        };
        let message = format!("table '{}' has no {missing}_column, so no {missing} to restrict", rule.table_name);
        errors.push(RuleError { place: place.clone(), message });
    }
    match RuleErrors::of(errors) {
        Some(errors) => Err(errors),
        None => Ok(RuleSet {
            tables: without_places(tables),
            columns: without_places(columns),
            sources: without_places(sources),
            metrics: without_places(metrics),
            restrictions: without_places(restrictions),
            pii: placed.pii,
        }),
    }
}

fn keyed<T: Row>(rows: Vec<(Place, T)>, errors: &mut Vec<RuleError>) -> BTreeMap<T::Key, (Place, T)> {
    let mut keyed: BTreeMap<T::Key, (Place, T)> = BTreeMap::new();
    for (place, row) in rows {
        errors.extend(row.problems().into_iter().map(|message| RuleError { place: place.clone(), message }));
        if let Some((first, _)) = keyed.get(&row.key()) {
            let message = format!("{} was given before, at {first}; keep one of the two", row.label());
            errors.push(RuleError { place, message });
        } else {
            keyed.insert(row.key(), (place, row));
        }
    }
    keyed
}

fn without_places<K: Ord, T>(placed: BTreeMap<K, (Place, T)>) -> BTreeMap<K, T> {
    placed.into_iter().map(|(key, (_, row))| (key, row)).collect()
}

/// Notes a name that cannot be one: PostgreSQL has neither empty identifiers nor NUL in its text.
fn name_problem(column: &str, name: &str, problems: &mut Vec<String>) {
    if name.is_empty() {
        problems.push(format!("{column} is empty"));
    } else if name.contains('\0') {
        problems.push(format!("{column} holds a NUL character"));
    }
}

impl Row for ExportTable {
    const TABLE: RuleTable = RuleTable::ExportTables;
    type Key = crate::table::TableName;

    fn key(&self) -> Self::Key {
        self.table_name.clone()
    }

    fn label(&self) -> String {
        self.table_name.to_string()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let roles = [
            ("time_column", &self.time_column),
            ("source_column", &self.source_column),
            ("metric_column", &self.metric_column),
            ("value_column", &self.value_column),
            ("tenant_column", &self.tenant_column),
        ];
        for (role, name) in roles {
            if let Some(name) = name {
                name_problem(role, name, &mut problems);
            }
        }
        match (&self.metric_column, &self.value_column) {
            (Some(_), None) => problems.push("metric_column without value_column: a long table names both".to_owned()),
            (None, Some(_)) => problems.push("value_column without metric_column: a long table names both".to_owned()),
            _ => {}
        }
        // A value, a metric's name and a source's name are judged by different tables: one column cannot be two.
        let apart = [
            ("metric_column", &self.metric_column, "value_column", &self.value_column),
            ("source_column", &self.source_column, "value_column", &self.value_column),
            ("tenant_column", &self.tenant_column, "value_column", &self.value_column),
            ("time_column", &self.time_column, "value_column", &self.value_column),
            ("source_column", &self.source_column, "metric_column", &self.metric_column),
        ];
        for (one, left, other, right) in apart {
            if let (Some(left), Some(right)) = (left, right)
                && left == right
            {
                problems.push(format!("'{left}' is both {one} and {other}"));
            }
        }
        let zone = self.time_zone.as_bytes();
        if zone.is_empty() || !zone.iter().all(|b| b.is_ascii_alphanumeric() || b"_+-/".contains(b)) {
            problems.push("time_zone is not the name of a zone: write one such as UTC or Europe/Berlin".to_owned());
        }
        let format = self.format.unwrap_or(FileFormat::Parquet);
        if let Some(compression) = self.compression.filter(|compression| !compression.fits(format)) {
            problems.push(format!("{format} files are not compressed with {compression}: write gzip, zstd or none"));
        }
        if self.whole_export.is_some() && self.time_column.is_some() {
            problems.push("whole_export is for tables without a time_column: leave one of them empty".to_owned());
        }
        if self.scheduled_tenants.is_some() && self.tenant_column.is_none() {
            problems
                .push("scheduled_tenants is for tables with a tenant_column: name it, or leave both empty".to_owned());
        }
        problems
    }
}

impl Row for ColumnRule {
    const TABLE: RuleTable = RuleTable::DataColumnClassification;
    type Key = (crate::table::TableName, String);

    fn key(&self) -> Self::Key {
        (self.table_name.clone(), self.column_name.clone())
    }

    fn label(&self) -> String {
        format!("{} {}", self.table_name, self.column_name)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        name_problem("column_name", &self.column_name, &mut problems);
        let given = [self.pii_exempt_by.is_some(), self.pii_exempt_reason.is_some(), self.pii_exempt_until.is_some()];
        if given.contains(&true) && given.contains(&false) {
            problems.push(
                "an exemption names all three of pii_exempt_by, pii_exempt_reason and pii_exempt_until, or none"
                    .to_owned(),
            );
        }
        for (column, text) in [("pii_exempt_by", &self.pii_exempt_by), ("pii_exempt_reason", &self.pii_exempt_reason)] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                problems.push(format!("{column} is blank"));
            }
        }
        if self.pii_exempt_until.is_some_and(|day| !(0..=9999).contains(&day.year())) {
            problems.push("pii_exempt_until is beyond the year 9999: an exemption ends".to_owned());
        }
        problems
    }
}

impl Row for SourceRule {
    const TABLE: RuleTable = RuleTable::ActualDataClassifications;
    type Key = String;

    fn key(&self) -> Self::Key {
        self.source.clone()
    }

    fn label(&self) -> String {
        self.source.clone()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        name_problem("source", &self.source, &mut problems);
        problems
    }
}

impl Row for MetricRule {
    const TABLE: RuleTable = RuleTable::LongTableDataClassifications;
    type Key = (crate::table::TableName, String);

    fn key(&self) -> Self::Key {
        (self.table_name.clone(), self.metric_name.clone())
    }

    fn label(&self) -> String {
        format!("{} {}", self.table_name, self.metric_name)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        name_problem("metric_name", &self.metric_name, &mut problems);
        problems
    }
}

impl Row for Restriction {
    const TABLE: RuleTable = RuleTable::ColumnRestrictions;
    type Key = (crate::table::TableName, RestrictionKind, String);

    fn key(&self) -> Self::Key {
        (self.table_name.clone(), self.kind, self.name.clone())
    }

    fn label(&self) -> String {
        format!("{} {} {}", self.table_name, self.kind, self.name)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        name_problem("name", &self.name, &mut problems);
        if !self.params.is_object() {
            problems.push("params is not a JSON object: write {} for none".to_owned());
        }
        for (column, text) in [("owner", &self.owner), ("reason", &self.reason)] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                problems.push(format!("{column} is blank"));
            }
        }
        if let Err(error) = Action::parse(self.action, &self.params)
            && self.params.is_object()
        {
            problems.push(error.to_string());
        }
        if self.expires_at.is_some_and(|at| !(0..=9999).contains(&at.year())) {
            problems.push("expires_at is beyond the year 9999: leave it empty for no end".to_owned());
        }
        problems
    }
}

/// What holds, but is probably not meant.
pub(super) fn notes(rules: &RuleSet) -> Vec<String> {
    let mut notes = Vec::new();
    for rule in rules.restrictions() {
        let code = match rule.kind {
            RestrictionKind::Column => rules.column(&rule.table_name, &rule.name).map(|rule| rule.classification),
            RestrictionKind::Metric => rules.metric(&rule.table_name, &rule.name),
            RestrictionKind::Source => rules.source(&rule.name),
        };
        // A name that suggests personal data may ask for the restriction as well.
        let suspected = rule.kind == RestrictionKind::Column && code == Some(Code::Nr) && suspect(&rule.name).is_some();
        if code != Some(Code::Hwc) && !suspected {
            let code = code.map_or("not classified".to_owned(), |code| format!("'{code}'"));
            notes.push(format!(
                "column_restrictions {}: has no effect, because the {} is {code} and not 'hwc'",
                rule.label(),
                rule.kind
            ));
        }
    }
    for rule in rules.sources().filter(|rule| rule.classification == Code::Mx) {
        notes.push(format!("actual_data_classifications {}: 'mx' for a source counts as 'de'", rule.source));
    }
    for rule in rules.metrics.values() {
        let table = rules.table(&rule.table_name);
        if table.is_none() {
            notes.push(format!("long_table_data_classifications {}: export_tables lacks the table", rule.label()));
        } else if rule.classification == Code::Mx && table.is_some_and(|table| table.source_column.is_none()) {
            notes.push(format!(
                "long_table_data_classifications {}: 'mx' counts as 'de', because the table has no source_column",
                rule.label()
            ));
        }
    }
    for rule in rules.columns.values() {
        let table = rules.table(&rule.table_name);
        if rule.classification == Code::Mx && table.is_some_and(|table| table.source_column.is_none()) {
            notes.push(format!(
                "data_column_classification {}: 'mx' counts as 'de', because the table has no source_column",
                rule.label()
            ));
        }
    }
    notes
}
