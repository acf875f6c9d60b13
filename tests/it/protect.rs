//! The second line and the search for personal data, on scans of a real PostgreSQL.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use classification::actions::Action;
use classification::{Policy, Predicate};
use data_exporter::error::ErrorCode;
use data_exporter::pipeline::protect::{Protection, guards};
use data_exporter::warehouse::{Guard, ScanSpec, Warehouse};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::protect::{
    care, column, grant_all, hold_back, key, one_of, protect, protect_scan, scan, texts, texts_of,
};
use crate::support::warehouse::{TestWarehouse, context};

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| (*value != "NULL").then(|| (*value).to_owned())).collect()
}

#[tokio::test]
async fn guards_are_read_where_no_exported_column_is_their_text_already() {
    let mut test = TestWarehouse::new("protect_guards").await;
    test.run(
        "CREATE DOMAIN label AS text; CREATE TYPE mood AS ENUM ('ok');
         CREATE TABLE t (id bigint, a text, b varchar(9), c char(4), d label, e mood, f text, g text, h varchar);
         INSERT INTO t VALUES (1, 'x', 'x', 'x', 'x', 'ok', 'x', 'x', 'x')",
    )
    .await;
    let mut policy = grant_all(&test, "t").await;
    policy.columns.retain(|column| column.name != "g");
    column(&mut policy, "f").cell = one_of("a", &["x"]);
    let all = ["a", "b", "c", "d", "e", "f", "g", "id"].map(|name| one_of(name, &["x", "ok", "1"]));
    policy.rows = Predicate::All(all.into());
    let text = |name: &str| Guard::Text(name.to_owned());
    // Not a and b, which are exported as they are; f is NULL where its cell is denied.
    assert_eq!(guards(&policy, None, &BTreeMap::new()).unwrap(), ["c", "d", "e", "f", "g", "id"].map(text));
    let (batch, report) = protect(&test, &policy).await.unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (1, 8));
    assert_eq!(report, Default::default());

    // Without its guards a policy cannot be checked, and nothing is read.
    let bare = ScanSpec { guards: Vec::new(), ..scan(&policy, None).unwrap() };
    let refused = protect_scan(&test, &policy, &bare, None).await.unwrap_err();
    assert!(refused.message.contains("do not belong together"), "{refused}");
}

#[tokio::test]
async fn what_the_query_should_have_held_back_is_a_breach() {
    let mut test = TestWarehouse::new("protect_breach").await;
    test.run(
        "CREATE TABLE t (id bigint, source text, metric char(8), value int);
         INSERT INTO t SELECT g, CASE WHEN g = 20000 THEN 'HERE' WHEN g = 7 THEN NULL ELSE 'FUSION' END, 'flow', g
         FROM generate_series(1, 20000) g",
    )
    .await;
    let granted = grant_all(&test, "t").await;
    let mut policy = granted.clone();
    hold_back(&mut policy, "long_table_data_classifications: flow", one_of("metric", &["flow"]));
    hold_back(&mut policy, "'value' is mx", one_of("source", &["FUSION"]));
    let honest = scan(&policy, None).unwrap();
    assert_eq!(protect_scan(&test, &policy, &honest, None).await.unwrap().0.num_rows(), 19_998);
    // A query that forgot: the row in the last batch, and one with NULL.
    for (condition, rule) in [("HERE", "'value' is mx"), ("NULL", "'value' is mx"), ("metric", "flow")] {
        let rows = match condition {
            "HERE" => one_of("source", &["FUSION", "HERE"]),
            "metric" => {
                test.run("UPDATE t SET metric = 'revenue' WHERE id = 3").await;
                one_of("source", &["FUSION"])
            }
            _ => Predicate::Always,
        };
        let lying = ScanSpec { rows, ..honest.clone() };
        let breach = protect_scan(&test, &policy, &lying, None).await.unwrap_err();
        assert_eq!(breach.code, ErrorCode::PolicyBreach);
        assert!(breach.message.contains(rule) && breach.message.contains("protect_breach.t"), "{breach}");
        assert!(!breach.message.contains("HERE") && !breach.message.contains("revenue"), "{breach}");
    }

    // A cell that should have been NULL.
    let mut policy = granted;
    column(&mut policy, "value").cell = one_of("source", &["FUSION"]);
    let honest = scan(&policy, None).unwrap();
    let (batch, _) = protect_scan(&test, &policy, &honest, None).await.unwrap();
    assert_eq!(batch.column_by_name("value").unwrap().null_count(), 2);
    let mut lying = honest;
    lying.columns.iter_mut().for_each(|column| column.cell = Predicate::Always);
    let breach = protect_scan(&test, &policy, &lying, None).await.unwrap_err();
    assert_eq!(breach.code, ErrorCode::PolicyBreach);
    assert!(breach.message.contains("'value'") && !breach.message.contains("HERE"), "{breach}");
}

