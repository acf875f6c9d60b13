//! The text of an API key: `dex_`, a prefix that finds it, and 256 random bits.

use std::fmt;

use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every key begins with, so that people and scanners recognise one.
const MARK: &str = "dex_";
const PREFIX_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A new key: its text, for its holder alone, and what is stored of it.
pub struct KeySecret {
    /// Finds the key in the database; may be shown.
    pub prefix: String,
    /// The whole key. Shown once.
    pub text: SecretString,
    /// The SHA-256 of the whole key.
    pub sha256: [u8; 32],
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySecret").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl KeySecret {
    /// A new key out of the system's randomness.
    ///
    /// # Errors
    /// Only when the system has none.
    pub fn new() -> Result<Self, rand::rand_core::OsError> {
        let (mut prefix, mut secret) = ([0; PREFIX_BYTES], [0; SECRET_BYTES]);
        OsRng.try_fill_bytes(&mut prefix)?;
        OsRng.try_fill_bytes(&mut secret)?;
        let prefix = hex(&prefix);
        let text = format!("{MARK}{prefix}_{}", hex(&secret));
        let sha256 = Sha256::digest(&text).into();
        Ok(Self { prefix, text: SecretString::from(text), sha256 })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a request shows as its key, if it has the form of one.
pub struct PresentedKey<'t> {
    /// Finds the key.
    pub prefix: &'t str,
    sha256: [u8; 32],
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedKey").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<'t> PresentedKey<'t> {
    /// `None` for what no key looks like.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (prefix, secret) = text.strip_prefix(MARK)?.split_once('_')?;
        let is_hex = |text: &str, bytes: usize| {
            text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        (is_hex(prefix, PREFIX_BYTES) && is_hex(secret, SECRET_BYTES))
            .then(|| Self { prefix, sha256: Sha256::digest(text).into() })
    }

    /// Whether this is the key with that hash. Takes the same time wherever they differ.
    pub fn matches(&self, sha256: &[u8]) -> bool {
        self.sha256.ct_eq(sha256).into()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_key_is_found_by_its_prefix_and_proven_by_the_rest() {
        let (one, other) = (KeySecret::new().unwrap(), KeySecret::new().unwrap());
        let text = one.text.expose_secret();
        let shown = PresentedKey::parse(text).unwrap();
        assert_eq!(shown.prefix, one.prefix);
        assert!(shown.matches(&one.sha256) && !shown.matches(&other.sha256) && !shown.matches(&[]));
        assert_eq!(text.len(), 4 + 12 + 1 + 64, "256 bits in hex");
        assert!(!format!("{one:?}{shown:?}").contains(&text[17..]));
        let last = if text.ends_with('0') { "1" } else { "0" };
        let tampered = format!("{}{last}", &text[..text.len() - 1]);
        assert!(!PresentedKey::parse(&tampered).unwrap().matches(&one.sha256));
    }

    #[test]
    fn what_no_key_looks_like_is_asked_of_nobody() {
        let key = KeySecret::new().unwrap();
        let text = key.text.expose_secret();
        for wrong in [
            "",
            "dex_",
            "dex__",
            "Bearer",
            &text[..text.len() - 1],
            &format!("{text}0"),
            &text[1..],
            &text.to_uppercase(),
        ] {
            assert!(PresentedKey::parse(wrong).is_none(), "{wrong}");
        }
    }
}
