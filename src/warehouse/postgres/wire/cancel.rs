//! Ending a query on the server, over a connection of its own: the way that the protocol has for it, and the only
//! one that does not wait for a free session.

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::WireError;
use super::socket::{Peer, reconnect};
use super::tls::Tls;

/// What the server has to be told to know which query is meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) process: i32,
    pub(super) secret: i32,
}

/// Who can end the query of one connection.
#[derive(Clone)]
pub(in super::super) struct Canceller {
    peer: Peer,
    tls: Tls,
    key: Option<Key>,
}

impl Canceller {
    pub(super) fn new(peer: Peer, tls: Tls, key: Option<Key>) -> Self {
        Self { peer, tls, key }
    }

    /// Asks the server to end the query, and waits until it has heard. A server that gave no key cannot be asked.
    pub(in super::super) async fn cancel(&self) -> Result<(), WireError> {
        let Some(Key { process, secret }) = self.key else { return Ok(()) };
        let mut socket = reconnect(&self.peer, &self.tls).await?;
        let mut message = BytesMut::new();
        frontend::cancel_request(process, secret, &mut message);
        socket.write_all(&message).await?;
        socket.flush().await?;
        // It answers by closing, once the signal is on its way.
        let mut nothing = [0; 1];
        let _ = socket.read(&mut nothing).await;
        Ok(())
    }
}
