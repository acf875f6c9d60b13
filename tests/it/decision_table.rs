//! The decision table on real exports: tables with every combination of codes, requested from a worker, and their
//! files read back from S3 cell by cell.

use std::sync::Arc;

use data_exporter::jobs::{FileChoice, JobState, NewRequest, Tenant};
use data_exporter::warehouse::postgres::PostgresOptions;
use sqlx::AssertSqlSafe;

use crate::support::decisions::{self, HIDDEN, SHEETS, canaries};
use crate::support::files::{self, FORMS};
use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, day_range};
use crate::support::protect::key;
use crate::support::s3;

/// Every row of the decision table, and the cells of which each is asserted.
#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_is_what_the_decision_table_says_cell_by_cell() {
    let platform = Platform::empty("decision_table").await;
    sqlx::raw_sql(AssertSqlSafe(decisions::warehouse())).execute(&platform.warehouse).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(decisions::rules())).execute(&platform.metadata).await.unwrap();
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let worker = Running::with_key(&platform, warehouse, store, Some(key()));
    for &form in FORMS {
        let view = files::export(&worker, &[], form).await;
        assert_eq!(view.state, JobState::Completed, "{:?} {:?}", view.error, view.tables);
        let mut tables: Vec<String> = view.tables.iter().map(|table| table.name.to_string()).collect();
        let mut expected: Vec<&str> = SHEETS.iter().map(|sheet| sheet.table).collect();
        tables.sort_unstable();
        expected.sort_unstable();
        assert_eq!(tables, expected, "a table that is switched off or on no list does not leave");
        let folder = platform.folder.path().join(form.extension());
        let mut wrong = Vec::new();
        let mut cells = 0;
        for sheet in SHEETS {
            let found = files::read(&files::fetch(&platform, &view, sheet.table, &folder).await);
            wrong.extend(sheet.differences(&found));
            let (denied, granted) = sheet.canaries();
            cells += denied.len() + granted.len();
        }
        assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
        println!("{} tables and {cells} cells as the decision table has them, in {}", SHEETS.len(), form.extension());
    }

    // Asked for by name, a hidden table is refused as well.
    let (start, end) = day_range();
    for table in HIDDEN {
        let request = NewRequest {
            tenant: Tenant::default(),
            requested_by: "test".to_owned(),
            start,
            end,
            tables: Some(vec![(*table).to_owned()]),
            files: FileChoice::default(),
            idempotency_key: None,
        };
        let refused = worker.requests.submit(&request).await.unwrap_err();
        assert!(refused.to_string().contains(table), "{refused}");
    }
    worker.stop().await;
}

/// The sheets themselves: each value stands once, and each mark of the grid occurs.
#[test]
fn every_cell_has_a_value_of_its_own() {
    let (denied, granted) = canaries();
    let mut all: Vec<&String> = denied.iter().chain(&granted).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(denied.len() > 1_000 && granted.len() > 250, "{} {}", denied.len(), granted.len());
}
