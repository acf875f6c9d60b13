//! The last gate's own detectors: each finds its entity when nothing was removed, and none ever finds anything in a
//! text that the removal of personal data has let through or has made.

use std::collections::BTreeSet;

use classification::actions::Pseudonymiser;
use classification::pii::{Entity, EntityRule, PiiRules, Protected, Protector, Removed, Scanner};
use data_exporter::pipeline::gate::{Column, Search};
use proptest::prelude::*;
use regex::Regex;

#[path = "../../classification/tests/it/pii/road.rs"]
mod road;

/// For each entity: texts in which it must be found, and nothing else.
const CANARIES: &[(&str, &[&str])] = &[
    (
        "EMAIL",
        &[
            "jane.doe@example.com",
            "mail to Jane.Doe+road@mail.example.co.uk, please",
            "email=jane%40example.org&x=1",
            "müller@straße.example",
            "<jane@example.com>",
            "jane@example.com. 2 lanes closed",
        ],
    ),
    (
        "CARD",
        &[
            "4111111111111111",
            "paid by 4111 1111 1111 1111 12/27",
            "5555-5555-5555-4444",
            "378282246310005",
            "3782 822463 10005",
            "6011111111111117",
            "3530111333300000",
            "30569309025904",
            "2223003122003222",
            "6205500000000000004",
        ],
    ),
    (
        "IBAN",
        &["DE89370400440532013000", "to GB29 NWBK 6016 1331 9268 19.", "nl91abna0417164300", "NO93-8601-1117-947"],
    ),
    ("IPV4", &["192.0.2.1", "from 10.0.0.7:554", "255.255.255.255.", "addr=203.0.113.9/24"]),
    (
        "IPV6",
        &[
            "2001:db8::1",
            "[2001:db8:0:0:0:0:0:1]:8080",
            "64:ff9b::c000:221",
            "at 2001:DB8::8:800:200C:417A: down",
            "::1",
        ],
    ),
    ("MAC", &["00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E", "seen 001a.2b3c.4d5e.", "00:11:22:33:44:55"]),
    (
        "PHONE",
        &["+49 30 1234567", "call +14155552671 now", "(+44 20 7946 0958)", "+33-1-42-68-53-00", "+5511987654321"],
    ),
    ("US_SSN", &["123-45-6789", "SSN 078-05-1120.", "of 219-09-9999, born"]),
    ("VIN", &["1M8GDM9AXKP042788", "VIN: 1HGCM82633A004352", "5gzcz43d13s812715"]),
    (
        "URL_CREDENTIALS",
        &[
            "rtsp://admin:secret@camera-7:554/stream1",
            "https://api.example/?api_key=abcd1234&x=1",
            "password=hunter2",
            "X-Amz-Signature=ab12cd34",
            "db PWD='s3cr3t'",
        ],
    ),
    (
        "CLOUD_KEY",
        &[
            "AKIAIOSFODNN7EXAMPLE",
            "key AIzaSyA1234567890abcdefghijklmnopqrstuv",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "xoxb-123456789012-abcdefABCDEF",
            "sk_live_0123456789abcdefABCD",
            // One key in thirty of sixteen letters has no digit.
            "AKIAIOSFODNNSEXAMPLE",
            "sk_live_abcdefghijklmnopQRST",
            "glpat-abc123DEF456ghi789JK",
            "github_pat_11ABCDEFG0abcdefghijkl",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        ],
    ),
    (
        "JWT",
        &[
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        ],
    ),
];

fn found_in_column(search: &Search, json: bool, values: &[&str]) -> BTreeSet<String> {
    let mut column = Column::new(search, json);
    column.push(values.iter().copied());
    column.finish().labels.into_keys().collect()
}

