//! Who may ask, as the metadata database knows it: API keys, and the audit of what administrators did.
//!
//! A key's secret is made here, shown once and forgotten; only its SHA-256 is stored. The audit only takes new rows.
//! This module does not look at requests: what proves an identity is read by the endpoint.

mod audit;
mod keys;
mod secret;

pub use audit::{Action, Actor, AuditEntry, AuditLog};
pub use keys::{KeyInfo, KeyStore, NewKey, StoredKey};
pub use secret::{KeySecret, PresentedKey};

use crate::error::{ErrorCode, Failure};

/// What an identity may do. An administrator may also do what a requester may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Submits requests and reads its tenant's.
    Requester,
    /// Acts on the service itself.
    Admin,
}

impl Role {
    /// Its name, as keys and tokens carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requester => "requester",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "requester" => Some(Self::Requester),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Whether this can be a tenant's name: 1 to 64 of `A-Z a-z 0-9 _ . -`, and neither `.` nor `..`. It stands in the
/// keys of objects.
pub fn is_tenant_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// A tenant's name, checked.
///
/// # Errors
/// `BAD_REQUEST`.
pub fn tenant_of(name: &str) -> Result<crate::jobs::Tenant, Failure> {
    if is_tenant_name(name) {
        return Ok(crate::jobs::Tenant::new(name));
    }
    Err(Failure::new(
        ErrorCode::BadRequest,
        "a tenant's name has 1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-', and is neither '.' nor '..'",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_have_names_that_can_stand_in_a_key() {
        for (name, sound) in [
            ("default", true),
            ("Acme-1.eu_west", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("é", false),
            ("a\0", false),
        ] {
            assert_eq!(is_tenant_name(name), sound, "{name:?}");
        }
        assert!(is_tenant_name(&"t".repeat(64)) && !is_tenant_name(&"t".repeat(65)));
    }
}
