//! The integration tests: one binary, real parts.

mod extract_scan;
mod extract_types;
mod local_postgres;
mod sample_warehouse;
mod support;