#[tokio::test]
async fn a_batch_of_another_scan_is_refused() {
    let mut test = TestWarehouse::new("protect_other").await;
    test.run("CREATE TABLE t (id bigint, a text); INSERT INTO t VALUES (1, 'a'); CREATE TABLE u (a text, id bigint)")
        .await;
    let policy = grant_all(&test, "t").await;
    let scan = scan(&policy, None).unwrap();
    let stream = test.warehouse.scan(&scan, &context("data-exporter test")).await.unwrap();
    let mut protection = Protection::compile(&policy, &scan, &stream.schema(), None).unwrap();
    let batch = test.read(&scan).await.unwrap().remove(0);
    assert_eq!(protection.apply(&batch).unwrap(), batch);
    let refused = protection.apply(&batch.project(&[1, 0]).unwrap()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Internal);
    let other = grant_all(&test, "u").await;
    assert!(Protection::compile(&other, &scan, &stream.schema(), None).is_err());
}

/// A text with personal data in it, and what must leave in its place.
const TEXTS: &[(&str, &str)] = &[
    ("nothing to see", "nothing to see"),
    ("", ""),
    ("NULL", "NULL"),
    ("mail anna@example.com now", "mail <EMAIL> now"),
    ("اتصل بـ anna@example.com الآن", "اتصل بـ <EMAIL> الآن"),
    ("שלח אל dana@example.co.il היום", "שלח אל <EMAIL> היום"),
    ("\u{202e}moc.elpmaxe\u{202c} anna@example.com", "\u{202e}moc.elpmaxe\u{202c} <EMAIL>"),
    ("Müller 🚗 10.1.2.3 und 10.1.2.4", "Müller 🚗 <IPV4> und <IPV4>"),
    ("4111 1111 1111 1111", "<CARD>"),
];

#[tokio::test]
async fn personal_data_is_removed_from_text_and_counted() {
    let mut test = TestWarehouse::new("protect_text").await;
    test.run("CREATE TABLE t (id bigint, note text, same text, clean varchar(40))").await;
    for (id, (text, _)) in TEXTS.iter().enumerate() {
        let value = if *text == "NULL" { "NULL".to_owned() } else { format!("'{text}'") };
        test.run(format!("INSERT INTO t VALUES ({id}, {value}, 'x@example.com', 'Main Street {id}')")).await;
    }
    let mut policy = grant_all(&test, "t").await;
    for name in ["note", "same", "clean"] {
        column(&mut policy, name).scan = true;
    }
    let (batch, report) = protect(&test, &policy).await.unwrap();
    let want: Vec<&str> = TEXTS.iter().map(|(_, text)| *text).collect();
    assert_eq!(texts_of(&batch, "note"), some(&want));
    assert!(texts_of(&batch, "same").iter().all(|text| text.as_deref() == Some("<EMAIL>")));
    let counts = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        pairs.iter().map(|(entity, count)| ((*entity).to_owned(), *count)).collect()
    };
    let all = u64::try_from(TEXTS.len()).unwrap();
    assert_eq!(report.removed["note"], counts(&[("CARD", 1), ("EMAIL", 4), ("IPV4", 2)]));
    assert_eq!(report.removed["same"], counts(&[("EMAIL", all)]));
    assert!(!report.removed.contains_key("clean"));

    // A column without findings is the very array that was read.
    let scan = scan(&policy, None).unwrap();
    let mut stream = test.warehouse.scan(&scan, &context("data-exporter test")).await.unwrap();
    let mut protection = Protection::compile(&policy, &scan, &stream.schema(), None).unwrap();
    let before = stream.next().await.unwrap().unwrap();
    let after = protection.apply(&before).unwrap();
    for (name, kept) in [("clean", true), ("note", false)] {
        let [before, after] = [&before, &after].map(|batch| batch.column_by_name(name).unwrap().as_string::<i32>());
        assert_eq!(before.value_data().as_ptr() == after.value_data().as_ptr(), kept, "{name}");
    }
}

#[tokio::test]
async fn a_value_of_a_mebibyte_is_searched_to_its_end() {
    let mut test = TestWarehouse::new("protect_large").await;
    test.run(
        "CREATE TABLE t (id int, note text);
         INSERT INTO t VALUES (1, repeat('lorem ipsum ', 90000) || 'anna@example.com' || repeat(' dolor', 20)),
           (2, 'short'), (3, repeat('schön ', 200000))",
    )
    .await;
    let mut policy = grant_all(&test, "t").await;
    column(&mut policy, "note").scan = true;
    let (batch, report) = protect(&test, &policy).await.unwrap();
    let notes = texts_of(&batch, "note");
    let expected = format!("{}<EMAIL>{}", "lorem ipsum ".repeat(90_000), " dolor".repeat(20));
    assert_eq!(notes[0].as_deref(), Some(expected.as_str()));
    assert_eq!(notes[2].as_ref().map(String::len), Some(1_400_000));
    assert_eq!(report.removed["note"]["EMAIL"], 1);
}

