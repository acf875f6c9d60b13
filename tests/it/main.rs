//! The integration tests: one binary, real parts.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed unwrap is a failed test, and the helpers are no test functions"
)]

mod api_error_pages;
mod api_guard;
mod api_http;
mod api_requests;
mod api_schema;
mod api_status;
mod auth_keys;
mod auth_matrix;
mod auth_tenants;
mod auth_tls;
mod auth_tokens;
mod bad_input;
mod bad_rules;
mod canaries;
mod cancel;
mod cancel_running;
mod classification_drift;
mod classification_explain;
mod classification_rules;
mod cli;
mod decision_table;
mod demo;
mod doctor;
mod export_options;
mod export_processes;
mod export_trouble;
mod extract_faults;
mod extract_scan;
mod extract_types;
mod extract_types_docs;
mod extract_types_geometry;
mod extract_types_more;
mod extract_types_oracle;
mod extract_types_policies;
mod foreign_ids;
mod formats;
mod gate_files;
mod gate_lines;
mod gate_publication;
mod gate_search;
mod hostile;
mod house;
mod limits;
mod links;
mod listening;
mod local_postgres;
mod local_s3;
mod local_s3_durability;
mod local_s3_faults;
mod lock_order;
mod mutants;
mod pii_canaries;
mod protect;
mod protect_actions;
mod protect_export;
mod protect_sql;
mod queue;
mod readme;
mod retention;
mod rules_sql;
mod sample_warehouse;
mod stall;
mod stalled;
mod storage_conformance;
mod subscriptions;
mod subscriptions_identity;
mod support;
mod wire_faults;
mod wire_login;
