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
}

impl FileReport {
    /// Adds what was done to another file.
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_and_are_read_as_they_were_written() {
        let read = |text: &str| serde_json::from_str::<FileReport>(text).unwrap();
        let mut sum = read("{}");
        sum.add(&read(r#"{"removed": {"note": {"EMAIL": 3}}, "actions": {"plate": 120}}"#));
        sum.add(&read(r#"{"removed": {"note": {"EMAIL": 1, "IPV4": 2}, "tags": {"VIN": 1}}, "fidelity": {}}"#));
        let text = r#"{"removed":{"note":{"EMAIL":4,"IPV4":2},"tags":{"VIN":1}},"actions":{"plate":120}}"#;
        assert_eq!(serde_json::to_string(&sum).unwrap(), text);
        assert_eq!(read(text), sum);
        assert_eq!(serde_json::to_string(&FileReport::default()).unwrap(), "{}");
    }
}
