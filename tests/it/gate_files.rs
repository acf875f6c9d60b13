//! The last gate over files and policies made by hand: what it lets pass, what it refuses, and in which words.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use chrono::{TimeZone, Utc};
use classification::actions::Action;
use classification::{Care, ColumnKind, Policy, PolicyColumn, Predicate};
use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{FileForm, FileReport, Progress, StagedPartition, Window};
use data_exporter::local::s3::LocalS3;
use data_exporter::pipeline::TablePlan;
use data_exporter::pipeline::encode::Encoder;
use data_exporter::pipeline::encode::parquet::{ParquetEncoder, ParquetOptions};
use data_exporter::pipeline::gate::{self, GateReport};
use data_exporter::storage::ObjectStore;
use data_exporter::storage::s3::S3Store;
use sha2::{Digest, Sha256};

use crate::support::s3;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) fn column(name: &str, sql_type: &str, kind: ColumnKind) -> PolicyColumn {
    PolicyColumn {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        kind,
        cell: Predicate::Always,
        care: Vec::new(),
        scan: false,
    }
}

/// A policy of four columns: a source, a number of lanes, a note and a document.
pub(crate) fn plan() -> TablePlan {
    let columns = vec![
        column("source", "text", ColumnKind::Text),
        column("lanes", "integer", ColumnKind::Number),
        column("note", "text", ColumnKind::Text),
        column("tags", "jsonb", ColumnKind::Json),
    ];
    let instant = |hour| Utc.with_ymd_and_hms(2026, 3, 2, hour, 0, 0).unwrap();
    TablePlan {
        policy: Policy {
            table: "road".parse().unwrap(),
            columns,
            rows: Predicate::Always,
            row_rules: Vec::new(),
            warnings: Vec::new(),
            pii_rules: String::new(),
            decisions: Vec::new(),
            hash: HASH.to_owned(),
        },
        window: Window { start: instant(0), end: instant(1) },
        form: FileForm::PARQUET,
        manifest_types: ["character varying", "integer", "character varying", "character varying"]
            .map(str::to_owned)
            .to_vec(),
        options: BTreeMap::new(),
        day: None,
    }
}

