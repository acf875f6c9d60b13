//! Local mode: everything on one machine from one command, with invented data only.

pub mod postgres;
pub mod sample;
pub mod s3;
