//! Laws of the guard, over texts that nobody would think of. `PROPTEST_CASES=1000000` makes a long search of it.

use proptest::prelude::*;

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

/// The deepest nesting of fields, counted in another way than the guard does: fragments are not followed.
fn depth(set: &SelectionSet) -> usize {
    let deepest = set.items.iter().map(|selection| match &selection.node {
        Selection::Field(field) => 1 + depth(&field.node.selection_set.node),
        Selection::InlineFragment(fragment) => depth(&fragment.node.selection_set.node),
        Selection::FragmentSpread(_) => 0,
    });
    deepest.max().unwrap_or(0)
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_and_what_passes_is_small(text in document(), introspection: bool) {
        match check(&text, introspection) {
            Ok(document) => {
                prop_assert!(document.operations.iter().count() <= MOST_OPERATIONS);
                prop_assert!(document.fragments.len() <= MOST_FRAGMENTS);
                for (_, operation) in document.operations.iter() {
                    prop_assert!(depth(&operation.node.selection_set.node) <= MOST_DEPTH);
                }
            }
            Err(error) => prop_assert!(!error.message.is_empty()),
        }
    }

    #[test]
    fn what_is_sound_and_small_passes(depth in 1..MOST_DEPTH, width in 1..30_usize) {
        let text = format!("{}{{ {} }}{}", "{ a ".repeat(depth), "a ".repeat(width), "}".repeat(depth));
        prop_assert_eq!(check(&text, false).map(drop).map_err(|error| error.message), Ok(()));
    }
}
