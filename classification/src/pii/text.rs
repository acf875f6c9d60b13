//! What the detectors share: boundaries of words, separators inside numbers, and words that hint at what follows.

/// Letters, digits and `_`: what ends a word in ASCII. Characters beyond ASCII end a word, so that a number between
/// Chinese or Hebrew letters is still seen.
#[inline]
pub(super) fn is_word(byte: u8) -> bool {
    WORD[usize::from(byte)]
}

const WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        table[index] = byte.is_ascii_alphanumeric() || byte == b'_';
        index += 1;
    }
    table
};

/// Where the next word begins at or behind `position`, which must not lie inside one; the end of the text otherwise.
#[inline]
pub(super) fn next_word(bytes: &[u8], position: usize) -> usize {
    bytes[position..].iter().position(|&byte| is_word(byte)).map_or(bytes.len(), |gap| position + gap)
}

/// Where a run of word characters that `position` lies in ends.
#[inline]
pub(super) fn end_of_word(bytes: &[u8], position: usize) -> usize {
    bytes[position..].iter().position(|&byte| !is_word(byte)).map_or(bytes.len(), |length| position + length)
}

/// Whether a word could begin at `start`: nothing, or no part of a word, stands before it.
pub(super) fn starts_word(bytes: &[u8], start: usize) -> bool {
    start == 0 || !is_word(bytes[start - 1])
}

/// Whether a word could end before `end`.
pub(super) fn ends_word(bytes: &[u8], end: usize) -> bool {
    bytes.get(end).is_none_or(|&byte| !is_word(byte))
}

/// Whether a number that begins at `start` is the tail of a decimal one.
pub(super) fn after_point(bytes: &[u8], start: usize) -> bool {
    start >= 2 && bytes[start - 1] == b'.' && bytes[start - 2].is_ascii_digit()
}

/// Whether a number that ends before `end` is the head of a decimal one.
pub(super) fn before_point(bytes: &[u8], end: usize) -> bool {
    bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)
}

/// What stands between the groups of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Space,
    Dash,
}

/// The separator at `position` and its length in bytes; typographic spaces and dashes count too.
pub(super) fn separator(bytes: &[u8], position: usize) -> Option<(Separator, usize)> {
    match *bytes.get(position)? {
        b' ' => Some((Separator::Space, 1)),
        b'-' => Some((Separator::Dash, 1)),
        // No-break space.
        0xc2 if bytes.get(position + 1) == Some(&0xa0) => Some((Separator::Space, 2)),
        0xe2 => match (bytes.get(position + 1)?, bytes.get(position + 2)?) {
            // The spaces from U+2000 to U+200A, and the narrow no-break space.
            (0x80, 0x80..=0x8a | 0xaf) => Some((Separator::Space, 3)),
            // Hyphens and dashes from U+2010 to U+2015, and the minus sign.
            (0x80, 0x90..=0x95) | (0x88, 0x92) => Some((Separator::Dash, 3)),
            _ => None,
        },
        _ => None,
    }
}

/// Words that may stand between a hint and its number.
const FILLERS: &[&str] = &[
    "no", "nr", "num", "number", "nummer", "numero", "numéro", "n°", "is", "ist", "est", "at", "on", "me", "us", "my",
    "under", "unter", "au", "al", "the", "address", "adresse", "addr",
];

/// How far back a hint may stand, in bytes.
const HINT_REACH: usize = 48;

/// Whether one of these words, in lower case, stands right before `start`, up to punctuation and filling words.
pub(super) fn hinted(text: &str, start: usize, hints: &[&str]) -> bool {
    let mut from = start.saturating_sub(HINT_REACH);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let mut rest = without_punctuation(after_placeholder(&text[from..start]));
    // Most numbers follow a number or nothing: no word is compared for them.
    if !rest.ends_with(|c: char| c.is_alphabetic() || c == '°') {
        return false;
    }
    let lower;
    if !rest.is_ascii() {
        lower = rest.to_lowercase();
        rest = &lower;
    }
    for _ in 0..4 {
        if hints.iter().any(|hint| ends_with_word(rest, hint)) {
            return true;
        }
        match FILLERS.iter().find(|filler| ends_with_word(rest, filler)) {
            Some(filler) => rest = without_punctuation(&rest[..rest.len() - filler.len()]),
            None => return false,
        }
    }
    false
}