/// Alone, in a column, in a sentence, and as string, key and escaped string of a document.
#[test]
fn each_entity_is_found_by_its_own_detector_alone() {
    let search = Search::new("").unwrap();
    let padding: Vec<String> = (0..9_000).map(|number| format!("Main Street {number}")).collect();
    for (label, canaries) in CANARIES {
        for canary in *canaries {
            let only = BTreeSet::from([*label]);
            assert_eq!(search.text(canary), only, "{canary}");
            let values: Vec<&str> = padding.iter().map(String::as_str).chain([*canary, "", "x"]).collect();
            let in_column = found_in_column(&search, false, &values);
            assert_eq!(in_column, BTreeSet::from([(*label).to_owned()]), "{canary}");

            let literal = serde_json::Value::String((*canary).to_owned()).to_string();
            let escaped: String = canary.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            for document in [
                format!("{{\"note\": [1, {literal}]}}"),
                format!("{{{literal}: 1}}"),
                format!("{{\"note\": \"{escaped}\"}}"),
                format!("{{\"{escaped}\": null, \"{escaped}\": {{}}}}"),
                literal,
            ] {
                assert_eq!(search.document(&document), only, "{document}");
                let in_column = found_in_column(&search, true, &["{}", &document, "[1]"]);
                assert_eq!(in_column, BTreeSet::from([(*label).to_owned()]), "{document}");
            }
        }
    }
    let tested: BTreeSet<&str> = CANARIES.iter().map(|canary| canary.0).collect();
    assert_eq!(tested, Entity::DETECTED.map(Entity::label).into_iter().collect());
}

