//! Local mode: everything on one machine from one command, with invented data only.
//!
//! A private PostgreSQL and an S3 server stand in for whatever is not configured. They listen on loopback, need a
//! password or a signature all the same, and end with this process.

pub mod environment;
pub mod postgres;
pub mod s3;
pub mod sample;

pub use environment::{LocalEnvironment, LocalError};