/// Last letters of words, one bit each.
#[derive(Clone, Copy)]
pub(super) struct LastLetters(u32);

impl LastLetters {
    /// Those of these hints, and of the words that may stand behind them.
    pub(super) const fn of(hints: &[&[&str]]) -> Self {
        let mut bits = 0;
        let mut list = 0;
        while list <= hints.len() {
            let words = if list == hints.len() { FILLERS } else { hints[list] };
            let mut word = 0;
            while word < words.len() {
                let letters = words[word].as_bytes();
                bits |= Self::bit(letters[letters.len() - 1]);
                word += 1;
            }
            list += 1;
        }
        Self(bits)
    }

    const fn bit(letter: u8) -> u32 {
        match letter {
            b'a'..=b'z' => 1 << (letter - b'a'),
            b'A'..=b'Z' => 1 << (letter - b'A'),
            0x80.. => 1 << 26,
            _ => 0,
        }
    }

    /// Whether a word with such a letter may stand right before `start`: a cheap test before [`hinted`].
    pub(super) fn before(self, bytes: &[u8], start: usize) -> bool {
        bytes[..start]
            .iter()
            .rev()
            .find(|&&byte| byte.is_ascii_alphanumeric() || byte >= 0x80)
            .is_some_and(|&byte| self.0 & Self::bit(byte) != 0)
    }
}

/// What stands behind the last placeholder, such as `<PHONE>` or `<PHONE:…>`: the name of something that was removed
/// says nothing about what follows it.
fn after_placeholder(before: &str) -> &str {
    let name = |name: &str| {
        let label = name.split(':').next().unwrap_or_default();
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    for (open, _) in before.rmatch_indices('<') {
        if let Some(close) = before[open..].find('>')
            && name(&before[open + 1..open + close])
        {
            return &before[open + close + 1..];
        }
    }
    before
}

fn is_punctuation(c: char) -> bool {
    c.is_whitespace() || ".:;,#=-–—_('\"/+<>[]：".contains(c)
}

fn without_punctuation(text: &str) -> &str {
    text.trim_end_matches(is_punctuation)
}

/// Whether the text ends with this word, in either case, and not with a longer one. Scripts without spaces have no
/// such boundary.
fn ends_with_word(text: &str, word: &str) -> bool {
    let (bytes, letters) = (text.as_bytes(), word.as_bytes());
    let Some(from) = bytes.len().checked_sub(letters.len()) else { return false };
    // Words mostly differ in their last letter.
    let same = bytes[bytes.len() - 1].to_ascii_lowercase() == letters[letters.len() - 1];
    if !same || !bytes[from..].eq_ignore_ascii_case(letters) {
        return false;
    }
    let script = word.chars().next().is_some_and(|c| c >= '\u{2e80}');
    script || text[..from].chars().next_back().is_none_or(|c| !c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_stand_right_before() {
        for (text, found) in [
            ("tel 1", true),
            ("Tel.: 1", true),
            ("my phone number is: 1", true),
            ("PHONE_NUMBER=1", true),
            ("请拨打电话：1", true),
            ("<phone>1", true),
            ("<PHONE> 1", false),
            ("é <PHONE>> nr < 1", false),
            ("<PHONE:abc> 1", false),
            ("<PHONE> tel 1", true),
            ("hotel 1", false),
            ("tel me something 1", false),
            ("1", false),
        ] {
            let start = text.len() - 1;
            assert_eq!(hinted(text, start, &["tel", "phone", "电话"]), found, "{text}");
        }
        // A window that would begin inside a character.
        let text = format!("{}tel 1", "é".repeat(30));
        assert!(!hinted(&text, text.len() - 1, &["tel"]));
        assert!(hinted(&format!("{} tel 1", "é".repeat(30)), text.len(), &["tel"]));
    }
}
