//! The run of one export, in the order of its stages.

pub mod encode;
