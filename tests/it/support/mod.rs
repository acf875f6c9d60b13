//! What the tests share.

pub(crate) mod calendar;
pub(crate) mod cluster;
pub(crate) mod days;
pub(crate) mod decisions;
pub(crate) mod endpoint;
pub(crate) mod files;
pub(crate) mod inprocess;
pub(crate) mod issuer;
pub(crate) mod metadata;
pub(crate) mod needles;
pub(crate) mod offered;
pub(crate) mod pii;
pub(crate) mod platform;
pub(crate) mod protect;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod queue;
pub(crate) mod random;
pub(crate) mod readers;
pub(crate) mod s3;
pub(crate) mod secured;
pub(crate) mod sns;
pub(crate) mod standby;
pub(crate) mod tls;
pub(crate) mod values;
pub(crate) mod warehouse;
