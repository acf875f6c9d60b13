//! What may leave: classification codes, the rules that carry them, and the policies compiled from both.
//!
//! This crate is pure. It reads text and answers questions; it never opens a file's neighbour, a socket or a
//! database, and it imports nothing else of this project. What is not known here is denied.

pub mod actions;
mod code;
mod compile;
pub mod engine;
pub mod pii;
mod policy;
mod predicate;
pub mod rules;
mod table;

pub use code::{Code, CodeError};
pub use compile::{PolicyContext, PolicyError, Whose, unclassified};
pub use policy::{Care, CatalogColumn, ColumnKind, Decision, Outcome, Policy, PolicyColumn, Predicate, RowRule};
pub use rules::{RuleErrors, RuleFile, RuleSet};
pub use table::{TableName, TableNameError};
