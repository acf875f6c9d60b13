//! Looks at a document before anything expands it.
//!
//! The parser recurses as deep as brackets nest, and validation walks a fragment once for each place that it is
//! spread in, so a short text can cost a stack or hours. Here the text is scanned without recursion first, then the
//! parsed document is measured as if expanded, each fragment once. What passes is small whatever is done with it.
//!
//! This file uses nothing of the crate, so that the fuzz target compiles it alone.

use std::collections::HashMap;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Name, ServerError};

/// Deepest nesting of fields. Introspection as tools ask it needs 15.
pub(super) const MOST_DEPTH: usize = 16;
/// Most directives in a document, and on one field.
pub(super) const MOST_DIRECTIVES: usize = 20;
/// Deepest nesting of brackets of any kind.
pub(super) const MOST_NESTING: usize = 48;
/// Most names, numbers, strings, signs and comments.
pub(super) const MOST_TOKENS: usize = 2_000;
/// Longest name, in bytes: errors repeat names.
const LONGEST_NAME: usize = 128;
/// Most selections once every fragment stands where it is spread.
pub(super) const MOST_SELECTIONS: usize = 1_000;
pub(super) const MOST_ALIASES: usize = 30;
/// Most fields of an operation itself: each asks the database, repeated or not.
pub(super) const MOST_ROOT_FIELDS: usize = 30;
pub(super) const MOST_OPERATIONS: usize = 10;
pub(super) const MOST_FRAGMENTS: usize = 50;
/// How often lists of the schema may stand inside each other when it is asked about itself.
pub(super) const MOST_INTROSPECTION_LISTS: usize = 2;

/// What looking at a document took, in steps that do not depend on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Tokens that were counted before the document was parsed.
    pub(super) tokens: usize,
    /// Selections that were looked at; fewer than tokens, however often fragments are spread.
    pub(super) selections: usize,
}

/// Parses a document that is worth running. `introspection` says whether it may ask about the schema.
pub(super) fn check(query: &str, introspection: bool) -> Result<ExecutableDocument, ServerError> {
    examine(query, introspection, &mut Work::default())
}

/// [`check`], counting what it takes.
pub(super) fn examine(query: &str, introspection: bool, work: &mut Work) -> Result<ExecutableDocument, ServerError> {
    scan(query, work).map_err(refused)?;
    let document = parse_query(query).map_err(ServerError::from)?;
    measure(&document, introspection, work).map_err(refused)?;
    Ok(document)
}

/// Its code is `BAD_REQUEST`, like that of every document that cannot be read.
fn refused(why: String) -> ServerError {
    ServerError::new(why, None)
}

fn more_than(limit: usize, what: &str) -> String {
    format!("the document has more than {limit} {what}; ask for less at once")
}

/// Counts tokens and brackets as the parser will see them. Never recurses, looks at each byte once.
fn scan(query: &str, work: &mut Work) -> Result<(), String> {
    let text = query.as_bytes();
    let (mut at, mut nesting) = (0, 0_usize);
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | 0xEF | 0xBB | 0xBF => {
                at += 1;
                continue;
            }
            // Counted as well: the parser takes some microseconds for each, and 30,000 fit into a body.
            b'#' => rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len()),
            b'"' => string_length(rest).ok_or("the document has a string that does not end")?,
            b'{' | b'(' | b'[' => {
                nesting += 1;
                if nesting > MOST_NESTING {
                    return Err(format!("brackets nest deeper than {MOST_NESTING}"));
                }
                1
            }
            b'}' | b')' | b']' => {
                nesting = nesting.saturating_sub(1);
                1
            }
            byte if is_word(byte) => {
                let length = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
                if length > LONGEST_NAME {
                    return Err(format!("a name or number is longer than {LONGEST_NAME} bytes"));
                }
                length
            }
            _ => 1,
        };
        at += length;
        work.tokens += 1;
        if work.tokens > MOST_TOKENS {
            return Err(more_than(MOST_TOKENS, "tokens") + ", or pass long values as variables");
        }
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of the string that `text` begins with, quotes included.
fn string_length(text: &[u8]) -> Option<usize> {
    let block = text.starts_with(b"\"\"\"");
    let mut at = if block { 3 } else { 1 };
    loop {
        let rest = text.get(at..)?;
        match *rest.first()? {
            b'\\' if block && rest.starts_with(b"\\\"\"\"") => at += 4,
            b'"' if block && rest.starts_with(b"\"\"\"") => return Some(at + 3),
            _ if block => at += 1,
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            b'\r' | b'\n' => return None,
            _ => at += 1,
        }
    }
}

