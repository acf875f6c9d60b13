//! The last gate over CSV and JSONL made by hand: what it lets pass, what it refuses, and in which words.

use std::sync::Arc;

use std::io::Write;

use classification::actions::Action;
use classification::{Care, Policy, Predicate};
use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{Compression, ExportFormat, FileForm, StagedPartition};
use data_exporter::local::s3::{Fault, Operation};
use data_exporter::pipeline::TablePlan;
use data_exporter::pipeline::gate::{self, GateReport};
use data_exporter::storage::ObjectStore;

use crate::gate_files::{Bench, one_of, plan, staged};
use crate::support::s3;

const HEADER: &str = "source,lanes,note,tags\r\n";

/// Rows as a reader would write them down: CSV, and the same as JSONL.
type Lines = (&'static str, &'static str);

const FUSION: Lines = (
    "FUSION,1,clear,\"{\"\"a\"\": 1}\"\r\n",
    "{\"source\":\"FUSION\",\"lanes\":1,\"note\":\"clear\",\"tags\":{\"a\": 1}}\n",
);
const HERE: Lines = ("HERE,2,clear,\r\n", "{\"source\":\"HERE\",\"lanes\":2,\"note\":\"clear\",\"tags\":null}\n");
const EMPTY: Lines = ("FUSION,,,\r\n", "{\"source\":\"FUSION\",\"lanes\":null,\"note\":null,\"tags\":null}\n");
const UNNAMED: Lines = (",3,\"\",[]\r\n", "{\"source\":null,\"lanes\":3,\"note\":\"\",\"tags\":[]}\n");

fn pack(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        }
        Compression::Zstd => zstd::stream::encode_all(bytes, 1).unwrap(),
        Compression::None | Compression::Snappy => bytes.to_vec(),
    }
}

fn written(plan: &TablePlan, format: ExportFormat, compression: Compression) -> TablePlan {
    TablePlan { form: FileForm { format, compression, formula_guard: true }, ..plan.clone() }
}

async fn csv(bench: &Bench, plan: &TablePlan, text: &str, rows: usize) -> Result<GateReport, Failure> {
    bench.pass(&written(plan, ExportFormat::Csv, Compression::None), text.as_bytes(), rows).await
}

async fn jsonl(bench: &Bench, plan: &TablePlan, text: &str, rows: usize) -> Result<GateReport, Failure> {
    bench.pass(&written(plan, ExportFormat::Jsonl, Compression::None), text.as_bytes(), rows).await
}