#[test]
fn switches_thresholds_and_own_patterns_are_followed() {
    for (label, canaries) in CANARIES {
        let off = Search::new(&format!("[entities.{label}]\nenabled = false")).unwrap();
        let sure = Search::new(&format!("[entities.{label}]\nthreshold = 100")).unwrap();
        for canary in *canaries {
            assert!(off.text(canary).is_empty() && sure.text(canary).is_empty(), "{label}: {canary}");
        }
    }
    let own = "[[patterns]]\nname = \"BADGE\"\nregex = \"BG-[0-9]{4}\"\nfinds = [\"BG-1234\"]\n";
    let search = Search::new(own).unwrap();
    let badge = BTreeSet::from(["BADGE"]);
    assert_eq!(search.text("badge BG-1234"), badge);
    assert_eq!(search.document(r#"{"x": "BG\u002d1234"}"#), badge);
    assert_eq!(found_in_column(&search, false, &["BG-12", "BG-1234"]), BTreeSet::from(["BADGE".to_owned()]));
    // Words that are joined like some keys.
    assert!(
        ["xoxb-some-words-joined", "glpat-words-that-are-joined-by-dashes"]
            .iter()
            .all(|words| search.text(words).is_empty())
    );
    // Three parts that say nothing of how they were signed, and a number that the removal does not look at either.
    assert!(Search::new("").unwrap().text("eyJhYmNkZWZnaA.eyJzdWIiOiJ4In0.c2ln").is_empty());
    let digits = Search::new("[[patterns]]\nname = \"DIGITS\"\nregex = \"[0-9]{3}\"\nfinds = [\"123\"]\n").unwrap();
    assert!(digits.document(r#"{"speed": 12345, "on": true}"#).is_empty());
    assert_eq!(digits.document(r#"{"number": 123456789}"#).len(), 1);
    assert!(Search::new("entities = 1").is_err());
    assert!(Search::new("[[patterns]]\nname = \"A\"\nregex = \"(\"").is_err());
}

#[test]
fn what_stands_in_a_values_place_is_no_finding() {
    let masks: String =
        Entity::DETECTED.iter().map(|entity| format!("[entities.{entity}]\naction = \"mask_last4\"\n")).collect();
    let own = "[[patterns]]\nname = \"CAPITALS\"\nregex = \"[A-Z]{4,}\"\n[[patterns]]\nname = \"LAST\"\nregex = \"[0-9]{3,}\"\naction = \"mask_last4\"\n";
    let search = Search::new(&format!("{own}{masks}")).unwrap();
    for clean in ["<EMAIL>", "<EMAIL:abcdefghijklmnopabcd>", "to <PHONE>, <CAPITALS>", "*****6789", "<REDACTED>"] {
        assert!(search.text(clean).is_empty(), "{clean}: {:?}", search.text(clean));
    }
    for leak in ["<JANE>", "<EMAIL> JANE", "*****6789 12345", "<EMAIL:jane@example.com>"] {
        assert!(!search.text(leak).is_empty(), "{leak}");
    }
}

/// The texts of the corpora that the removal of personal data is tested with, without their marks.
fn corpora() -> Vec<String> {
    let literal = Regex::new(r#""((?:[^"\\]|\\.)*)""#).unwrap();
    let code = Regex::new(r"\\u\{([0-9a-fA-F]+)\}").unwrap();
    let sources = [
        include_str!("../../classification/tests/it/pii/marked.rs"),
        include_str!("../../classification/tests/it/pii/corpus.rs"),
        include_str!("../../classification/tests/it/pii/laws.rs"),
        include_str!("../../classification/tests/it/pii/json.rs"),
    ];
    let texts: Vec<String> = sources
        .iter()
        .flat_map(|source| literal.captures_iter(source))
        .map(|found| {
            let text =
                found[1].replace(['«', '»'], "").replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
            let decoded = code.replace_all(&text, |hex: &regex::Captures<'_>| {
                char::from_u32(u32::from_str_radix(&hex[1], 16).unwrap()).unwrap().to_string()
            });
            decoded.into_owned()
        })
        .collect();
    assert!(texts.len() > 500, "{}", texts.len());
    texts
}

/// The two searches, under the same rules.
struct Pair {
    protector: Protector,
    /// For each entity, a scanner that looks for nothing else.
    alone: Vec<(&'static str, Scanner)>,
    search: Search,
}

impl Pair {
    fn new(text: &str) -> Self {
        let rules = PiiRules::parse("pii.toml", text).unwrap();
        let alone = Entity::DETECTED.map(|entity| {
            let only =
                Entity::DETECTED.into_iter().filter(|other| *other != entity).fold(rules.clone(), |rules, other| {
                    let rule = EntityRule { enabled: false, ..rules.entity(other) };
                    rules.with(other, rule)
                });
            (entity.label(), Scanner::new(&only))
        });
        let key = Pseudonymiser::new(&[7; 32]).unwrap();
        let protector = Protector::new(rules, Some(key)).unwrap();
        Self { protector, alone: alone.into(), search: Search::new(text).unwrap() }
    }

    /// Every one of the gate's definitions is the narrower one, and nothing is found in what removal makes of a text.
    fn hold(&self, text: &str) {
        for label in self.search.text(text) {
            if let Some((_, scanner)) = self.alone.iter().find(|(name, _)| *name == label) {
                assert!(!scanner.scan(text).is_empty(), "{label} is found by the gate alone in {text:?}");
            }
        }
        let clean = match self.protector.text(text, &mut Removed::default()) {
            Protected::Unchanged => text.to_owned(),
            Protected::Changed(clean) => clean,
            Protected::Null => return,
        };
        assert!(self.search.text(&clean).is_empty(), "{text:?} became {clean:?}: {:?}", self.search.text(&clean));
        let found = found_in_column(&self.search, false, &[&clean]);
        assert!(found.is_empty(), "{clean:?}: {found:?}");
    }

    fn hold_document(&self, document: &str) {
        let clean = match self.protector.json(document, &mut Removed::default()) {
            Protected::Unchanged => document.to_owned(),
            Protected::Changed(clean) => clean,
            Protected::Null => return,
        };
        let found = self.search.document(&clean);
        assert!(found.is_empty(), "{document} became {clean}: {found:?}");
        assert!(found_in_column(&self.search, true, &[&clean]).is_empty(), "{clean}");
    }
}

/// Rules of every kind.
fn rule_sets() -> Vec<String> {
    let each = |line: &str| Entity::DETECTED.map(|entity| format!("[entities.{entity}]\n{line}\n")).concat();
    let own = "[[patterns]]\nname = \"BADGE\"\nregex = \"BG-[0-9]{4}\"\nfinds = [\"BG-1234\"]\n\
               [[patterns]]\nname = \"LONG\"\nregex = \"[0-9]{5,}\"\naction = \"mask_last4\"\nfinds = [\"12345\"]\n";
    vec![
        String::new(),
        each("action = \"mask_last4\""),
        each("action = \"pseudonym\""),
        each("threshold = 80"),
        each("threshold = 92"),
        format!("[entities.URL_CREDENTIALS]\nenabled = false\n[entities.IPV4]\nenabled = false\n{own}"),
        format!("[entities.EMAIL]\nenabled = false\n[entities.PHONE]\naction = \"null\"\n{own}"),
    ]
}

#[test]
fn what_removal_lets_through_is_never_refused() {
    let texts = corpora();
    let mut dice = road::Dice::new(11);
    for rules in rule_sets() {
        let pair = Pair::new(&rules);
        for text in &texts {
            pair.hold(text);
            let around = [format!("x {text} y"), format!("{text}{text}"), text.to_uppercase(), format!("{text}.5")];
            around.iter().for_each(|text| pair.hold(text));
            let other = &texts[usize::try_from(dice.below(texts.len() as u64)).unwrap()];
            pair.hold(&format!("{text}{other}"));
            pair.hold(&format!("{text}, {other}: {text}"));
            pair.hold_document(
                &serde_json::json!({ text.as_str(): [text, 1.5, { other.as_str(): text }] }).to_string(),
            );
        }
    }
}

/// As it is, without anything removed: a corpus of roads has no finding that the removal would not have made.
#[test]
fn texts_about_roads_pass() {
    let search = Search::new("").unwrap();
    let scanner = Scanner::new(&PiiRules::default());
    let mut dice = road::Dice::new(17);
    let texts: Vec<String> = (0..60_000).map(|_| road::clean(&mut dice)).collect();
    let refused: Vec<&String> = texts.iter().filter(|text| !search.text(text).is_empty()).collect();
    assert!(refused.iter().all(|text| !scanner.scan(text).is_empty()), "{refused:?}");
    println!("{} of {} texts about roads would be refused if nothing were removed", refused.len(), texts.len());
    assert!(refused.len() * 1_000 <= texts.len(), "{refused:?}");
    let clean: Vec<&str> = texts.iter().map(String::as_str).filter(|text| scanner.scan(text).is_empty()).collect();
    assert!(found_in_column(&search, false, &clean).is_empty());
    assert!(found_in_column(&search, true, &clean).is_empty());
}

/// Texts in which findings, near-findings and rubbish stand side by side.
fn texts() -> impl Strategy<Value = String> {
    let corpus: Vec<String> = corpora().into_iter().filter(|text| text.len() < 60).collect();
    let piece = prop_oneof![
        4 => prop::sample::select(corpus),
        1 => prop::sample::select(vec![" ", ".", ":", "-", "+", "@", "%40", "<", ">", "*", "(", "_", "/", "=", "é", "\u{a0}", "://", "v", "version ", "\n"])
            .prop_map(str::to_owned),
        1 => "[0-9]{1,20}",
        1 => "[0-9a-f:.]{1,12}",
        1 => "[0-9 -]{1,24}",
        1 => "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_text_is_refused_after_removal(text in texts(), rules in 0..7_usize) {
        thread_local!(static PAIRS: Vec<Pair> = rule_sets().iter().map(|rules| Pair::new(rules)).collect());
        PAIRS.with(|pairs| pairs[rules].hold(&text));
    }

    #[test]
    fn a_column_is_searched_like_its_values(values in prop::collection::vec(texts(), 0..8)) {
        thread_local!(static SEARCH: Search = Search::new("").unwrap());
        SEARCH.with(|search| {
            let one_by_one: BTreeSet<String> =
                values.iter().flat_map(|value| search.text(value)).map(str::to_owned).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            assert_eq!(found_in_column(search, false, &values), one_by_one);
        });
    }
}
