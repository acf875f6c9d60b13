//! `pii.toml`: what it can say, and what is refused.

use classification::actions::Pseudonymiser;
use classification::pii::{Entity, Kind, PiiRules, Protected, Protector, Removed, Scanner};

const GOOD: &str = r#"
[entities.EMAIL]
action = "pseudonym"

[entities.IPV4]
enabled = false

[entities.CARD]
action = "mask_last4"

[entities.PHONE]
threshold = 90

[[patterns]]
name = "BADGE"
regex = "BG-[0-9]{4}"
finds = ["BG-1234"]
ignores = ["BG-12", "bg-1234"]

[[patterns]]
name = "CASE_NUMBER"
regex = "(?i)case [0-9]+"
action = "null"
finds = ["Case 7"]
"#;

#[test]
fn a_sure_finding_is_not_hidden_by_a_less_sure_one_around_it() {
    let rules = PiiRules::parse("pii.toml", "[entities.URL_CREDENTIALS]\nthreshold = 90").unwrap();
    let text = "password=rtsp://admin:hunter2@cam.example/11 and token";
    let found = Scanner::new(&rules).scan(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(text[found[0].start..found[0].end].contains("admin:hunter2"), "{found:?}");
}

#[test]
fn what_the_rules_say_is_done() {
    let rules = PiiRules::parse("pii.toml", GOOD).unwrap();
    assert!(rules.needs_key());
    let missing = Protector::new(rules.clone(), None).unwrap_err();
    assert!(missing.to_string().contains("EXPORTER_PSEUDONYM_KEY_FILE"), "{missing}");
    let protector = Protector::new(rules, Some(Pseudonymiser::new(&[1; 32]).unwrap())).unwrap();
    let text = |text: &str| protector.text(text, &mut Removed::default());
    let Protected::Changed(jane) = text("x jane@example.com") else { panic!("not changed") };
    assert!(jane.starts_with("x <EMAIL:") && jane.len() == "x <EMAIL:>".len() + 20, "{jane}");
    assert_eq!(text("x jane@example.com"), Protected::Changed(jane.clone()));
    assert_ne!(text("x joe@example.com"), Protected::Changed(jane));
    assert_eq!(text("192.0.2.1"), Protected::Unchanged);
    assert_eq!(text("4111111111111111"), Protected::Changed("************1111".to_owned()));
    assert_eq!(text("+49 30 1234567"), Protected::Changed("<PHONE>".to_owned()));
    assert_eq!(text("tel 030 1234567"), Protected::Unchanged);
    assert_eq!(text("by BG-1234"), Protected::Changed("by <BADGE>".to_owned()));
    assert_eq!(text("see CASE 12"), Protected::Null);
}

#[test]
fn own_patterns_give_their_name_to_what_they_overlap() {
    let text = "[[patterns]]\nname = \"MAILBOX\"\nregex = \"box@[a-z]+\"\nfinds = [\"box@example\"]\n";
    let scanner = Scanner::new(&PiiRules::parse("pii.toml", text).unwrap());
    let found = scanner.scan("mail mybox@example.com");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].start, found[0].end), (Kind::Own(0), 5, 22));
}

#[test]
fn everything_that_is_wrong_is_told_with_its_line() {
    for (text, expected) in [
        ("[entities.EMAIL]\nenabled = \"yes\"\n", &["pii.toml:2: invalid type"][..]),
        ("[entities.EMAIL]\ncolour = 1\n", &["pii.toml:2: unknown field `colour`"]),
        ("[entities.EMAIL]\naction = \"shred\"\n", &["pii.toml:2: unknown variant `shred`"]),
        ("[entities\n", &["pii.toml:1: "]),
        ("[[patterns]]\nname = \"A\"\n", &["pii.toml:1: missing field `regex`"]),
        (
            "[entities.EMIAL]\n\n[entities.PLATE]\n\n[entities.CARD]\nthreshold = 101\n",
            &[
                "pii.toml:5: threshold of CARD is 101",
                "pii.toml:1: 'EMIAL' is no entity",
                "pii.toml:3: PLATE is known by column names only",
            ],
        ),
        (
            "[[patterns]]\nname = \"a b\"\nregex = \"x\"\n\n[[patterns]]\nname = \"EMAIL\"\nregex = \"(\"\n\n[[patterns]]\nname = \"C\"\nregex = \"x*\"\n\
             finds = [\"xx\"]\n\n[[patterns]]\nname = \"D\"\nregex = \"[0-9]+\"\nfinds = [\"1a\"]\nignores = [\"a1\"]\n\n\
             [[patterns]]\nname = \"E\"\nregex = \"\\\\w{1000}{1000}\"\nfinds = [\"a\"]\n",
            &[
                "pii.toml:1: 'a b' is no name for a pattern",
                "pii.toml:1: a b has no test",
                "pii.toml:5: EMAIL is the name of something else",
                "pii.toml:5: regex of EMAIL: regex parse error",
                "pii.toml:9: regex of C matches the empty text",
                "pii.toml:14: D does not find '1a' as a whole",
                "pii.toml:14: D finds '1' in 'a1', which it must ignore",
                "pii.toml:20: regex of E: Compiled regex exceeds size limit",
            ],
        ),
    ] {
        let error = PiiRules::parse("pii.toml", text).unwrap_err();
        let mut problems = error.problems().to_vec();
        let mut expected = expected.to_vec();
        problems.sort();
        expected.sort_unstable();
        assert_eq!(problems.len(), expected.len(), "{text}: {problems:#?}");
        for (problem, words) in problems.iter().zip(expected) {
            assert!(problem.starts_with(words), "{problem:?} is not {words:?}");
        }
    }
    assert!(PiiRules::parse("pii.toml", "").unwrap().entity(Entity::Jwt).enabled);
}
