//! Data Exporter: takes tables out of an analytics warehouse and hands them over as Parquet behind links that expire.
//!
//! The modules stand in the order that data flows; `ARCHITECTURE.md` draws the map.

pub mod api;
pub mod cli;
pub mod config;
pub mod error;
pub mod explain;
pub mod identity;
pub mod jobs;
pub mod lifecycle;
pub mod links;
pub mod local;
pub mod notify;
pub mod pipeline;
pub mod rules;
pub mod schedule;
pub mod startup;
pub mod storage;
pub mod telemetry;
pub mod upkeep;
pub mod verify;
pub mod warehouse;
