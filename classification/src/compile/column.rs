//! What becomes of one column.

use super::Compiler;
use super::care::Metrics;
use crate::engine::Bits;
use crate::pii::{Entity, names};
use crate::policy::{Care, CatalogColumn, ColumnKind, Outcome, Predicate, RowRule};
use crate::rules::{ColumnRule, DeniedCell, RestrictionKind};

/// How a column leaves.
pub(super) struct Fate {
    pub(super) outcome: Outcome,
    /// The rules that decided, in words.
    pub(super) said: String,
    /// The rows in which the cell is kept.
    pub(super) cell: Predicate,
    /// The rows that may leave for this column's sake.
    pub(super) rows: Option<RowRule>,
    pub(super) care: Vec<Care>,
    pub(super) scan: bool,
    pub(super) warning: Option<String>,
}

impl Compiler<'_> {
    /// What becomes of one column of the catalog, or why it does not leave.
    pub(super) fn fate(&self, column: &CatalogColumn, metrics: Option<&Metrics>) -> Result<Fate, String> {
        let rule = self.rules.column(&self.row.table_name, &column.name).ok_or("no classification")?;
        let exempt = self.exempt(rule);
        let searchable = matches!(column.kind, ColumnKind::Text | ColumnKind::Json);
        let suspicion = names::suspect(&column.name).filter(|_| exempt.is_err());
        let mut bits = Bits::from(rule.classification);
        let mut fate = Fate {
            outcome: Outcome::Exported,
            said: format!("data_column_classification: {}", rule.classification),
            cell: Predicate::Always,
            rows: None,
            care: Vec::new(),
            scan: searchable && exempt.is_err(),
            warning: None,
        };
        if bits.any(Bits::DENY) {
            return Err(fate.said);
        }
        // A name is a rule of its own that asks for care, so that it tightens and never loosens.
        if suspicion.is_some() && searchable {
            bits |= Bits::CARE;
        }
        if bits.any(Bits::CARE) {
            self.own_care(column, rule, suspicion, &mut fate)?;
        } else if let Some(entity) = suspicion {
            fate.warning = Some(format!(
                "column '{}' leaves as it is, though its name suggests {}: classify it hwc or de, or attest it exempt \
                 with pii_exempt_*",
                column.name,
                entity.label()
            ));
        }
        let metrics = metrics.filter(|_| self.row.value_column.as_ref() == Some(&column.name));
        if let Some(metrics) = metrics {
            fate.outcome = Outcome::Restricted;
            fate.said.push_str("; rows whose metric is denied are dropped");
            fate.care.extend(metrics.care.iter().cloned());
        }
        if bits.any(Bits::ASK_SOURCE) {
            self.ask_source(column, &mut fate)?;
        } else if let Some(metrics) = metrics {
            fate.care.extend(metrics.source_care.iter().cloned());
        }
        self.search(column, exempt, &mut fate)?;
        Ok(fate)
    }

    /// What `hwc`, or the column's name, asks for in every row.
    fn own_care(
        &self,
        column: &CatalogColumn,
        rule: &ColumnRule,
        suspicion: Option<Entity>,
        fate: &mut Fate,
    ) -> Result<(), String> {
        let asks = Bits::from(rule.classification).any(Bits::CARE);
        let action = self.action(RestrictionKind::Column, &column.name, column).map_err(|why| match suspicion {
            Some(entity) if !asks => format!(
                "{}, but its name suggests {}: attest it exempt with pii_exempt_*, or classify it hwc with a valid \
                 action in column_restrictions",
                fate.said,
                entity.label()
            ),
            _ => format!("{} without a valid action: {why}", fate.said),
        })?;
        match suspicion {
            Some(entity) if !asks => {
                fate.said.push_str(&format!(", but its name suggests {}: {action}", entity.label()));
            }
            _ => fate.said.push_str(&format!(": {action}")),
        }
        fate.outcome = Outcome::Restricted;
        fate.care.push(Care { when: Predicate::Always, action });
        Ok(())
    }

    /// Cells that leave only for some sources, and for some of those changed.
    fn ask_source(&self, column: &CatalogColumn, fate: &mut Fate) -> Result<(), String> {
        let Some(source) = &self.row.source_column else {
            return Err(format!("{}, but the table has no source_column", fate.said));
        };
        let sources = self.sources(column);
        let allowed = Predicate::one_of(source, sources.allowed.iter().copied());
        let words = match self.row.denied_cell {
            DeniedCell::DropRow => {
                let rule = format!("data_column_classification: '{}' is mx: {allowed}{}", column.name, sources.denied);
                fate.rows = Some(RowRule { rule, rows: allowed });
                "rows of other sources than those that are nr, or hwc with a valid action, are dropped"
            }
            DeniedCell::NullCell => {
                fate.cell = allowed;
                "NULL for other sources than those that are nr, or hwc with a valid action"
            }
        };
        fate.outcome = Outcome::Restricted;
        fate.said.push_str(&format!("; {words}{}", sources.denied));
        for (name, action) in sources.care {
            fate.said.push_str(&format!("; source '{name}': {action}"));
            fate.care.push(Care { when: Predicate::one_of(source, [name]), action });
        }
        Ok(())
    }

    /// Settles whether the column's values are searched for personal data. What cannot be searched must be attested.
    fn search(&self, column: &CatalogColumn, exempt: Result<String, String>, fate: &mut Fate) -> Result<(), String> {
        match (column.kind, exempt) {
            (ColumnKind::Text | ColumnKind::Json, Ok(words)) => fate.said.push_str(&format!("; {words}")),
            (ColumnKind::Text | ColumnKind::Json, Err(words)) => {
                if self.rules.pii().needs_key() && !self.context.pseudonyms {
                    return Err(format!(
                        "{}, but the PII rules ask for pseudonyms, which need a key: set EXPORTER_PSEUDONYM_KEY_FILE, \
                         or choose another action in pii.toml",
                        fate.said
                    ));
                }
                fate.said.push_str(&format!("; {words}searched for personal data"));
            }
            (ColumnKind::Binary | ColumnKind::Other, Ok(words)) => fate.said.push_str(&format!("; {words}")),
            (ColumnKind::Binary | ColumnKind::Other, Err(words)) => {
                return Err(format!(
                    "{}, but {words}a column of type {} cannot be searched for personal data: attest it exempt with \
                     pii_exempt_*, or leave it",
                    fate.said, column.sql_type
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether somebody attests that a column holds no personal data, in words either way.
    fn exempt(&self, rule: &ColumnRule) -> Result<String, String> {
        match rule.exemption() {
            None => Err(String::new()),
            Some(exemption) if exemption.until < self.context.today => {
                Err(format!("pii_exempt_until {} has passed: ", exemption.until))
            }
            Some(exemption) => Ok(format!("exempt from personal data removal until {}", exemption.until)),
        }
    }
}
