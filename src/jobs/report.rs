//! What was done to the values of a file, in numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was done to the values of one file, or of several: counts by column, never values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Findings of personal data that were removed, by column and entity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<String, BTreeMap<String, u64>>,
    /// Values that an action of `hwc` was carried out on, by column; twice where two actions were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<String, u64>,
    /// What was written otherwise than the warehouse has it, since the file's type does not hold it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fidelity: Fidelity,
    /// Which rows a file holds, whatever their order, where that was asked for and its types allow it: SHA-256 in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// How often values were changed, by column, by what was done (`nulled`, `clamped`, `truncated`, `kept`, `noted`) and
/// why. Ordered, so that the same counts are the same bytes.
pub type Fidelity = BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>;

impl FileReport {
    /// Adds what was done to another file. What each holds is not of the sum.
    pub fn add(&mut self, other: &FileReport) {
        for (column, counts) in &other.removed {
            let column = self.removed.entry(column.clone()).or_default();
            for (entity, count) in counts {
                *column.entry(entity.clone()).or_default() += count;
            }
        }
        for (column, count) in &other.actions {
            *self.actions.entry(column.clone()).or_default() += count;
        }
        for (column, done) in &other.fidelity {
            for (action, reasons) in done {
                for (reason, &count) in reasons {
                    self.changed(column, action, reason, count);
                }
            }
        }
    }

    /// Adds values of a column that were changed.
    pub fn changed(&mut self, column: &str, action: &str, reason: &str, count: u64) {
        let actions = self.fidelity.entry(column.to_owned()).or_default();
        *actions.entry(action.to_owned()).or_default().entry(reason.to_owned()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_and_are_read_as_they_were_written() {
        let read = |text: &str| serde_json::from_str::<FileReport>(text).unwrap();
        let mut sum = read("{}");
        sum.add(&read(
            r#"{"removed": {"note": {"EMAIL": 3}}, "actions": {"plate": 120},
                "fidelity": {"at": {"nulled": {"late": 2}, "clamped": {"late": 1}}}}"#,
        ));
        sum.add(&read(
            r#"{"removed": {"note": {"EMAIL": 1, "IPV4": 2}, "tags": {"VIN": 1}}, "later": {},
                "fidelity": {"at": {"nulled": {"late": 5, "early": 1}}, "a": {"kept": {"rings": 1}}}}"#,
        ));
        let text = concat!(
            r#"{"removed":{"note":{"EMAIL":4,"IPV4":2},"tags":{"VIN":1}},"actions":{"plate":120},"#,
            r#""fidelity":{"a":{"kept":{"rings":1}},"at":{"clamped":{"late":1},"nulled":{"early":1,"late":7}}}}"#
        );
        assert_eq!(serde_json::to_string(&sum).unwrap(), text);
        assert_eq!(read(text), sum);
        assert_eq!(serde_json::to_string(&FileReport::default()).unwrap(), "{}");
    }
}