#[tokio::test]
async fn json_is_searched_in_leaves_and_keys() {
    let mut test = TestWarehouse::new("protect_json").await;
    test.run(
        r#"CREATE TABLE t (id int, d jsonb, j json);
         INSERT INTO t VALUES
           (1, '{"who": "anna@example.com", "n": 12.50, "deep": [{"ip": "10.1.2.3"}]}', '{"b@example.com" : [1,  2], "n": 1.50}'),
           (2, '{"plain": "Main Street", "n": 1}', '[true,  null]'), (3, NULL, NULL)"#,
    )
    .await;
    let mut policy = grant_all(&test, "t").await;
    column(&mut policy, "d").scan = true;
    column(&mut policy, "j").scan = true;
    let (batch, report) = protect(&test, &policy).await.unwrap();
    assert_eq!(
        texts_of(&batch, "d"),
        some(&[
            r#"{"n": 12.50, "who": "<EMAIL>", "deep": [{"ip": "<IPV4>"}]}"#,
            r#"{"n": 1, "plain": "Main Street"}"#,
            "NULL"
        ])
    );
    assert_eq!(texts_of(&batch, "j"), some(&[r#"{"<EMAIL>" : [1,  2], "n": 1.50}"#, "[true,  null]", "NULL"]));
    assert_eq!((report.removed["d"]["EMAIL"], report.removed["j"]["EMAIL"]), (1, 1));
}

#[tokio::test]
async fn the_rules_of_the_policy_are_those_that_are_followed() {
    let mut test = TestWarehouse::new("protect_rules").await;
    test.run("CREATE TABLE t (note text); INSERT INTO t VALUES ('a@example.com BG-1234'), ('10.1.2.3')").await;
    let mut policy = grant_all(&test, "t").await;
    column(&mut policy, "note").scan = true;
    policy.pii_rules = "[entities.EMAIL]\naction = \"pseudonym\"\n[entities.IPV4]\naction = \"null\"\n
        [[patterns]]\nname = \"BADGE\"\nregex = \"BG-[0-9]{4}\"\nfinds = [\"BG-1234\"]\n"
        .to_owned();
    let (batch, report) = protect(&test, &policy).await.unwrap();
    let word = key().word("EMAIL", "a@example.com");
    assert_eq!(texts_of(&batch, "note"), [Some(format!("<EMAIL:{word}> <BADGE>")), None]);
    assert_eq!(report.removed["note"].keys().collect::<Vec<_>>(), ["BADGE", "EMAIL", "IPV4"]);

    let scan = scan(&policy, None).unwrap();
    let refused = protect_scan(&test, &policy, &scan, None).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PseudonymKeyMissing);
    policy.pii_rules = "[entities.NOBODY]".to_owned();
    let refused = protect_scan(&test, &policy, &scan, Some(&key())).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RulesInvalid);
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_refused_before_anything_is_read() {
    let mut test = TestWarehouse::new("protect_refused").await;
    test.run(
        "CREATE DOMAIN whole AS int; CREATE DOMAIN day AS date;
         CREATE TABLE t (b bytea, i int, n numeric, j jsonb, clock time, w whole, d day, f float8, t text)",
    )
    .await;
    let granted = grant_all(&test, "t").await;
    for name in ["b", "i", "f"] {
        let mut policy = granted.clone();
        column(&mut policy, name).scan = true;
        let refused = protect(&test, &policy).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TypeUnsupported, "{name}");
        assert!(refused.message.contains(&format!("'{name}'")), "{refused}");
    }
    let pseudonym = || Action::Pseudonym { domain: "d".to_owned(), per_day: false };
    for (name, action) in [
        ("b", Action::Redact),
        ("i", Action::Round { decimals: 2 }),
        ("w", Action::Round { decimals: 2 }),
        ("i", pseudonym()),
        ("j", Action::Redact),
        ("clock", Action::DateTrunc { part: classification::actions::TimePart::Hour }),
        ("d", Action::DateTrunc { part: classification::actions::TimePart::Hour }),
        ("n", pseudonym()),
        ("t", Action::Drop),
    ] {
        let mut policy = granted.clone();
        care(&mut policy, name, Predicate::Always, action.clone());
        let refused = protect(&test, &policy).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TypeUnsupported, "{name} {action}");
    }
    let mut policy = granted.clone();
    care(&mut policy, "t", Predicate::Always, pseudonym());
    let scan_of = scan(&policy, None).unwrap();
    let refused = protect_scan(&test, &policy, &scan_of, None).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PseudonymKeyMissing);
    assert!(refused.message.contains("EXPORTER_PSEUDONYM_KEY_FILE") && refused.message.contains("'t'"), "{refused}");

    let mut policy = granted;
    care(&mut policy, "t", Predicate::Always, Action::Pseudonym { domain: "d".to_owned(), per_day: true });
    assert_eq!(scan(&policy, None).unwrap_err().code, ErrorCode::RulesInvalid);
}

