//! The integration tests: one binary, real parts.

mod extract_scan;
mod extract_types;
mod local_postgres;
mod sample_warehouse;
mod local_s3;
mod local_s3_faults;
mod storage_conformance;
mod support;
