//! What holds for every text that the guard looks at: shared by the tests beside it and the fuzz target.

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

use super::{
    MOST_ALIASES, MOST_DEPTH, MOST_DIRECTIVES, MOST_FRAGMENTS, MOST_OPERATIONS, MOST_ROOT_FIELDS, MOST_SELECTIONS,
    MOST_TOKENS, Work, examine,
};

/// Panics where a law does not hold.
///
/// - Nothing panics, and no stack runs over.
/// - The work is bounded: tokens are counted up to the limit and one, and selections are looked at once each, of which
///   there are fewer than tokens.
/// - What passes is what the library's parser makes of the text, and small when every fragment is put in its place.
/// - The verdict depends on the text alone, and whatever passes without introspection passes with it.
pub(super) fn hold(text: &str, introspection: bool) {
    let mut work = Work::default();
    let verdict = examine(text, introspection, &mut work);
    assert!(work.tokens <= MOST_TOKENS + 1 && work.tokens <= text.len(), "{work:?}");
    assert!(work.selections <= work.tokens, "{work:?}");

    let mut again = Work::default();
    let second = examine(text, introspection, &mut again);
    assert_eq!((verdict.is_ok(), work), (second.is_ok(), again));
    match verdict {
        Ok(document) => {
            let parsed = parse_query(text).expect("the parser takes what the guard takes");
            assert_eq!(format!("{:?}", sorted(&parsed)), format!("{:?}", sorted(&document)));
            is_small(&document);
            assert!(introspection || examine(text, true, &mut Work::default()).is_ok());
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
}

/// Operations and fragments in an order that a hash map does not change.
fn sorted(document: &ExecutableDocument) -> Vec<String> {
    let operations = document.operations.iter().map(|(name, operation)| format!("{name:?} {operation:?}"));
    let fragments = document.fragments.iter().map(|(name, fragment)| format!("{name} {fragment:?}"));
    let mut all: Vec<String> = operations.chain(fragments).collect();
    all.sort();
    all
}

/// Sizes once every fragment stands where it is spread, found by putting it there: in another way than the guard's.
#[derive(Default)]
struct Expanded {
    selections: usize,
    aliases: usize,
    directives: usize,
    depth: usize,
}

fn is_small(document: &ExecutableDocument) {
    assert!(document.operations.iter().count() <= MOST_OPERATIONS && document.fragments.len() <= MOST_FRAGMENTS);
    let mut all = Expanded::default();
    for (_, operation) in document.operations.iter() {
        let mut own = Expanded::default();
        walk(document, &operation.node.selection_set.node, 1, &mut own);
        let outermost = root_fields(document, &operation.node.selection_set.node);
        assert!(outermost <= MOST_ROOT_FIELDS, "{outermost} fields of an operation");
        all.selections += own.selections;
        all.aliases += own.aliases;
        all.directives += own.directives + operation.node.directives.len();
        all.depth = all.depth.max(own.depth);
    }
    assert!(all.selections <= MOST_SELECTIONS, "{} selections", all.selections);
    assert!(all.aliases <= MOST_ALIASES, "{} aliases", all.aliases);
    assert!(all.directives <= MOST_DIRECTIVES, "{} directives", all.directives);
    assert!(all.depth <= MOST_DEPTH, "{} deep", all.depth);
}

fn walk(document: &ExecutableDocument, set: &SelectionSet, depth: usize, sizes: &mut Expanded) {
    for selection in &set.items {
        sizes.selections += 1;
        assert!(sizes.selections <= MOST_SELECTIONS, "too many selections");
        sizes.directives += selection.node.directives().len();
        match &selection.node {
            Selection::Field(field) => {
                sizes.aliases += usize::from(field.node.alias.is_some());
                sizes.depth = sizes.depth.max(depth);
                walk(document, &field.node.selection_set.node, depth + 1, sizes);
            }
            Selection::InlineFragment(fragment) => walk(document, &fragment.node.selection_set.node, depth, sizes),
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    sizes.directives += fragment.node.directives.len();
                    walk(document, &fragment.node.selection_set.node, depth, sizes);
                }
            }
        }
    }
}

fn root_fields(document: &ExecutableDocument, set: &SelectionSet) -> usize {
    let fields = set.items.iter().map(|selection| match &selection.node {
        Selection::Field(_) => 1,
        Selection::InlineFragment(fragment) => root_fields(document, &fragment.node.selection_set.node),
        Selection::FragmentSpread(spread) => document
            .fragments
            .get(&spread.node.fragment_name.node)
            .map_or(0, |fragment| root_fields(document, &fragment.node.selection_set.node)),
    });
    fields.sum()
}