/// Refused by a rule, in these words, and without a value.
fn refused(found: Result<GateReport, Failure>, words: &str, name: &str) {
    let failure = found.expect_err(name);
    assert_eq!(failure.code, ErrorCode::GateRefused, "{name}: {failure}");
    assert!(failure.message.contains(words), "{name}: {failure}");
    assert!(!["jane", "HERE", "clear"].iter().any(|value| failure.message.contains(value)), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_cells_are_held_to_the_policy_in_every_form() {
    let bench = Bench::new().await;
    let rows = |rows: Predicate| TablePlan { policy: Policy { rows, ..plan().policy }, ..plan() };
    let note = |change: &dyn Fn(&mut classification::PolicyColumn)| {
        let mut plan = plan();
        change(&mut plan.policy.columns[2]);
        plan
    };
    let fusion = || one_of("source", &["FUSION"]);
    let nulls = |when: Predicate| note(&|column| column.care = vec![Care { when: when.clone(), action: Action::Null }]);
    let cases: Vec<(&str, TablePlan, Vec<Lines>, Option<&str>)> = vec![
        ("admitted", rows(fusion()), vec![FUSION, EMPTY], None),
        ("no rows at all", rows(Predicate::Never), vec![], None),
        ("no row is admitted", rows(Predicate::Never), vec![FUSION], Some("does not admit, by any rule")),
        ("a denied source", rows(fusion()), vec![FUSION, FUSION, HERE], Some("does not admit, by source")),
        ("no source", rows(fusion()), vec![FUSION, UNNAMED], Some("by source")),
        ("by a number", rows(one_of("lanes", &["1", "2"])), vec![FUSION, HERE], None),
        ("by another number", rows(one_of("lanes", &["1", "2"])), vec![FUSION, UNNAMED], Some("by lanes")),
        ("by no number", rows(one_of("lanes", &["1"])), vec![EMPTY], Some("by lanes")),
        ("one of two holds", rows(Predicate::Any(vec![one_of("lanes", &["2"]), fusion()])), vec![FUSION, HERE], None),
        ("what is not there", rows(Predicate::All(vec![one_of("tenant", &["a"]), fusion()])), vec![FUSION], None),
        ("a cell that is admitted", note(&|c| c.cell = fusion()), vec![FUSION], None),
        (
            "a cell that is not",
            note(&|c| c.cell = fusion()),
            vec![FUSION, HERE],
            Some("'note' where the policy wants NULL"),
        ),
        ("nulled everywhere", nulls(Predicate::Always), vec![EMPTY; 2], None),
        ("not nulled", nulls(Predicate::Always), vec![EMPTY, FUSION], Some("'note' where the policy wants NULL")),
        ("an empty text is not NULL", nulls(Predicate::Always), vec![UNNAMED], Some("'note'")),
        ("nulled for a source", nulls(fusion()), vec![EMPTY, HERE], None),
        ("not nulled for a source", nulls(fusion()), vec![FUSION, HERE], Some("'note'")),
    ];
    for (name, plan, rows, refusal) in cases {
        for format in [ExportFormat::Csv, ExportFormat::Jsonl] {
            let text: String = match format {
                ExportFormat::Csv => HEADER.to_owned() + &rows.iter().map(|row| row.0).collect::<String>(),
                _ => rows.iter().map(|row| row.1).collect(),
            };
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let name = format!("{name} as {format:?} {compression:?}");
                let bytes = pack(text.as_bytes(), compression);
                let found = bench.pass(&written(&plan, format, compression), &bytes, rows.len()).await;
                match refusal {
                    None => assert_eq!(found.expect(&name).rows, rows.len() as u64),
                    Some(words) => refused(found, words, &name),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_searched_and_each_often_seen_one_once() {
    let bench = Bench::new().await;
    let mut plan = plan();
    let canary = (
        "FUSION,1,\"mail\r\n\"\"jane@example.com\"\", now\",\"{\"\"ip\\u0034\"\": \"\"192\\u002e0.2.1\"\"}\"\r\n",
        "{\"source\":\"FUSION\",\"lanes\":1,\"note\":\"mail\\n\\u006aane\\u0040example.com\",\"tags\":{\"ip4\": [\"192\\u002e0.2.1\"]}}\n",
    );
    let text = |rows: &[Lines]| {
        let csv: String = rows.iter().map(|row| row.0).collect();
        (HEADER.to_owned() + &csv, rows.iter().map(|row| row.1).collect::<String>())
    };
    let (c, j) = text(&[FUSION, canary, canary, EMPTY]);
    for report in [csv(&bench, &plan, &c, 4).await.unwrap(), jsonl(&bench, &plan, &j, 4).await.unwrap()] {
        assert_eq!((report.rows, report.values, report.distinct), (4, 0, 0), "nothing that the policy does not name");
    }
    plan.policy.columns[2].scan = true;
    for found in [csv(&bench, &plan, &c, 4).await, jsonl(&bench, &plan, &j, 4).await] {
        assert_eq!(
            found.unwrap_err().to_string(),
            "file 0 of 'road' holds personal data (column 'note': EMAIL in 1 values); nothing of the table was published, and its files are deleted [GATE_FOUND_PERSONAL_DATA]"
        );
    }
    plan.policy.columns[2].scan = false;
    plan.policy.columns[3].scan = true;
    for found in [csv(&bench, &plan, &c, 4).await, jsonl(&bench, &plan, &j, 4).await] {
        let message = found.unwrap_err().to_string();
        assert!(message.contains("(column 'tags': IPV4 in 1 values)"), "{message}");
    }
    // A key is searched like a value.
    let key = "{\"source\":null,\"lanes\":1,\"note\":null,\"tags\":{\"jane@example.com\":1}}\n";
    assert_eq!(jsonl(&bench, &plan, key, 1).await.unwrap_err().code, ErrorCode::GateFoundPersonalData);
    // Behind a guard that was taken away, at the end of a long value, in the last row.
    plan.policy.columns[2].scan = true;
    for value in ["'+49 30 1234567", &format!("{} jane@example.com", "x".repeat(1 << 20))] {
        let text = format!("{HEADER}{}FUSION,1,{value},\r\n", FUSION.0.repeat(5_000));
        let found = csv(&bench, &plan, &text, 5_001).await.unwrap_err();
        assert!(found.message.contains("column 'note'"), "{found}");
    }
    // Texts that repeat themselves are searched once, and those that do not each.
    for (distinct, looked) in [(7, 7), (3_000, 3_000), (20_000, 20_000)] {
        let rows: String = (0..20_000).map(|row| format!("FUSION,1,road {},\r\n", row % distinct)).collect();
        let report = csv(&bench, &plan, &format!("{HEADER}{rows}"), 20_000).await.unwrap();
        assert_eq!((report.rows, report.values, report.distinct), (20_000, 20_000, looked));
        assert_eq!((report.row_groups, report.searched, report.guarded.len()), (1, 1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_form_of_the_exporter_is_refused() {
    let bench = Bench::new().await;
    let plan = plan();
    let csv_cases = [
        ("no header", "", 0, "has no header"),
        ("rows without a header", "HERE,1,jane,\r\n", 1, "where the policy grants"),
        ("other order", "lanes,source,note,tags\r\n", 0, "other columns, or in another order"),
        ("fewer columns", "source,lanes,note\r\n", 0, "where the policy grants"),
        ("more columns", "source,lanes,note,tags,more\r\n", 0, "where the policy grants"),
        ("another case", "Source,lanes,note,tags\r\n", 0, "where the policy grants"),
        ("a mark before the header", "\u{feff}source,lanes,note,tags\r\n", 0, "where the policy grants"),
        ("other line ends", "source,lanes,note,tags\n", 0, "row 0 that does not end with CRLF"),
        ("a field less", "source,lanes,note,tags\r\na,1,b\r\n", 1, "row 0 that is no CSV"),
        ("a field more", "source,lanes,note,tags\r\na,1,b,,\r\n", 1, "row 0 that is no CSV"),
        ("an empty line", "source,lanes,note,tags\r\n\r\n", 1, "row 0 that is no CSV"),
        ("a quote inside", "source,lanes,note,tags\r\na\"\",1,b,\r\n", 1, "row 0 that is no CSV"),
        ("text behind a quote", "source,lanes,note,tags\r\n\"a\"b,1,b,\r\n", 1, "row 0 that is no CSV"),
        ("an open quote", "source,lanes,note,tags\r\n\"a,1,b,\r\n", 1, "ends in the middle of a row"),
        ("no line end", "source,lanes,note,tags\r\na,1,b,", 1, "ends in the middle of a row"),
        ("a text for a number", "source,lanes,note,tags\r\na,jane,b,\r\n", 1, "'lanes' that is no integer"),
        ("a number of 64 bits", "source,lanes,note,tags\r\na,3000000000,b,\r\n", 1, "'lanes' that is no integer"),
        ("a formula", "source,lanes,note,tags\r\na,1,=HERE(),\r\n", 1, "'note' that a spreadsheet takes for a formula"),
        ("fewer rows", "source,lanes,note,tags\r\n", 1, "has 0 rows instead of 1"),
        ("more rows", "source,lanes,note,tags\r\na,1,,\r\na,1,,\r\n", 1, "has more than 1 rows"),
    ];
    for (name, text, rows, words) in csv_cases {
        refused(csv(&bench, &plan, text, rows).await, words, name);
    }
    let jsonl_cases = [
        ("other order", r#"{"lanes":1,"source":"a","note":"b","tags":1}"#, "row 0 with other columns"),
        ("a key less", r#"{"source":"a","lanes":1,"note":"b"}"#, "where the policy grants"),
        ("a key more", r#"{"source":"a","lanes":1,"note":"b","tags":1,"more":"jane"}"#, "where the policy grants"),
        ("a key twice", r#"{"source":"a","lanes":1,"note":"b","note":"jane","tags":1}"#, "where the policy grants"),
        ("no object", r#"["a",1,"jane",1]"#, "row 0 that is no JSON object"),
        ("no JSON", "jane", "row 0 that is no JSON object"),
        ("an empty line", "", "row 0 that is no JSON object"),
        ("two objects", r#"{"source":"a","lanes":1,"note":"b","tags":1} {}"#, "row 0 that is no JSON object"),
        ("a text for a number", r#"{"source":"a","lanes":"1","note":"b","tags":1}"#, "'lanes' that is no integer"),
        ("a fraction", r#"{"source":"a","lanes":1.0,"note":"b","tags":1}"#, "'lanes' that is no integer"),
        ("an object for a text", r#"{"source":"a","lanes":1,"note":{"a":"jane"},"tags":1}"#, "'note' that is no text"),
    ];
    for (name, line, words) in jsonl_cases {
        refused(jsonl(&bench, &plan, &format!("{line}\n"), 1).await, words, name);
    }
    refused(jsonl(&bench, &plan, FUSION.1.trim_end(), 1).await, "ends in the middle of a row", "no line end");
    refused(jsonl(&bench, &plan, &FUSION.1.repeat(3), 2).await, "has more than 2 rows", "more rows");
    refused(jsonl(&bench, &plan, "", 1).await, "has 0 rows instead of 1", "no rows");
    for format in [ExportFormat::Csv, ExportFormat::Jsonl] {
        let text = if format == ExportFormat::Csv { [HEADER, FUSION.0].concat() } else { FUSION.1.to_owned() };
        let mut bytes = text.into_bytes();
        let place = bytes.windows(5).position(|five| five == b"clear").unwrap();
        bytes[place] = 0xff;
        let plan = written(&plan, format, Compression::None);
        refused(bench.pass(&plan, &bytes, 1).await, "row 0 that is not UTF-8", "a byte that is no UTF-8");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guards_are_undone_and_counted() {
    let bench = Bench::new().await;
    let mut plan = plan();
    plan.policy.rows = one_of("source", &["=1", "'=1", "a"]);
    let text = format!("{HEADER}'=1,1,a,\r\n''=1,1,\"'\t\",'-5\r\na,-1,'a,\"[\"\"=1\"\"]\"\r\n");
    let report = csv(&bench, &plan, &text, 3).await.unwrap();
    assert_eq!(report.guarded, [("note", 1), ("source", 2), ("tags", 1)].map(|(name, n)| (name.to_owned(), n)).into());
    plan.policy.rows = one_of("source", &["=1", "a"]);
    refused(csv(&bench, &plan, &text, 3).await, "by source", "with a quote it is another source");
    // The opt-out: texts are what they are.
    plan.policy.rows = one_of("source", &["=1"]);
    let mut open = written(&plan, ExportFormat::Csv, Compression::None);
    open.form.formula_guard = false;
    let report = bench.pass(&open, format!("{HEADER}=1,1,'=1,-5\r\n").as_bytes(), 1).await.unwrap();
    assert!(report.guarded.is_empty());
    refused(bench.pass(&open, format!("{HEADER}'=1,1,,\r\n").as_bytes(), 1).await, "by source", "nothing is undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_committed_bytes_pass_in_every_form() {
    let bench = Bench::new().await;
    let plain = [HEADER.to_owned(), FUSION.0.repeat(2_000)].concat();
    for format in [ExportFormat::Csv, ExportFormat::Jsonl] {
        let text = if format == ExportFormat::Csv { plain.clone() } else { FUSION.1.repeat(2_000) };
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let plan = written(&plan(), format, compression);
            let good = pack(text.as_bytes(), compression);
            let name = format!("{format:?} {compression:?}");
            assert_eq!(bench.pass(&plan, &good, 2_000).await.unwrap().rows, 2_000, "{name}");
            let mut other = bench.stage(&good, 2_000).await;
            other.sha256 = "0".repeat(64);
            refused(
                gate::pass(&bench.store, &[other], &plan, 1.0, &Arc::default(), &|| 2).await,
                "another SHA-256",
                &name,
            );
            // Cut short, and with something behind it: also where the hash was made of just that.
            let cut = &good[..good.len() - 1];
            let words =
                if compression == Compression::None { "in the middle of a row" } else { "cannot be decompressed" };
            refused(bench.pass(&plan, cut, 2_000).await, words, &name);
            if compression != Compression::None {
                for behind in [&b"jane"[..], &good] {
                    let longer = [&good, behind].concat();
                    refused(bench.pass(&plan, &longer, 2_000).await, "goes on after its compressed end", &name);
                }
                refused(bench.pass(&plan, text.as_bytes(), 2_000).await, "cannot be decompressed", &name);
            }
            for place in (0..good.len()).step_by((good.len() / 40).max(1)) {
                let mut damaged = good.clone();
                damaged[place] ^= 0x40;
                let place = format!("_staging/{format:?}-{compression:?}-{place}");
                let body = bytes::Bytes::from(damaged);
                bench.store.put_if_absent(&s3::key(&place), body, "application/octet-stream").await.unwrap();
                let staged = StagedPartition { staging_key: place.clone(), ..staged("", &good, 2_000) };
                let refused =
                    gate::pass(&bench.store, &[staged], &plan, 1.0, &Arc::default(), &|| 2).await.unwrap_err();
                assert_eq!(refused.code, ErrorCode::GateRefused, "{place}: {}", refused.message);
            }
        }
    }
}

/// What a store does not hand over is its fault, and not the file's: the table is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_on_the_way_is_no_refusal() {
    let bench = Bench::new().await;
    let text = [HEADER.to_owned(), FUSION.0.repeat(120_000)].concat();
    assert!(text.len() > 3 << 20, "two pieces");
    for (compression, before) in
        [(Compression::None, 1), (Compression::None, 0), (Compression::Gzip, 0), (Compression::Zstd, 0)]
    {
        let bytes = pack(text.as_bytes(), compression);
        let plan = written(&plan(), ExportFormat::Csv, compression);
        let staged = bench.stage(&bytes, 120_000).await;
        let faults = bench.server.faults();
        faults.next(Operation::GetObject, before, Fault::Delay(std::time::Duration::ZERO));
        faults.next(Operation::GetObject, 1, Fault::Denied);
        let failure = gate::pass(&bench.store, std::slice::from_ref(&staged), &plan, 1.0, &Arc::default(), &|| 2)
            .await
            .unwrap_err();
        assert_eq!(failure.code, ErrorCode::StorageDenied, "{compression:?} {before}: {failure}");
        assert_eq!(
            gate::pass(&bench.store, &[staged], &plan, 1.0, &Arc::default(), &|| 2).await.unwrap().rows,
            120_000
        );
    }
}

/// Small objects that are large once they are decompressed: refused with bounded memory and after bounded work.
#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused() {
    let bench = Bench::new().await;
    let line = vec![b'x'; 65 << 20];
    for compression in [Compression::Gzip, Compression::Zstd] {
        let packed = pack(&[HEADER.as_bytes(), &line].concat(), compression);
        let plan_csv = written(&plan(), ExportFormat::Csv, compression);
        refused(bench.pass(&plan_csv, &packed, 1).await, "a row 0 of more than 64 MiB", "one long line");
        let packed = pack(&line, compression);
        let plan_jsonl = written(&plan(), ExportFormat::Jsonl, compression);
        refused(bench.pass(&plan_jsonl, &packed, 1).await, "a row 0 of more than 64 MiB", "one long line");
        let packed = pack([HEADER.to_owned(), FUSION.0.repeat(1_000_000)].concat().as_bytes(), compression);
        refused(bench.pass(&plan_csv, &packed, 1).await, "has more than 1 rows", "many lines");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_lines_is_told_and_checks_every_row_all_the_same() {
    const ROWS: usize = 200_000;
    let bench = Bench::new().await;
    let mut plan = plan();
    plan.policy.columns[2].scan = true;
    plan.policy.rows = one_of("source", &["FUSION"]);
    let plan = written(&plan, ExportFormat::Csv, Compression::Gzip);
    let text = [HEADER.to_owned(), "FUSION,1,x,\r\n".repeat(ROWS)].concat();
    let staged = bench.stage(&pack(text.as_bytes(), Compression::Gzip), ROWS).await;
    let staged = std::slice::from_ref(&staged);
    for (sample, searched, values, told) in [(0.25, 1, 65_536, Some("0.25")), (1.0, 4, ROWS as u64, None)] {
        let report = gate::pass(&bench.store, staged, &plan, sample, &Arc::default(), &|| 2).await.unwrap();
        assert_eq!((report.row_groups, report.searched, report.sample.as_deref()), (4, searched, told));
        assert_eq!((report.rows, report.values), (ROWS as u64, values));
    }
    let text = [&text[..text.len() - 13], "HERE,1,x,\r\n"].concat();
    let staged = bench.stage(&pack(text.as_bytes(), Compression::Gzip), ROWS).await;
    refused(
        gate::pass(&bench.store, &[staged], &plan, 0.001, &Arc::default(), &|| 2).await,
        "by source",
        "the last row",
    );
}
