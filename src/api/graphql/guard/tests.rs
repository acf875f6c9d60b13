//! Laws of the guard, over texts that nobody would think of. `PROPTEST_CASES=1000000` makes a long search of it.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Pieces that documents are made of, sound ones and others.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "{", "}", "(", ")", "[", "]", ":", "!", "$", "@", "...", "=", "|", "&", "\"", "\"\"\"", "\\\"\"\"", "#", "\n",
            "query", "mutation", "subscription", "fragment", "on", "a", "b: a", "...f", "...g", "on Query", "@skip(if: true)",
            "fragment f on Query {", "fragment g on Query { ...f }", "__schema", "fields", "type", "null", "-1", "1e9",
        ])
        .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z_0-9]{1,140}",
        1 => (prop::sample::select(vec!["{a", "[", "(", "a ", "a: a ", "@a ", "...f "]), 1..2_500_usize)
            .prop_map(|(text, times)| text.repeat(times)),
    ]
}

fn document() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.join(" ")),
        prop::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat()),
        selection().prop_map(|selection| format!("query {{ {selection} }} fragment f on Query {{ {selection} }}")),
        any::<String>(),
    ]
}

/// Selections that are sound in form, some of them too deep or too many.
fn selection() -> impl Strategy<Value = String> {
    let leaf =
        prop::sample::select(vec!["a", "b: a", "a @skip(if: true)", "...g", "__typename"]).prop_map(str::to_owned);
    leaf.prop_recursive(24, 256, 6, |inner| {
        prop::collection::vec(inner, 1..6).prop_map(|inside| format!("a {{ {} }}", inside.join(" ")))
    })
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_and_what_passes_is_small(text in document(), introspection: bool) {
        laws::hold(&text, introspection);
    }

    #[test]
    fn what_is_sound_and_small_passes(depth in 1..MOST_DEPTH, width in 1..30_usize) {
        let text = format!("{}{{ {} }}{}", "{ a ".repeat(depth), "a ".repeat(width), "}".repeat(depth));
        prop_assert_eq!(check(&text, false).map(drop).map_err(|error| error.message), Ok(()));
    }
}

/// The seeds of the fuzz target, which hold whatever it has found.
fn seeds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/documents");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The words of the fuzz target's dictionary.
fn words() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/documents.dict");
    let text = fs::read_to_string(path).unwrap();
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted
        .map(|word| {
            let mut parts = word.split("\\x");
            let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
            for part in parts {
                bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            String::from_utf8(bytes).unwrap()
        })
        .collect()
}

#[test]
fn comments_cost_the_parser_as_much_as_other_tokens_and_count_like_them() {
    let with = |comments: usize| format!("{{ a {} }}", "#\n".repeat(comments));
    assert!(check(&with(MOST_TOKENS - 3), false).is_ok());
    assert!(check(&with(MOST_TOKENS - 2), false).is_err());
}

#[test]
fn the_seeds_hold_every_law_and_both_verdicts() {
    let seeds = seeds();
    let passed = seeds.iter().filter(|text| check(text, true).is_ok()).count();
    assert!(seeds.len() > 30 && passed > 5 && seeds.len() - passed > 10, "{passed} of {}", seeds.len());
    for text in &seeds {
        laws::hold(text, false);
        laws::hold(text, true);
    }
}

/// What `make fuzz` does for as long as one likes, without coverage to guide it, and the same each time.
#[test]
fn thousands_of_mutated_seeds_hold_every_law() {
    let (seeds, words) = (seeds(), words());
    let mut random = StdRng::seed_from_u64(20_261_120);
    let mut passed = 0;
    for _ in 0..4_000 {
        let mut text = seeds[random.random_range(0..seeds.len())].clone().into_bytes();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..=text.len());
            let end = random.random_range(at..=text.len());
            match random.random_range(0..6) {
                0 => drop(text.drain(at..end.min(at + 8))),
                1 => text.insert(at, random.random()),
                2 => drop(text.splice(at..at, words[random.random_range(0..words.len())].bytes())),
                3 => {
                    let piece = text[at..end].repeat(random.random_range(1..20));
                    drop(text.splice(at..at, piece.into_iter().take(8_192)));
                }
                4 => {
                    let other = seeds[random.random_range(0..seeds.len())].as_bytes();
                    let from = random.random_range(0..=other.len());
                    drop(text.splice(at..end, other[from..].iter().copied()));
                }
                _ => text.truncate(end),
            }
        }
        let text = String::from_utf8_lossy(&text);
        passed += usize::from(check(&text, false).is_ok());
        laws::hold(&text, random.random());
    }
    assert!(passed > 100, "only {passed} of 4,000 were sound, so that little was measured");
}
