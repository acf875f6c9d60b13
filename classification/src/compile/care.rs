//! What `hwc` does: the actions of columns, metrics and sources, and what is denied for want of a valid one.

use std::collections::BTreeSet;

use super::Compiler;
use crate::actions::Action;
use crate::code::Code;
use crate::engine::{MetricAsk, Verdict, decide};
use crate::policy::{Care, CatalogColumn, Predicate};
use crate::rules::RestrictionKind;

/// What a long table's metrics ask for.
pub(super) struct Metrics {
    /// The rows whose metric, with their source where it is asked, is not denied.
    pub(super) rows: Predicate,
    /// What is done to the value for the metrics' own sake.
    pub(super) care: Vec<Care>,
    /// What is done to the value where a metric asks for the source. Not for a value column that asks for it anyway:
    /// nothing is done twice.
    pub(super) source_care: Vec<Care>,
    /// The metrics and sources that are `hwc` without a valid action, in words.
    pub(super) denied: String,
}

/// What the sources ask for, where they are asked.
pub(super) struct Sources<'a> {
    /// The sources whose cells leave, as they are or changed.
    pub(super) allowed: BTreeSet<&'a str>,
    /// What is done to those that are `hwc`.
    pub(super) care: Vec<(&'a str, Action)>,
    /// The sources that are `hwc` without a valid action, in words.
    pub(super) denied: String,
}

impl Compiler<'_> {
    /// The action of `hwc` for a column, a metric or a source, carried out on this column; or why there is none.
    pub(super) fn action(&self, kind: RestrictionKind, name: &str, column: &CatalogColumn) -> Result<Action, String> {
        let Some(restriction) = self.rules.restriction(&self.row.table_name, kind, name) else {
            return Err(format!("column_restrictions has none for this {kind}"));
        };
        if let Some(day) = restriction.expires_at.filter(|day| *day < self.context.today) {
            return Err(format!("the restriction expired, expires_at is {day}"));
        }
        let action = Action::parse(restriction.action, &restriction.params).map_err(|error| error.to_string())?;
        action.fits(column.kind, &column.sql_type).map_err(|error| error.to_string())?;
        match &action {
            Action::Drop => Err("its action is drop".to_owned()),
            Action::Pseudonym { .. } if !self.context.pseudonyms => {
                Err(format!("{action} needs a key: set EXPORTER_PSEUDONYM_KEY_FILE"))
            }
            Action::Pseudonym { per_day: true, .. } if self.row.time_column.is_none() => {
                Err(format!("{action} needs the table's time_column"))
            }
            _ => Ok(action),
        }
    }

    /// What the sources ask for where a cell of this column depends on them.
    pub(super) fn sources(&self, column: &CatalogColumn) -> Sources<'_> {
        let mut sources = Sources { allowed: BTreeSet::new(), care: Vec::new(), denied: String::new() };
        for rule in self.rules.sources() {
            let name = rule.source.as_str();
            match decide(Some(Code::Mx), MetricAsk::NotAsked, Some(rule.classification)) {
                Verdict::Pass => {
                    sources.allowed.insert(name);
                }
                Verdict::Care => match self.action(RestrictionKind::Source, name, column) {
                    Ok(action) => {
                        sources.allowed.insert(name);
                        sources.care.push((name, action));
                    }
                    Err(why) => {
                        sources.denied.push_str(&format!("; source '{name}' is hwc without a valid action: {why}"));
                    }
                },
                Verdict::Deny => {}
            }
        }
        sources
    }

    /// What a long table's metrics ask for; `None` for other tables. The value column is taken for `nr` here: what it
    /// adds is decided with the other columns. Rows go even where the value does not leave, because that something
    /// was measured at all may be what is denied.
    pub(super) fn metrics(&self) -> Option<Metrics> {
        let metric_column = self.row.metric_column.as_ref()?;
        let value = self.catalog.iter().find(|column| self.row.value_column.as_ref() == Some(&column.name))?;
        let mut free = BTreeSet::new();
        let mut asking = BTreeSet::new();
        let mut care = Vec::new();
        let mut denied = String::new();
        for rule in self.rules.metrics(&self.row.table_name) {
            let name = rule.metric_name.as_str();
            let metric = MetricAsk::Metric(Some(rule.classification));
            match decide(Some(Code::Nr), metric, None) {
                Verdict::Pass => {
                    free.insert(name);
                }
                Verdict::Care => match self.action(RestrictionKind::Metric, name, value) {
                    Ok(action) => {
                        free.insert(name);
                        care.push(Care { when: Predicate::one_of(metric_column, [name]), action });
                    }
                    Err(why) => {
                        denied.push_str(&format!("; metric '{name}' is hwc without a valid action: {why}"));
                    }
                },
                Verdict::Deny if decide(Some(Code::Nr), metric, Some(Code::Nr)) == Verdict::Pass => {
                    asking.insert(name);
                }
                Verdict::Deny => {}
            }
        }
        let mut ways = vec![Predicate::one_of(metric_column, free)];
        let mut source_care = Vec::new();
        if let Some(source) = self.row.source_column.as_ref().filter(|_| !asking.is_empty()) {
            let sources = self.sources(value);
            let asked = Predicate::one_of(metric_column, asking);
            let both = |other: Predicate| Predicate::All(vec![asked.clone(), other]).normalised();
            ways.push(both(Predicate::one_of(source, sources.allowed.iter().copied())));
            denied.push_str(&sources.denied);
            let cares = sources.care.into_iter();
            source_care
                .extend(cares.map(|(name, action)| Care { when: both(Predicate::one_of(source, [name])), action }));
        }
        Some(Metrics { rows: Predicate::Any(ways).normalised(), care, source_care, denied })
    }
}

/// Whether a column is coarser, or says nothing, in every row after this. A pseudonym that holds for more than a day
/// still joins a vehicle's points.
pub(super) fn makes_coarser(care: &Care) -> bool {
    care.when == Predicate::Always && !matches!(care.action, Action::Pseudonym { per_day: false, .. })
}
