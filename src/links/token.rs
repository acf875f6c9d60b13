//! The text of a link of our own: which grant, which file, until when, and a MAC over the three.
//!
//! A text that was not made here, or was changed in any place, is recognised without asking the database.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Grant, file, end in microseconds.
const CLAIM_BYTES: usize = 16 + 16 + 8;
/// A multiple of three, so that its base64 has no bits to spare in which two texts could differ and mean the same.
const TOKEN_BYTES: usize = CLAIM_BYTES + 32;
/// Keeps the key's other uses apart, should it ever have any.
const PURPOSE: &[u8] = b"data-exporter file link v1\0";

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) grant: Uuid,
    pub(super) file: [u8; 16],
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(super) ends: i64,
}

/// The half of a hash that stands for an object's key.
pub(super) fn file_of(object_key: &str) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(object_key.as_bytes())[..16]);
    half
}

fn mac(key: &[u8; KEY_BYTES], claim: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(PURPOSE);
    mac.update(claim);
    mac
}

impl Claim {
    pub(super) fn sign(&self, key: &[u8; KEY_BYTES]) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(self.grant.as_bytes());
        bytes.extend_from_slice(&self.file);
        bytes.extend_from_slice(&self.ends.to_be_bytes());
        let mac = mac(key, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What the token says, if this key has signed it.
    pub(super) fn read(token: &str, key: &[u8; KEY_BYTES]) -> Option<Self> {
        if token.len() != TOKEN_BYTES / 3 * 4 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (claim, signature) = bytes.split_at_checked(CLAIM_BYTES)?;
        mac(key, claim).verify_slice(signature).ok()?;
        Some(Self {
            grant: Uuid::from_slice(&claim[..16]).ok()?,
            file: claim[16..32].try_into().ok()?,
            ends: i64::from_be_bytes(claim[32..].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    proptest! {
        #[test]
        fn a_token_says_what_it_was_made_of_and_nothing_else_is_one(
            grant: u128, file: [u8; 16], ends: i64, at in 0_usize..96, other in "[A-Za-z0-9_-]",
        ) {
            let claim = Claim { grant: Uuid::from_u128(grant), file, ends };
            let token = claim.sign(&KEY);
            prop_assert_eq!(token.len(), 96);
            prop_assert_eq!(Claim::read(&token, &KEY), Some(claim));
            prop_assert_eq!(Claim::read(&token, &[8; KEY_BYTES]), None);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &other);
            if changed != token {
                prop_assert_eq!(Claim::read(&changed, &KEY), None);
            }
            prop_assert_eq!(Claim::read(&token[..at], &KEY), None);
        }

        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,200}") {
            prop_assert_eq!(Claim::read(&text, &KEY), None);
        }
    }
}
