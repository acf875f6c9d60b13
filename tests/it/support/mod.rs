//! What the tests share.

pub(crate) mod warehouse;
pub(crate) mod s3;
