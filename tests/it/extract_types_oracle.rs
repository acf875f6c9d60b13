//! Random tables of random types against PostgreSQL's own word: every cell that is exported must be what the server says
//! of it, whatever stands beside it.

use classification::rules::TypeProfile;
use serde_json::Value;

use crate::support::random::{MADE, Tables, identifier};
use crate::support::values::{column, said};
use crate::support::warehouse::TestWarehouse;

#[tokio::test]
async fn random_tables_of_random_types_are_what_the_server_says() {
    let mut test = TestWarehouse::new("types_oracle").await;
    test.run(MADE).await;
    let mut tables = Tables::new();
    for number in 0..tables.rounds() {
        let table = tables.next();
        test.run(table.sql).await;
        let mut scan = test.whole("t").await;
        for profile in [TypeProfile::Portable, TypeProfile::Native] {
            scan.type_profile = profile;
            let batches = test.read(&scan).await.unwrap();
            for (at, (name, kind)) in table.columns.iter().enumerate() {
                let server = if profile == TypeProfile::Native { &kind.native } else { &kind.server };
                let want = test.texts(asked(name, server)).await;
                let schema = batches[0].schema();
                let want = want.into_iter().map(|text| said(schema.field(at + 1).data_type(), text));
                let want: Vec<Value> = want.collect();
                let found = column(&batches, at + 1);
                assert_eq!(found, want, "table {number}, {} {name:?}, {profile:?}", kind.sql_type);
            }
        }
    }
}

/// What the server says of a column's values in this way. A row whose parts are all NULL is not NULL.
pub(crate) fn asked(name: &str, server: &str) -> String {
    let name = identifier(name);
    format!(
        "SELECT CASE WHEN v::text IS NOT NULL THEN {server} END FROM (SELECT id, {name} AS v FROM t) s ORDER BY s.id"
    )
}
