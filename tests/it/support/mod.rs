//! What the tests share.

pub(crate) mod endpoint;
pub(crate) mod metadata;
pub(crate) mod s3;
pub(crate) mod warehouse;