/// What a selection amounts to once expanded.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    selections: usize,
    /// Fields that are not inside another.
    outermost: usize,
    aliases: usize,
    directives: usize,
    depth: usize,
    introspection_lists: usize,
    introspects: bool,
}

impl Cost {
    /// This beside that.
    fn add(&mut self, other: Cost) {
        self.selections = self.selections.saturating_add(other.selections);
        self.outermost = self.outermost.saturating_add(other.outermost);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.depth = self.depth.max(other.depth);
        self.introspection_lists = self.introspection_lists.max(other.introspection_lists);
        self.introspects |= other.introspects;
    }
}

struct Meter<'d> {
    document: &'d ExecutableDocument,
    /// `None` while it is being measured: who meets it again stands in a cycle.
    fragments: HashMap<&'d Name, Option<Cost>>,
    looked_at: usize,
}

fn measure(document: &ExecutableDocument, introspection: bool, work: &mut Work) -> Result<(), String> {
    if document.operations.iter().count() > MOST_OPERATIONS {
        return Err(more_than(MOST_OPERATIONS, "operations"));
    }
    if document.fragments.len() > MOST_FRAGMENTS {
        return Err(more_than(MOST_FRAGMENTS, "fragments"));
    }
    let mut meter = Meter { document, fragments: HashMap::new(), looked_at: 0 };
    let expanded = meter.expand();
    work.selections = meter.looked_at;
    let (all, root_fields) = expanded?;
    for (has, limit, what) in [
        (all.selections, MOST_SELECTIONS, "selections, counting a fragment wherever it is spread"),
        (all.aliases, MOST_ALIASES, "aliases"),
        (all.directives, MOST_DIRECTIVES, "directives"),
        (root_fields, MOST_ROOT_FIELDS, "fields of an operation"),
    ] {
        if has > limit {
            return Err(more_than(limit, what));
        }
    }
    if all.introspects && !introspection {
        return Err("the schema is not told here; schema.graphql comes with the documentation".to_owned());
    }
    if all.depth > MOST_DEPTH {
        return Err(format!("fields nest deeper than {MOST_DEPTH}"));
    }
    Ok(())
}

impl<'d> Meter<'d> {
    /// Everything in the document together, and most fields of one operation.
    fn expand(&mut self) -> Result<(Cost, usize), String> {
        let document = self.document;
        let (mut all, mut root_fields) = (Cost::default(), 0);
        for (_, operation) in document.operations.iter() {
            all.directives += operation.node.directives.len();
            for variable in &operation.node.variable_definitions {
                all.directives += variable.node.directives.len();
            }
            let cost = self.selection_set(&operation.node.selection_set.node)?;
            root_fields = root_fields.max(cost.outermost);
            all.add(cost);
        }
        // Validation walks also the fragments that nothing spreads.
        for name in document.fragments.keys() {
            all.add(self.fragment(name)?);
        }
        Ok((all, root_fields))
    }

    fn selection_set(&mut self, set: &'d SelectionSet) -> Result<Cost, String> {
        let mut cost = Cost::default();
        for selection in &set.items {
            cost.add(self.selection(&selection.node)?);
        }
        Ok(cost)
    }

    fn selection(&mut self, selection: &'d Selection) -> Result<Cost, String> {
        self.looked_at += 1;
        let mut cost = match selection {
            Selection::Field(field) => {
                let mut cost = self.selection_set(&field.node.selection_set.node)?;
                cost.depth += 1;
                cost.outermost = 1;
                cost.aliases = cost.aliases.saturating_add(usize::from(field.node.alias.is_some()));
                match field.node.name.node.as_str() {
                    "__schema" | "__type" if cost.introspection_lists > MOST_INTROSPECTION_LISTS => {
                        return Err("the schema is asked about itself in circles".to_owned());
                    }
                    "__schema" | "__type" => cost.introspects = true,
                    "fields" | "interfaces" | "possibleTypes" | "inputFields" => cost.introspection_lists += 1,
                    _ => {}
                }
                cost
            }
            Selection::InlineFragment(fragment) => self.selection_set(&fragment.node.selection_set.node)?,
            // Validation names a fragment that does not exist.
            Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node)?,
        };
        cost.selections = cost.selections.saturating_add(1);
        cost.directives = cost.directives.saturating_add(selection.directives().len());
        Ok(cost)
    }

    fn fragment(&mut self, name: &'d Name) -> Result<Cost, String> {
        match self.fragments.get(name) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err(format!("fragment '{name}' is spread inside itself")),
            None => {}
        }
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Cost::default()) };
        self.fragments.insert(name, None);
        let mut cost = self.selection_set(&fragment.node.selection_set.node)?;
        cost.directives = cost.directives.saturating_add(fragment.node.directives.len());
        self.fragments.insert(name, Some(cost));
        Ok(cost)
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
