//! A client of PostgreSQL's protocol that does one thing: one scan over one connection, at the speed of the wire.
//!
//! The socket is read into one large buffer that is used again and again; the messages of a COPY are stepped over in
//! it, and what they hold is handed on without a copy. A connection is used for one COPY and then closed, so none is
//! ever used again after a COPY that was not read to its end. Everything but scans goes through sqlx.
//!
//! Nothing here passes on the server's own text: of an error only its SQLSTATE is kept.
//!
//! The protocol is version 3.0 as PostgreSQL documents it ("Frontend/Backend Protocol").

mod address;
mod binding;
mod calm;
mod cancel;
mod copy_out;
mod inbox;
mod login;
mod socket;
mod tls;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;

pub(super) use self::address::Address;
pub(super) use self::cancel::Canceller;
pub(super) use self::copy_out::{Broken, CopyOut, Sink, Step};
use self::inbox::{Frame, Inbox};
use self::socket::Socket;

/// What went wrong on the wire. Holds nothing that the server wrote but a SQLSTATE.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The socket failed.
    #[error("{}", .0.kind())]
    Io(#[from] std::io::Error),
    /// The server, or somebody between, ended the connection in the middle.
    #[error("the connection ended")]
    Closed,
    /// The server refused or stopped.
    #[error("SQLSTATE {state}")]
    Server {
        /// Its SQLSTATE.
        state: String,
    },
    /// TLS could not be agreed on, or the server's certificate is not trusted.
    #[error("TLS failed: {0}")]
    Tls(&'static str),
    /// The server wants to be convinced in a way that is not known here, or could not convince us.
    #[error("{0}")]
    Login(&'static str),
    /// Bytes that the protocol does not allow here.
    #[error("{0}")]
    Protocol(&'static str),
}

/// A connection that is logged in.
pub(super) struct Connection {
    socket: Socket,
    inbox: Inbox,
    canceller: Canceller,
}

impl Connection {
    /// Connects and logs in. Not bounded in time: that is the caller's.
    pub(super) async fn open(address: &Address, application_name: &str) -> Result<Self, WireError> {
        let (mut socket, peer) = socket::connect(address).await?;
        let mut inbox = Inbox::new();
        let key = login::login(&mut socket, &mut inbox, address, application_name).await?;
        let canceller = Canceller::new(peer, address.tls.clone(), key);
        Ok(Self { socket, inbox, canceller })
    }

    /// Runs statements whose rows, if any, nobody looks at; afterwards the session must be inside a transaction.
    pub(super) async fn begin(&mut self, statements: &str) -> Result<(), WireError> {
        self.query(statements).await?;
        loop {
            match self.inbox.frame(&mut self.socket).await? {
                Frame { tag: b'C' | b'N' | b'S' | b'A' | b'T' | b'D', .. } => {}
                Frame { tag: b'E', body } => return Err(inbox::refusal(body)),
                Frame { tag: b'Z', body: [b'T'] } => return Ok(()),
                Frame { tag: b'Z', .. } => return Err(WireError::Protocol("no transaction has begun")),
                Frame { .. } => return Err(WireError::Protocol("an unexpected message before the scan")),
            }
        }
    }

    /// Runs statements outside any transaction; the values of the only row that they yield, as text.
    pub(super) async fn ask(&mut self, statements: &str) -> Result<Vec<Option<String>>, WireError> {
        self.answer(statements, b'I').await
    }

    /// The same inside the transaction that has begun.
    pub(super) async fn ask_inside(&mut self, statements: &str) -> Result<Vec<Option<String>>, WireError> {
        self.answer(statements, b'T').await
    }

    async fn answer(&mut self, statements: &str, state: u8) -> Result<Vec<Option<String>>, WireError> {
        self.query(statements).await?;
        let mut row = None;
        loop {
            match self.inbox.frame(&mut self.socket).await? {
                Frame { tag: b'T' | b'C' | b'N' | b'S' | b'A', .. } => {}
                Frame { tag: b'D', body } if row.is_none() => row = Some(inbox::texts(body)?),
                Frame { tag: b'E', body } => return Err(inbox::refusal(body)),
                Frame { tag: b'Z', body: [found] } if *found == state => {
                    return row.ok_or(WireError::Protocol("an answer without a row"));
                }
                Frame { .. } => return Err(WireError::Protocol("an unexpected message in an answer")),
            }
        }
    }

    /// Sends the statement of a COPY; its bytes come by [`CopyOut::advance`] and [`Self::fill`].
    pub(super) async fn copy(&mut self, statement: &str) -> Result<CopyOut, WireError> {
        self.inbox.settle();
        self.query(statement).await?;
        self.socket.expect_flow();
        Ok(CopyOut::new())
    }

    /// Takes from the bytes that have come as much as the sink wants.
    pub(super) fn advance<S: Sink>(&mut self, copy: &mut CopyOut, sink: &mut S) -> Result<Step, Broken<S::Error>> {
        let (used, step) = copy.advance(self.inbox.bytes(), self.inbox.capacity(), sink)?;
        self.inbox.consume(used);
        Ok(step)
    }

    /// Waits for more bytes, and says how many came. Losing this future loses none of them.
    pub(super) async fn fill(&mut self) -> Result<u64, WireError> {
        self.inbox.fill(&mut self.socket).await
    }

    /// Who can end this connection's query.
    pub(super) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Says goodbye; only after a COPY that was read to its end.
    pub(super) async fn close(mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let _ = self.socket.write_all(&message).await;
        let _ = self.socket.shutdown().await;
    }

    async fn query(&mut self, statements: &str) -> Result<(), WireError> {
        let mut message = BytesMut::new();
        frontend::query(statements, &mut message).map_err(|_| WireError::Protocol("a statement with a NUL"))?;
        self.socket.write_all(&message).await?;
        self.socket.flush().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
