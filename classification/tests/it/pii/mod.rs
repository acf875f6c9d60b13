//! Finding personal data and putting something else in its place.

mod config;
mod corpus;
mod figures;
mod json;
mod laws;
mod marked;
pub(crate) mod road;
