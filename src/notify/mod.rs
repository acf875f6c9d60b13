//! Telling the outside: what the outbox holds is sent, at least once, under the same event id each time.
//!
//! Nothing here decides what there is to tell, and nothing is forgotten because a receiver is away. How a message leaves
//! is behind one small trait. No order is promised: what failed is tried again later, and replicas send side by side.

mod log;
mod message;
mod sender;
mod sns;

use async_trait::async_trait;

use crate::error::Failure;

pub use log::LogNotifier;
pub use message::{LARGEST, Message, Origin, VERSION};
pub use sender::{Sender, Watch};
pub use sns::{SnsNotifier, SnsSettings, TopicArn};

/// Where messages go.
#[async_trait]
pub trait Notifier: Send + Sync + std::fmt::Debug {
    /// Hands over one message. When this succeeds, the receiver has it; when it fails, it may have it all the same.
    ///
    /// # Errors
    /// A code that is not retryable says that trying again does not help until somebody changes something.
    async fn send(&self, message: &Message) -> Result<(), Failure>;
}
