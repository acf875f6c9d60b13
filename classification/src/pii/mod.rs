//! Personal data: finding it by columns' names and in values, and putting something else in its place.
//!
//! A value passes a cheap byte test first; the detectors that it asks for propose findings, each with validators of
//! its own: check digits, lengths, registries of countries. No detector looks further than a bounded distance from
//! where it stands, so no text can make one slow. Findings and errors never carry values.
//!
//! Nothing here decides whether a column may leave: that is the policy's.

mod config;
mod countries;
mod email;
mod entity;
mod iban;
mod json;
pub mod names;
mod network;
mod number;
mod phone;
mod profile;
mod protect;
mod scan;
mod secret;
mod text;
mod vin;

pub use config::{EntityRule, Pattern, PiiRules, PiiRulesError, Treatment};
pub use entity::{Entity, Finding, Kind};
pub use protect::{KeyMissing, Protected, Protector, Removed};
pub use scan::{Offset, OffsetsError, Scanner};