/// Predicates over the columns of `t` below.
fn predicate() -> impl Strategy<Value = Predicate> {
    let columns = prop::sample::select(vec!["a", "b", "c", "d", "e", "i", "n", "f"]);
    let values =
        vec!["", "a", "A", "ab", "a ", "ä", "ß", "ss", "ok", "sad", "1", "01", "1.50", "1.5", "t", "true", "0.1", "\0"];
    let value = prop::sample::select(values).prop_map(str::to_owned);
    let leaf = prop_oneof![
        8 => (columns, prop::collection::btree_set(value, 0..5))
            .prop_map(|(column, values)| Predicate::In { column: column.to_owned(), values }),
        1 => Just(Predicate::Always),
        1 => Just(Predicate::Never),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::All),
            prop::collection::vec(inner, 0..3).prop_map(Predicate::Any),
        ]
    })
}

#[tokio::test]
async fn query_and_process_decide_alike() {
    let mut test = TestWarehouse::new("protect_agree").await;
    test.run(
        "CREATE TYPE mood AS ENUM ('ok', 'sad');
         CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
         CREATE TABLE t (id bigint, a text COLLATE loose, b varchar(3), c char(3), d text COLLATE \"C\", e mood, i int, n numeric, f bool);
         INSERT INTO t
         SELECT row_number() OVER (), a, left(a, 3), left(a, 3), a, e::mood, i, n::numeric, f
         FROM unnest('{\"\",a,A,ab,\"a \",ä,ß,ss,NULL}'::text[]) a, unnest('{ok,NULL}'::text[]) e, unnest('{1,2,NULL}'::int[]) i,
              unnest('{1.50,1.5,0.1,NULL}'::text[]) n, unnest('{t,NULL}'::bool[]) f",
    )
    .await;
    let granted = grant_all(&test, "t").await;
    let mut runner = TestRunner::deterministic();
    let (mut some, mut none) = (0, 0);
    for _ in 0..150 {
        let rows = predicate().new_tree(&mut runner).unwrap().current();
        let ids = |batch: &arrow::record_batch::RecordBatch| {
            let mut ids: Vec<String> = texts_of(batch, "id").into_iter().flatten().collect();
            ids.sort_unstable();
            ids
        };
        // The query alone, and the process alone: an action for the rows of a condition that the query knows nothing of.
        let mut policy = granted.clone();
        policy.rows = rows.clone();
        let (by_query, _) = protect(&test, &policy).await.unwrap();
        let mut policy: Policy = granted.clone();
        care(&mut policy, "id", rows.clone(), Action::Null);
        let (nulled, report) = protect(&test, &policy).await.unwrap();
        let all = ids(&protect(&test, &granted).await.unwrap().0);
        let kept = ids(&nulled);
        let by_process: Vec<String> = all.into_iter().filter(|id| kept.binary_search(id).is_err()).collect();
        assert_eq!(ids(&by_query), by_process, "{rows:?}");
        assert_eq!(report.actions.get("id").copied().unwrap_or_default(), by_process.len() as u64);
        if by_process.is_empty() { none += 1 } else { some += 1 }
    }
    assert!(some > 30 && none > 10, "{some} {none}");
}

#[tokio::test]
async fn batches_without_anything_to_do_pass_as_they_are() {
    let mut test = TestWarehouse::new("protect_nothing").await;
    test.run("CREATE TABLE t (id int, a text); INSERT INTO t SELECT g, g::text FROM generate_series(1, 20000) g").await;
    let policy = grant_all(&test, "t").await;
    let scan = scan(&policy, None).unwrap();
    let (protected, report) = protect_scan(&test, &policy, &scan, None).await.unwrap();
    let plain = test.read(&scan).await.unwrap();
    assert!(plain.len() > 1);
    assert_eq!(protected, concat_batches(&plain[0].schema(), &plain).unwrap());
    assert_eq!(report, Default::default());
    assert_eq!(texts(protected.column(0)).len(), 20_000);
}
