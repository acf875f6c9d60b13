//! Personal data inside JSON documents: in strings, in keys and in long numbers. Everything else of a document stays
//! byte for byte as it is: numbers keep their digits and members their order.

use super::entity::Entity;
use super::names;
use super::protect::{Protected, Protector, Removed};

/// Numbers with fewer digits are nobody's.
const SHORTEST_NUMBER: usize = 9;

/// What a walk knows of the container that it is in.
#[derive(Default)]
struct Level {
    object: bool,
    /// What the key of the value that comes next says.
    named: Option<Entity>,
    /// How many keys of this object were changed: equal ones must stay apart.
    changed_keys: usize,
}

impl Protector {
    /// Removes personal data from a JSON document. What cannot be read as JSON is treated as text.
    pub fn json(&self, document: &str, removed: &mut Removed) -> Protected {
        if serde_json::from_str::<serde::de::IgnoredAny>(document).is_err() {
            return self.text(document, removed);
        }
        let mut walk =
            Walk { protector: self, document, out: String::new(), copied: 0, levels: vec![Level::default()] };
        if walk.run(removed).is_none() {
            return Protected::Null;
        }
        if walk.copied == 0 {
            return Protected::Unchanged;
        }
        walk.out.push_str(&document[walk.copied..]);
        Protected::Changed(walk.out)
    }
}

struct Walk<'a> {
    protector: &'a Protector,
    document: &'a str,
    /// The changed document up to `copied`.
    out: String,
    copied: usize,
    levels: Vec<Level>,
}

impl Walk<'_> {
    /// Visits every token; `None` if the whole document must be NULL.
    fn run(&mut self, removed: &mut Removed) -> Option<()> {
        let bytes = self.document.as_bytes();
        let mut position = 0;
        while let Some(&byte) = bytes.get(position) {
            match byte {
                b'{' | b'[' => {
                    // A list under a key holds what the key says; an object has keys of its own.
                    let named = self.level().named.filter(|_| byte == b'[');
                    self.levels.push(Level { object: byte == b'{', named, changed_keys: 0 });
                    position += 1;
                }
                b'}' | b']' => {
                    self.levels.pop();
                    self.value_ends();
                    position += 1;
                }
                b'"' => {
                    let end = string_end(bytes, position);
                    let rest = self.document[end..].trim_start();
                    if self.level().object && rest.starts_with(':') {
                        self.key(position, end, removed);
                    } else {
                        self.leaf(position, end, removed)?;
                    }
                    position = end;
                }
                b'-' | b'0'..=b'9' => {
                    let length = bytes[position..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
                        .count();
                    self.leaf(position, position + length, removed)?;
                    position += length;
                }
                b't' | b'f' | b'n' => {
                    position += bytes[position..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
                    self.value_ends();
                }
                _ => position += 1,
            }
        }
        Some(())
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    /// The next value of an object has another key.
    fn value_ends(&mut self) {
        let level = self.level();
        if level.object {
            level.named = None;
        }
    }

    fn key(&mut self, start: usize, end: usize, removed: &mut Removed) {
        let key = string(&self.document[start..end]);
        // What a key was changed to says nothing about its value.
        self.level().named = names::certain(&key).filter(|_| !key.starts_with('<'));
        let instead = match self.protector.text(&key, removed) {
            Protected::Unchanged => return,
            Protected::Changed(text) => text,
            // A key cannot be NULL.
            Protected::Null => "<REMOVED>".to_owned(),
        };
        let level = self.level();
        level.changed_keys += 1;
        let number = level.changed_keys;
        let instead = if number == 1 { instead } else { format!("{instead}#{number}") };
        self.put(start, end, &quoted(&instead));
    }

    /// A string or a number.
    fn leaf(&mut self, start: usize, end: usize, removed: &mut Removed) -> Option<()> {
        let token = &self.document[start..end];
        let text = if token.starts_with('"') { string(token) } else { token.to_owned() };
        let named = self.level().named;
        self.value_ends();
        let already =
            |entity: &Entity| text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) == Some(entity.label());
        if let Some(entity) = named.filter(|entity| !text.is_empty() && !already(entity)) {
            let instead = self.protector.whole(entity, &text, removed);
            self.put(start, end, &instead.map_or("null".to_owned(), |instead| quoted(&instead)));
            return Some(());
        }
        if !token.starts_with('"') && token.len() < SHORTEST_NUMBER {
            return Some(());
        }
        match self.protector.text(&text, removed) {
            Protected::Unchanged => {}
            Protected::Changed(instead) => self.put(start, end, &quoted(&instead)),
            Protected::Null if self.levels.len() == 1 => return None,
            Protected::Null => self.put(start, end, "null"),
        }
        Some(())
    }

    fn put(&mut self, start: usize, end: usize, instead: &str) {
        self.out.push_str(&self.document[self.copied..start]);
        self.out.push_str(instead);
        self.copied = end;
    }
}

/// The first byte behind the string literal at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut position = start + 1;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            b'"' => return position + 1,
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
    bytes.len()
}

/// What a string literal says.
fn string(literal: &str) -> String {
    // Half a surrogate pair is a literal that has no text: its own characters are searched then.
    serde_json::from_str(literal).unwrap_or_else(|_| literal.trim_matches('"').to_owned())
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
