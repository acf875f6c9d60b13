//! What holds for every text.

use classification::pii::{Entity, PiiRules, Protected, Protector, Removed, Scanner};
use proptest::prelude::*;

/// Texts in which findings, near-findings and rubbish stand side by side.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "jane@example.com",
            "4111 1111 1111 1111",
            "4111111111111111",
            "DE89370400440532013000",
            "192.0.2.1",
            "2001:db8::1",
            "00:1a:2b:3c:4d:5e",
            "+49 30 1234567",
            "123-45-6789",
            "1M8GDM9AXKP042788",
            "rtsp://admin:secret@cam.example/1",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
            "password=x",
            "tel ",
            "ssn ",
            "vin ",
            "://",
            "@",
            "%40",
            "::",
            ":",
            "=",
            "+",
            "(",
            ")",
            "<",
            ">",
            "\"",
            "'",
            "eyJ",
            "-----BEGIN PRIVATE KEY-----",
            "\u{a0}",
            "\u{2011}",
            "é",
            "מ",
            "ي",
            "🚗",
            "\u{202e}",
        ])
        .prop_map(str::to_owned),
        "[0-9]{1,20}",
        "[0-9a-f:.]{1,12}",
        "[ -~]{0,6}",
        "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn protector() -> Protector {
    Protector::new(PiiRules::default(), None).unwrap()
}

fn keys() -> impl Strategy<Value = String> {
    let keys = vec!["a", "", "jane@example.com", "192.0.2.1 \"q\"", "+49 30 1234567", "é\\", "{", "x: y"];
    prop::sample::select(keys).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn findings_are_ordered_apart_and_on_characters(text in texts()) {
        let scanner = Scanner::new(&PiiRules::default());
        let found = scanner.scan(&text);
        for finding in &found {
            prop_assert!(finding.start < finding.end);
            prop_assert!(text.get(finding.start..finding.end).is_some(), "{:?} in {:?}", finding, text);
        }
        for pair in found.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start, "{:?} in {:?}", found, text);
        }
        prop_assert_eq!(found, scanner.scan_thoroughly(&text), "{:?}", text);
    }

    #[test]
    fn what_every_detector_finds_alone_is_covered(text in texts()) {
        let covered = Scanner::new(&PiiRules::default()).scan(&text);
        let credentials = |finding: &&classification::pii::Finding| finding.kind == classification::pii::Kind::Known(Entity::UrlCredentials);
        for entity in Entity::DETECTED {
            let mut only = PiiRules::default();
            for other in Entity::DETECTED.into_iter().filter(|other| *other != entity) {
                let off = classification::pii::EntityRule { enabled: false, ..only.entity(other) };
                only = only.with(other, off);
            }
            for alone in Scanner::new(&only).scan(&text) {
                let inside = covered.iter().any(|finding| finding.start <= alone.start && alone.end <= finding.end);
                // An "e-mail" that begins in a URL's password is cut to the password.
                let cut = entity == Entity::Email
                    && covered.iter().filter(credentials).any(|finding| finding.start < alone.end && alone.start < finding.end);
                prop_assert!(inside || cut, "{}: {:?} of {:?} is not in {:?}", entity, alone, text, covered);
            }
        }
    }

    #[test]
    fn a_column_in_one_buffer_is_scanned_like_its_values(texts in prop::collection::vec(texts(), 0..6)) {
        let scanner = Scanner::new(&PiiRules::default());
        let values = texts.concat();
        let mut offsets = vec![0_i32];
        for text in &texts {
            offsets.push(offsets.last().unwrap() + i32::try_from(text.len()).unwrap());
        }
        let mut seen = Vec::new();
        scanner.scan_column(&values, &offsets, |row, text, found| {
            seen.push((row, text.to_owned(), found.to_vec()));
        }).unwrap();
        let expected: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(row, text)| (row, text.clone(), scanner.scan(text)))
            .filter(|(_, _, found)| !found.is_empty())
            .collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn nothing_is_left_to_find(text in texts()) {
        let protector = protector();
        let mut removed = Removed::default();
        let clean = match protector.text(&text, &mut removed) {
            Protected::Unchanged => text.clone(),
            Protected::Changed(clean) => clean,
            Protected::Null => String::new(),
        };
        prop_assert_eq!(protector.scanner().scan(&clean), vec![], "{:?} became {:?}", text, clean);
        prop_assert_eq!(removed.is_empty(), clean == text);
    }

    #[test]
    fn documents_stay_documents(texts in prop::collection::vec((keys(), texts()), 0..5), ascii in any::<bool>()) {
        let mut members = Vec::new();
        for (position, (key, value)) in texts.iter().enumerate() {
            let key = serde_json::Value::String(format!("{key}{position}")).to_string();
            let mut value = serde_json::Value::String(value.clone()).to_string();
            if ascii {
                value = value.replace('@', "\\u0040");
            }
            members.push(format!("{key}: [{value}, 1.50, {{\"k\" : {value}}}]"));
        }
        let document = format!("{{{}}}", members.join(" , "));
        let before: serde_json::Value = serde_json::from_str(&document).unwrap();
        let protector = protector();
        match protector.json(&document, &mut Removed::default()) {
            Protected::Unchanged => {
                prop_assert!(texts.iter().all(|(_, value)| protector.scanner().scan(value).is_empty()));
            }
            Protected::Changed(clean) => {
                let after: serde_json::Value = serde_json::from_str(&clean).unwrap();
                prop_assert_eq!(after.as_object().unwrap().len(), before.as_object().unwrap().len());
                prop_assert!(clean.matches(", 1.50, ").count() >= texts.len(), "numbers keep their digits");
                prop_assert_eq!(protector.json(&clean, &mut Removed::default()), Protected::Unchanged, "{}", clean);
            }
            Protected::Null => prop_assert!(false, "nothing here becomes NULL"),
        }
    }
}

