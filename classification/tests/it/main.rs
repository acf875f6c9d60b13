//! What the crate promises, tested from outside.

// Helpers of tests may unwrap as the tests themselves do.
#![allow(clippy::unwrap_used)]

mod actions;
mod engine;
mod pii;
mod policy;
mod rules;
