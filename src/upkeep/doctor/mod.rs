//! Asks every part of an installation how it is, and says what to do about what is wrong.
//!
//! Nothing is changed but one object under a key of its own, which is removed again.

mod bucket;
mod database;
mod notifications;
mod warehouse;

pub use bucket::bucket;
pub use database::{clock, work};
pub use notifications::{given_up, notifications};
pub use warehouse::warehouse;

use crate::error::Failure;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in one or two words.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, and what to do if it is not as it should be.
    pub message: String,
}

impl Finding {
    /// It is as it should be.
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, message: message.into() }
    }

    /// Somebody should look at it.
    pub fn warn(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, message: message.into() }
    }

    /// It does not work.
    pub fn fail(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, message: message.into() }
    }

    /// It does not work, as its own message says.
    pub fn of(check: &'static str, failure: &Failure) -> Self {
        Self::fail(check, format!("{} [{}]", failure.message, failure.code))
    }
}
