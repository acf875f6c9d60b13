//! The integration tests: one binary, real parts.

mod local_postgres;
mod sample_warehouse;
