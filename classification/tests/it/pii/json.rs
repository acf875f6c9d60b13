//! Personal data inside JSON documents.

use classification::pii::{Entity, EntityRule, PiiRules, Protected, Protector, Removed, Treatment};

#[test]
fn leaves_keys_and_numbers() {
    let protector = Protector::new(PiiRules::default(), None).unwrap();
    for (document, expected) in [
        (r#"{"note": "call jane@example.com", "n": 1.50}"#, r#"{"note": "call <EMAIL>", "n": 1.50}"#),
        (r#"{"jane@example.com": {"x": [1, "192.0.2.1"]}}"#, r#"{"<EMAIL>": {"x": [1, "<IPV4>"]}}"#),
        (r#"{"a@b.de":1,"c@d.de":2}"#, r#"{"<EMAIL>":1,"<EMAIL>#2":2}"#),
        (r#""jane\u0040example.com""#, r#""<EMAIL>""#),
        (r#"["jane@\u0065xample.com"]"#, r#"["<EMAIL>"]"#),
        (r#"{"id": 4111111111111111}"#, r#"{"id": "<CARD>"}"#),
        (r#"{"phone": "12345", "speed": 12345}"#, r#"{"phone": "<PHONE>", "speed": 12345}"#),
        (r#"{"phone": 12345}"#, r#"{"phone": "<PHONE>"}"#),
        (
            r#"{"phones": ["1"], "phone": ["1", {"phone": null}, "2"]}"#,
            r#"{"phones": ["1"], "phone": ["<PHONE>", {"phone": null}, "<PHONE>"]}"#,
        ),
        (r#"{"driverName": "Jane", "name": "A100"}"#, r#"{"driverName": "<PERSON_NAME>", "name": "A100"}"#),
        (r#"{"a": "x\ny \"q\" jane@example.com"}"#, r#"{"a": "x\ny \"q\" <EMAIL>"}"#),
        ("not json: jane@example.com", "not json: <EMAIL>"),
        (r#"{"a": "jane@example.com""#, r#"{"a": "<EMAIL>""#),
    ] {
        let mut removed = Removed::default();
        assert_eq!(protector.json(document, &mut removed), Protected::Changed(expected.to_owned()), "{document}");
        assert!(!removed.is_empty());
    }
    for document in [
        "{}",
        "[]",
        "null",
        "1",
        r#"{"id": 123456789012, "t": "2026-11-19T12:34:56Z"}"#,
        r#"{"phone": ""}"#,
        r#""\ud800""#,
        "",
    ] {
        assert_eq!(protector.json(document, &mut Removed::default()), Protected::Unchanged, "{document}");
    }
}

#[test]
fn null_takes_the_leafs_place() {
    let null = EntityRule { action: Treatment::Null, ..EntityRule::default() };
    let protector = Protector::new(PiiRules::default().with(Entity::Email, null), None).unwrap();
    for (document, expected) in [
        (r#"{"a": "jane@example.com", "b": 1}"#, Protected::Changed(r#"{"a": null, "b": 1}"#.to_owned())),
        (r#"{"jane@example.com": 1}"#, Protected::Changed(r#"{"<REMOVED>": 1}"#.to_owned())),
        (r#""jane@example.com""#, Protected::Null),
    ] {
        assert_eq!(protector.json(document, &mut Removed::default()), expected, "{document}");
    }
}

#[test]
fn what_was_removed_is_counted_by_entity() {
    let protector = Protector::new(PiiRules::default(), None).unwrap();
    let mut removed = Removed::default();
    protector.text("jane@example.com joe@example.com 192.0.2.1", &mut removed);
    let mut other = Removed::default();
    protector.json(r#"{"imei": "1", "x": "joe@example.com"}"#, &mut other);
    removed.add(&other);
    let counts: Vec<(&str, u64)> = removed.counts().iter().map(|(label, count)| (label.as_str(), *count)).collect();
    assert_eq!(counts, [("EMAIL", 3), ("IMEI", 1), ("IPV4", 1)]);
}