/// A megabyte of what each detector looks at longest. The work on each byte is bounded, so this ends.
#[test]
fn no_text_is_slow() {
    let scanner = Scanner::new(&PiiRules::default());
    let units = [
        "a",
        "1",
        "a@",
        "@a.",
        "1.",
        "1:",
        ":",
        "::",
        "a:",
        "1-",
        "1 ",
        "+1",
        "+49 ",
        "(",
        "(0)",
        "00 ",
        "0 1",
        "tel ",
        "://",
        "://a:",
        "://a:b@",
        "=",
        "password=",
        "?key=",
        "eyJ",
        "eyJ.",
        "eyJhbGciOiJub25lIn0.",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "AKIA",
        "SG.",
        "xoxb-",
        "DE89",
        "DE89 ",
        "\"@",
        "%40",
        "\u{a0}",
        "1\u{a0}",
        "é@",
        "a.",
        "a-",
        "_",
        "A1",
        "é",
        "+49301234567",
        "a@b.co+49301234567",
        "192.0.2.1:",
        "a@b.co+49301234567:192.0.2.1 ",
    ];
    for unit in units {
        let text = unit.repeat(1_000_000 / unit.len());
        let found = scanner.scan(&text);
        assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start), "{unit}");
    }
}

#[test]
fn overlapping_and_adjacent_findings() {
    let protector = protector();
    for (text, expected) in [
        ("jane@example.com,joe@example.com", "<EMAIL>,<EMAIL>"),
        ("rtsp://admin:secret@cam.example.com/1", "rtsp://<URL_CREDENTIALS>@cam.example.com/1"),
        ("rtsp://admin:secret@10.1.2.3/1", "rtsp://<URL_CREDENTIALS>@<IPV4>/1"),
        ("password=jane@example.com", "password=<URL_CREDENTIALS>"),
        ("jane@example.com+49 30 1234567", "<EMAIL><PHONE>"),
        ("+49301234567+49301234567", "<PHONE><PHONE>"),
        ("tel 4111 1111 1111 1111", "tel <CARD>"),
        ("jane@192.0.2.1.example.com", "<EMAIL>"),
        ("token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "token=<JWT>"),
        ("מייל jane@example.com ‏טלפון 03-1234567", "מייל <EMAIL> ‏טלפון <PHONE>"),
    ] {
        assert_eq!(protector.text(text, &mut Removed::default()), Protected::Changed(expected.to_owned()), "{text}");
    }
}
