//! What the tests share.

pub(crate) mod warehouse;
pub(crate) mod s3;
pub(crate) mod endpoint;
pub(crate) mod metadata;
