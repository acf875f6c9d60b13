//! Names of objects: what the outside relies on to find an export, and where attempts write before that.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use classification::TableName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use crate::jobs::{JobId, Tenant, Window};

/// What a tenant's name keeps in a key; everything else is percent-encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-');

/// The names under one environment's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    env: String,
}

impl Layout {
    /// Under this environment, the first element of every key.
    pub fn new(env: impl Into<String>) -> Self {
        Self { env: env.into() }
    }

    /// The directory of an on-demand export of one table, without a slash at its end.
    pub fn on_demand(&self, tenant: &Tenant, table: &TableName, window: Window) -> String {
        let tenant = match tenant.as_str() {
            Tenant::DEFAULT => String::new(),
            other => format!("tenant={}/", utf8_percent_encode(other, PLAIN)),
        };
        format!(
            "{}/{tenant}data_exporter_service/{}/{}/{}_{}",
            self.env,
            table.key_element(),
            window.start.format("%Y%m%d"),
            compact(window.start),
            compact(window.end)
        )
    }

    /// The folder of a day of the schedule.
    pub fn day(&self, date: NaiveDate) -> String {
        format!("{}/{}", self.env, date.format("%Y/%m/%d"))
    }

    /// A table's folder in a day, which readers of files take for the table.
    pub fn scheduled(&self, date: NaiveDate, table: &TableName) -> String {
        format!("{}/{}", self.day(date), table.key_element())
    }

    /// Where a revision of a table puts its files: the folder itself, and from the second on one that readers of files
    /// pass over.
    pub fn revision(&self, folder: &str, revision: i32) -> String {
        if revision == 1 { folder.to_owned() } else { self.hidden(folder, revision) }
    }

    /// Where files of a revision lie that nothing ever takes the place of.
    pub fn hidden(&self, folder: &str, revision: i32) -> String {
        format!("{folder}/_r{revision}")
    }

    /// The manifest of a scheduled table, whatever its revision.
    pub fn scheduled_manifest(&self, folder: &str) -> String {
        format!("{folder}/_manifest")
    }

    /// A table's file in its directory.
    pub fn file(&self, directory: &str, table: &TableName, ordinal: i32, extension: &str) -> String {
        format!("{directory}/{}_{ordinal:03}.{extension}", table.key_element())
    }

    /// The manifest of an on-demand directory.
    pub fn manifest(&self, directory: &str) -> String {
        format!("{directory}/manifest")
    }

    /// Where one attempt writes: a key of its own, so that no two attempts ever meet.
    pub fn staging(&self, job: JobId, table: &TableName, partition: i64, epoch: i64) -> String {
        format!("{}/_staging/{job}/{}/{partition}-e{epoch}-{}", self.env, table.key_element(), Uuid::new_v4())
    }
}

/// An instant in the words of manifests.
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// An instant in a key.
fn compact(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn window() -> Window {
        Window {
            start: Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap(),
            end: Utc.with_ymd_and_hms(2026, 3, 2, 0, 0, 0).unwrap(),
        }
    }

    #[test]
    fn directories_of_tenants_and_tables() {
        let layout = Layout::new("dev");
        for (tenant, table, expected) in [
            ("default", "way", "dev/data_exporter_service/way/20260301/20260301T000000Z_20260302T000000Z"),
            (
                "acme",
                "ops.way",
                "dev/tenant=acme/data_exporter_service/ops.way/20260301/20260301T000000Z_20260302T000000Z",
            ),
            (
                "a/../b",
                "_x",
                "dev/tenant=a%2F..%2Fb/data_exporter_service/t=_x/20260301/20260301T000000Z_20260302T000000Z",
            ),
        ] {
            let table: TableName = table.parse().unwrap();
            assert_eq!(layout.on_demand(&Tenant::new(tenant), &table, window()), expected);
        }
    }

    #[test]
    fn files_count_with_at_least_three_digits() {
        let (layout, table) = (Layout::new("dev"), "ops.way".parse().unwrap());
        assert_eq!(layout.file("d", &table, 0, "parquet"), "d/ops.way_000.parquet");
        assert_eq!(layout.file("d", &table, 1234, "parquet"), "d/ops.way_1234.parquet");
    }

    #[test]
    fn attempts_never_meet() {
        let (layout, table, job) = (Layout::new("dev"), "way".parse().unwrap(), JobId::new());
        assert_ne!(layout.staging(job, &table, 1, 1), layout.staging(job, &table, 1, 1));
    }
}