/// Rows of the four columns; the number of lanes follows from the row.
type Row = (Option<&'static str>, Option<&'static str>, Option<&'static str>);

fn batch(rows: &[Row]) -> RecordBatch {
    let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let names =
        [("source", DataType::Utf8), ("lanes", DataType::Int32), ("note", DataType::Utf8), ("tags", DataType::Utf8)];
    let fields: Vec<Field> = names.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect();
    let columns = vec![
        text(rows.iter().map(|row| row.0).collect()),
        Arc::new(Int32Array::from_iter_values((0..rows.len()).map(|row| (row % 4) as i32))) as ArrayRef,
        text(rows.iter().map(|row| row.1).collect()),
        text(rows.iter().map(|row| row.2).collect()),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

pub(crate) fn file(batches: &[RecordBatch], options: ParquetOptions) -> Vec<u8> {
    let metadata = vec![("exporter.policy_hash".to_owned(), HASH.to_owned())];
    let mut encoder =
        Box::new(ParquetEncoder::new(batches[0].schema(), ParquetOptions { metadata, ..options }).unwrap());
    let mut bytes = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        bytes.extend(encoder.drain().concat());
    }
    bytes.extend(encoder.finish().unwrap().bytes.concat());
    bytes
}

pub(crate) fn staged(place: &str, bytes: &[u8], rows: usize) -> StagedPartition {
    StagedPartition {
        ordinal: 0,
        scan: serde_json::Value::Null,
        staging_key: place.to_owned(),
        row_count: i64::try_from(rows).unwrap(),
        byte_count: i64::try_from(bytes.len()).unwrap(),
        sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        etag: String::new(),
        snapshot_id: None,
        report: FileReport::default(),
    }
}

async fn pass(
    store: &S3Store,
    staged: &[StagedPartition],
    plan: &TablePlan,
    sample: f64,
) -> Result<GateReport, Failure> {
    gate::pass(store, staged, plan, sample, &Arc::default(), &|| 2).await
}

/// A store with what the gate is given.
pub(crate) struct Bench {
    _folder: tempfile::TempDir,
    pub(crate) server: LocalS3,
    pub(crate) store: S3Store,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = s3::local(folder.path()).await;
        let store = server.store(s3::BUCKET).await.unwrap();
        Self { _folder: folder, server, store }
    }

    pub(crate) async fn stage(&self, bytes: &[u8], rows: usize) -> StagedPartition {
        let place = format!("_staging/{}", uuid::Uuid::new_v4());
        let body = Bytes::copy_from_slice(bytes);
        self.store.put_if_absent(&s3::key(&place), body, "application/octet-stream").await.unwrap();
        staged(&place, bytes, rows)
    }

    /// What the gate says of this file under this plan, as it was staged.
    pub(crate) async fn pass(&self, plan: &TablePlan, bytes: &[u8], rows: usize) -> Result<GateReport, Failure> {
        let staged = self.stage(bytes, rows).await;
        pass(&self.store, &[staged], plan, 1.0).await
    }

    /// As [`Bench::pass`] of these rows; checks that a refusal tells no value.
    async fn rows(&self, plan: &TablePlan, rows: &[Row]) -> Result<GateReport, String> {
        let passed = self.pass(plan, &file(&[batch(rows)], ParquetOptions::default()), rows.len()).await;
        passed.map_err(|failure| {
            let message = failure.to_string();
            assert!(!["jane", "HERE", "clear"].iter().any(|value| message.contains(value)), "{message}");
            message
        })
    }
}

pub(crate) fn one_of(column: &str, values: &[&str]) -> Predicate {
    Predicate::one_of(column, values.iter().copied())
}

const FUSION: Row = (Some("FUSION"), Some("clear"), None);
const HERE: Row = (Some("HERE"), Some("clear"), None);

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_cells_are_held_to_the_policy() {
    let bench = Bench::new().await;
    let rows = |rows| TablePlan { policy: Policy { rows, ..plan().policy }, ..plan() };
    let with = |name: &str, change: &dyn Fn(&mut PolicyColumn)| {
        let mut plan = plan();
        change(plan.policy.columns.iter_mut().find(|column| column.name == name).unwrap());
        plan
    };
    let fusion = || one_of("source", &["FUSION"]);
    let nulls = |when: Predicate| {
        with("note", &|column| {
            column.care = vec![Care { when: when.clone(), action: Action::Null }];
        })
    };
    let empty: Row = (Some("FUSION"), None, None);
    let unnamed: Row = (None, Some("clear"), None);
    // The plan, the rows, and what a refusal must say.
    let cases: Vec<(&str, TablePlan, Vec<Row>, Option<&str>)> = vec![
        ("admitted", rows(fusion()), vec![FUSION; 3], None),
        ("no rows at all", rows(Predicate::Never), vec![], None),
        ("a denied source", rows(fusion()), vec![FUSION, FUSION, HERE], Some("by source")),
        ("no source", rows(fusion()), vec![FUSION, unnamed], Some("by source")),
        ("no row is admitted", rows(Predicate::Never), vec![FUSION], Some("does not admit")),
        ("a source like an admitted one", rows(one_of("source", &["FUSION", "here"])), vec![HERE], Some("by source")),
        ("by a number", rows(one_of("lanes", &["0", "1", "2"])), vec![FUSION; 3], None),
        ("by another number", rows(one_of("lanes", &["0", "1", "2"])), vec![FUSION; 4], Some("by lanes")),
        (
            "what is not in the file cannot be decided",
            rows(Predicate::All(vec![one_of("tenant", &["a"]), fusion()])),
            vec![FUSION],
            None,
        ),
        (
            "but the rest of it can",
            rows(Predicate::All(vec![one_of("tenant", &["a"]), fusion()])),
            vec![FUSION, HERE],
            Some("by source"),
        ),
        ("one of two is not in the file", rows(Predicate::Any(vec![one_of("x", &["a"]), fusion()])), vec![HERE], None),
        (
            "one of two holds",
            rows(Predicate::Any(vec![one_of("lanes", &["2"]), fusion()])),
            vec![FUSION, FUSION, HERE],
            None,
        ),
        (
            "none of two holds",
            rows(Predicate::Any(vec![one_of("lanes", &["2"]), fusion()])),
            vec![FUSION, HERE],
            Some("by lanes and source"),
        ),
        ("a cell that is admitted", with("note", &|c| c.cell = fusion()), vec![FUSION], None),
        ("a cell that is NULL", with("note", &|c| c.cell = one_of("source", &["HERE"])), vec![empty], None),
        (
            "a cell that must be NULL",
            with("note", &|c| c.cell = fusion()),
            vec![FUSION, HERE],
            Some("'note' where the policy wants NULL"),
        ),
        (
            "a cell that two columns decide",
            with("note", &|c| c.cell = Predicate::All(vec![fusion(), one_of("lanes", &["0"])])),
            vec![FUSION, empty, (Some("HERE"), None, None)],
            None,
        ),
        (
            "a cell that one of two columns denies",
            with("note", &|c| c.cell = Predicate::All(vec![fusion(), one_of("lanes", &["0"])])),
            vec![FUSION, FUSION, (Some("HERE"), None, None)],
            Some("'note'"),
        ),
        ("a column that must be NULL", with("note", &|c| c.cell = Predicate::Never), vec![FUSION], Some("'note'")),
        ("nulled everywhere", nulls(Predicate::Always), vec![empty; 2], None),
        ("not nulled", nulls(Predicate::Always), vec![empty, FUSION], Some("'note' where the policy wants NULL")),
        ("nulled for a source", nulls(fusion()), vec![empty, HERE], None),
        ("not nulled for a source", nulls(fusion()), vec![FUSION, HERE], Some("'note'")),
        ("nulled for a metric that is not in the file", nulls(one_of("metric", &["a"])), vec![FUSION], None),
        (
            "a source that was changed on the way decides nothing",
            {
                let mut plan = rows(fusion());
                plan.policy.columns[0].care = vec![Care { when: Predicate::Always, action: Action::Redact }];
                plan
            },
            vec![(Some("<REDACTED>"), None, None)],
            None,
        ),
        (
            "a padded source",
            {
                let mut plan = rows(fusion());
                plan.policy.columns[0].sql_type = "character(8)".to_owned();
                plan
            },
            vec![(Some("FUSION  "), None, None)],
            None,
        ),
        ("a text with spaces is another text", rows(fusion()), vec![(Some("FUSION  "), None, None)], Some("by source")),
    ];
    for (name, plan, rows, refusal) in cases {
        match (bench.rows(&plan, &rows).await, refusal) {
            (Ok(report), None) => assert_eq!(report.rows, rows.len() as u64, "{name}"),
            (Err(message), Some(words)) => {
                assert!(message.contains(words) && message.ends_with("[GATE_REFUSED]"), "{name}: {message}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_told_by_column_and_entity_only() {
    let bench = Bench::new().await;
    let mut plan = plan();
    let canary: Row =
        (Some("FUSION"), Some("mail jane@example.com or +49 30 1234567"), Some(r#"{"ip\u0034": "192\u002e0.2.1"}"#));
    let rows = [FUSION, canary, canary];
    let report = bench.rows(&plan, &rows).await.unwrap();
    assert_eq!((report.values, report.distinct), (0, 0), "nothing is searched that the policy does not name");

    plan.policy.columns[2].scan = true;
    let message = bench.rows(&plan, &rows).await.unwrap_err();
    assert_eq!(
        message,
        "file 0 of 'road' holds personal data (column 'note': EMAIL in 1 values, PHONE in 1 values); nothing of the table was published, and its files are deleted [GATE_FOUND_PERSONAL_DATA]"
    );
    plan.policy.pii_rules = "[entities.EMAIL]\nenabled = false\n[entities.PHONE]\nenabled = false".to_owned();
    let report = bench.rows(&plan, &rows).await.unwrap();
    assert_eq!((report.rows, report.values, report.distinct, report.searched), (3, 3, 2, 1));
    assert_eq!(report.sample, None);
    plan.policy.columns[3].scan = true;
    let message = bench.rows(&plan, &rows).await.unwrap_err();
    assert!(message.contains("column 'tags': IPV4 in 1 values"), "{message}");
    plan.policy.pii_rules = "entities = 1".to_owned();
    assert!(bench.rows(&plan, &rows).await.unwrap_err().contains("PII rules of the policy cannot be read"));
}

/// Small and large row groups, dictionaries and plain pages, values in the first and the last place.
#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_every_row_group_is_searched() {
    let bench = Bench::new().await;
    let mut plan = plan();
    plan.policy.rows = one_of("source", &["FUSION"]);
    plan.policy.columns[2].scan = true;
    plan.policy.columns[3].scan = true;
    const ROWS: usize = 60_000;
    let texts: Vec<String> = (0..ROWS).map(|row| format!("{row} {}", "Main Street ".repeat(3 + row % 5))).collect();
    for distinct in [7, 300, ROWS] {
        for (name, options) in [
            ("one group", ParquetOptions::default()),
            ("many groups", ParquetOptions { row_group_rows: 9_000, ..ParquetOptions::default() }),
        ] {
            let build = |place: Option<usize>| {
                let note = |row: usize| if Some(row) == place { "x 192.0.2.1" } else { &texts[row % distinct] };
                let whole = StringArray::from_iter((0..ROWS).map(|row| (row % 11 != 3).then(|| note(row))));
                let empty = batch(&vec![FUSION; ROWS]);
                let mut columns = empty.columns().to_vec();
                columns[2] = Arc::new(whole);
                file(&[RecordBatch::try_new(empty.schema(), columns).unwrap()], options.clone())
            };
            let report = bench.pass(&plan, &build(None), ROWS).await.unwrap();
            let values = (0..ROWS).filter(|row| row % 11 != 3).count() as u64;
            assert_eq!((report.rows, report.values), (ROWS as u64, values), "{name} of {distinct}");
            assert_eq!(report.searched, report.row_groups);
            assert_eq!(report.row_groups > 1, name == "many groups");
            if distinct < ROWS {
                let once = distinct as u64 * report.row_groups;
                assert_eq!(report.distinct, once, "{name}: each value of a dictionary once");
            }
            for place in [0, 9_000 - 1, 9_000, ROWS / 2 + 1, ROWS - 1] {
                let refused = bench.pass(&plan, &build(Some(place)), ROWS).await.unwrap_err();
                assert_eq!(refused.code, ErrorCode::GateFoundPersonalData, "{name} of {distinct} at {place}");
                assert!(refused.message.contains("'note': IPV4 in 1 values"), "{}", refused.message);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_committed_bytes_pass() {
    let bench = Bench::new().await;
    let plan = plan();
    let options = ParquetOptions { row_group_rows: 500, ..ParquetOptions::default() };
    let good = file(&[batch(&vec![FUSION; 2_000])], options.clone());
    assert_eq!(bench.pass(&plan, &good, 2_000).await.unwrap().row_groups, 4);

    let mut staged = bench.stage(&good, 2_000).await;
    staged.sha256 = "0".repeat(64);
    let refused = pass(&bench.store, &[staged.clone()], &plan, 1.0).await.unwrap_err();
    assert!(refused.message.contains("another SHA-256"), "{}", refused.message);
    for (rows, bytes, words) in [(2_001, 0, "2000 rows instead of 2001"), (2_000, 1, "bytes instead of")] {
        let staged = StagedPartition { row_count: rows, byte_count: staged.byte_count + bytes, ..staged.clone() };
        let refused = pass(&bench.store, &[staged], &plan, 1.0).await.unwrap_err();
        assert!(refused.code == ErrorCode::GateRefused && refused.message.contains(words), "{}", refused.message);
    }
    let gone = StagedPartition { staging_key: "_staging/nowhere".to_owned(), ..staged };
    let refused = pass(&bench.store, &[gone], &plan, 1.0).await.unwrap_err();
    assert!(refused.message.contains("not in the object store any more"), "{}", refused.message);

    // Wherever a byte is another one, the file is refused; nothing ends in a panic or a fault of the exporter.
    for place in (0..good.len()).step_by(good.len() / 150) {
        let mut damaged = good.clone();
        damaged[place] ^= 0x40;
        let place = format!("_staging/damaged-{place}");
        let body = Bytes::from(damaged);
        bench.store.put_if_absent(&s3::key(&place), body, "application/octet-stream").await.unwrap();
        let staged = StagedPartition { staging_key: place.clone(), ..self::staged("", &good, 2_000) };
        let refused = pass(&bench.store, &[staged], &plan, 1.0).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::GateRefused, "{place}: {}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_must_be_the_policys() {
    let bench = Bench::new().await;
    let good = file(&[batch(&[FUSION])], ParquetOptions::default());
    let change = |change: &dyn Fn(&mut TablePlan)| {
        let mut plan = plan();
        change(&mut plan);
        plan
    };
    for (plan, words) in [
        (change(&|plan| plan.policy.columns.truncate(3)), "where the policy grants"),
        (change(&|plan| plan.policy.columns.swap(0, 2)), "where the policy grants"),
        (change(&|plan| plan.policy.columns[2].name = "Note".to_owned()), "where the policy grants"),
        (change(&|plan| plan.manifest_types[1] = "bigint".to_owned()), "another type of 'lanes' than bigint"),
        (change(&|plan| plan.policy.hash = "other".to_owned()), "under another policy"),
    ] {
        let refused = bench.pass(&plan, &good, 1).await.unwrap_err();
        assert!(refused.code == ErrorCode::GateRefused && refused.message.contains(words), "{}", refused.message);
    }
    let booleans: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let other = RecordBatch::try_from_iter([("x", booleans)]).unwrap();
    let refused = bench.pass(&plan(), &file(&[other], ParquetOptions::default()), 1).await.unwrap_err();
    assert!(refused.message.contains("where the policy grants"), "{}", refused.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_told_and_checks_every_row_all_the_same() {
    let bench = Bench::new().await;
    let mut plan = plan();
    plan.policy.columns[2].scan = true;
    plan.policy.rows = one_of("source", &["FUSION"]);
    let options = ParquetOptions { row_group_rows: 100, ..ParquetOptions::default() };
    let bytes = file(&[batch(&vec![FUSION; 1_000])], options.clone());
    let staged = bench.stage(&bytes, 1_000).await;
    for (sample, searched, told) in [(0.25, 3, Some("0.25")), (0.001, 1, Some("0.001")), (1.0, 10, None)] {
        let report = pass(&bench.store, std::slice::from_ref(&staged), &plan, sample).await.unwrap();
        assert_eq!((report.row_groups, report.searched, report.sample.as_deref()), (10, searched, told));
        assert_eq!((report.rows, report.values), (1_000, searched * 100));
        assert_eq!(
            pass(&bench.store, std::slice::from_ref(&staged), &plan, sample).await.unwrap(),
            report,
            "the same again"
        );
    }
    let mut rows = vec![FUSION; 1_000];
    rows[999] = HERE;
    let staged = bench.stage(&file(&[batch(&rows)], options), 1_000).await;
    assert!(pass(&bench.store, &[staged], &plan, 0.001).await.unwrap_err().message.contains("by source"));
}

/// The store's own answers are counted elsewhere: this is what goes on between two of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_checked_counts_as_progress() {
    let bench = Bench::new().await;
    let mut plan = plan();
    plan.policy.columns[2].scan = true;
    let options = ParquetOptions { row_group_rows: 100, ..ParquetOptions::default() };
    let staged = bench.stage(&file(&[batch(&vec![FUSION; 1_000])], options), 1_000).await;
    let progress = Arc::new(Progress::default());
    let report = gate::pass(&bench.store, &[staged], &plan, 1.0, &progress, &|| 2).await.unwrap();
    assert_eq!(progress.moved(), i64::try_from(report.row_groups).unwrap() * 2, "a batch and a column of each group");
}
