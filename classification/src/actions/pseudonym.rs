//! Keyed pseudonyms: HMAC-SHA-256, so that nobody without the key can find a value by trying all of them.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The fewest bytes that a key may have.
pub const SHORTEST_KEY: usize = 32;

/// The size of a block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// A key that is too short to keep anything secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pseudonym key has {length} bytes: give it at least {SHORTEST_KEY} random ones")]
pub struct KeyTooShort {
    length: usize,
}

/// Makes pseudonyms with one key. The same value has the same pseudonym within a domain, and another in another.
#[derive(Clone)]
pub struct Pseudonymiser {
    // The key as both hashes have taken it in: it is not needed again.
    // Shared: they are large, and whoever passes settings around carries them along.
    hashes: Arc<[Sha256; 2]>,
}

/// The key, mixed with the constants of RFC 2104.
fn blocks(key: &[u8]) -> [[u8; BLOCK]; 2] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    [0x36, 0x5c].map(|constant: u8| block.map(|byte| byte ^ constant))
}

impl fmt::Debug for Pseudonymiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonymiser(…)")
    }
}

impl Pseudonymiser {
    /// A pseudonymiser with this key.
    pub fn new(key: &[u8]) -> Result<Self, KeyTooShort> {
        if key.len() < SHORTEST_KEY {
            return Err(KeyTooShort { length: key.len() });
        }
        Ok(Self::with_key(key))
    }

    fn with_key(key: &[u8]) -> Self {
        let [inner, outer] = blocks(key);
        Self { hashes: Arc::new([Sha256::new_with_prefix(inner), Sha256::new_with_prefix(outer)]) }
    }

    /// The two blocks that stand before what the inner and the outer hash take in: the key, as a statement needs it
    /// that makes pseudonyms in the warehouse. They are as secret as the key.
    pub fn pads(key: &[u8]) -> Result<[[u8; BLOCK]; 2], KeyTooShort> {
        if key.len() < SHORTEST_KEY { Err(KeyTooShort { length: key.len() }) } else { Ok(blocks(key)) }
    }

    /// The pseudonyms of a domain, or of one day of it. Preparing them once for many values saves most of what is no
    /// hashing.
    pub fn within(&self, domain: &str, day: Option<&str>) -> Domain {
        // Lengths keep the parts apart: neither a domain nor a day can be continued by a value.
        let day = day.unwrap_or_default();
        let [mut inner, outer] = self.hashes.as_ref().clone();
        inner.update((domain.len() as u64).to_be_bytes());
        inner.update((day.len() as u64).to_be_bytes());
        inner.update(domain.as_bytes());
        inner.update(day.as_bytes());
        Domain { inner, outer }
    }

    /// A pseudonym for text: 32 hexadecimal digits.
    pub fn hex(&self, domain: &str, day: Option<&str>, value: &[u8]) -> String {
        self.within(domain, day).token(value).hex().iter().copied().map(char::from).collect()
    }

    /// A pseudonym for a part of a text: 20 small letters, which nobody takes for a number.
    pub fn word(&self, domain: &str, value: &str) -> String {
        let Token(token) = self.within(domain, None).token(value.as_bytes());
        token[..10].iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(b'a' + half)).collect()
    }
}

/// The pseudonyms of one domain, or of one day of it: the hashes as they stand before a value.
#[derive(Clone)]
pub struct Domain {
    inner: Sha256,
    outer: Sha256,
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Domain(…)")
    }
}

impl Domain {
    /// HMAC-SHA-256 of what went in before and this value.
    fn mac(&self, value: &[u8]) -> [u8; 32] {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        inner.update(value);
        outer.update(inner.finalize());
        outer.finalize().into()
    }

    /// What a value's pseudonym is made of, in whatever form.
    pub fn token(&self, value: &[u8]) -> Token {
        let code = self.mac(value);
        let mut token = [0; 16];
        token.copy_from_slice(&code[..16]);
        Token(token)
    }

    /// The same for an integer, which counts as the text that it is written as.
    pub fn token_of(&self, value: i64) -> Token {
        self.token(value.to_string().as_bytes())
    }
}

/// The first 16 bytes of a value's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Token([u8; 16]);

impl Token {
    /// A pseudonym for text: 32 hexadecimal digits.
    pub fn hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        text
    }

    /// A pseudonym for a 64-bit integer: not negative.
    pub fn integer(self) -> i64 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        i64::from_be_bytes(head) & i64::MAX
    }

    /// A pseudonym for a UUID: one of version 8, which is for such uses.
    pub fn uuid(self) -> [u8; 16] {
        let mut token = self.0;
        token[6] = token[6] & 0x0f | 0x80;
        token[8] = token[8] & 0x3f | 0x80;
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_standards() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // Test cases 1, 2 and 6 of RFC 4231; the last has a key longer than a block.
        for (key, data, expected) in [
            (vec![0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            let [inner, outer] = Pseudonymiser::with_key(&key).hashes.as_ref().clone();
            assert_eq!(hex(Domain { inner, outer }.mac(data.as_bytes())), expected, "{data}");
        }
    }

    #[test]
    fn equal_values_are_equal_within_a_domain_only() {
        let key = Pseudonymiser::new(&[7; 32]).unwrap();
        assert_eq!(key.hex("trip", None, b"a"), key.hex("trip", None, b"a"));
        let others = [
            key.hex("trip", None, b"b"),
            key.hex("driver", None, b"a"),
            key.hex("trip", Some("2026-11-19"), b"a"),
            key.hex("trip", Some("2026-11-20"), b"a"),
            key.hex("tri", None, b"pa"),
            Pseudonymiser::new(&[8; 32]).unwrap().hex("trip", None, b"a"),
        ];
        for (position, other) in others.iter().enumerate() {
            assert_ne!(*other, key.hex("trip", None, b"a"), "{position}");
        }
        assert_eq!(key.hex("trip", None, b"a").len(), 32);
        assert!(key.word("EMAIL", "a").bytes().all(|byte| byte.is_ascii_lowercase()));
        let trips = key.within("trip", None);
        assert!((0..1000).all(|value| trips.token_of(value).integer() >= 0));
        let uuid = trips.token(&[1; 16]).uuid();
        assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (8, 2));
        assert_eq!(
            Pseudonymiser::new(&[7; 31]).unwrap_err().to_string(),
            "the pseudonym key has 31 bytes: give it at least 32 random ones"
        );
        assert_eq!(format!("{key:?} {trips:?}"), "Pseudonymiser(…) Domain(…)");
    }
}
