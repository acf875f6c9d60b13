//! The socket: TCP, TLS over it, or a socket of this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::WireError;
use super::address::{Address, Place};
use super::binding::Binding;
use super::calm::Calm;
use super::tls::Tls;

/// A connection of any kind.
pub(super) enum Socket {
    Tcp(Calm<TcpStream>),
    Tls(Box<TlsStream<Calm<TcpStream>>>),
    Unix(Calm<UnixStream>),
}

/// Exactly where a connection leads: the address of a name that has several, so that a second one meets the same
/// server.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Connects, with TLS where the address wants it.
pub(super) async fn connect(address: &Address) -> Result<(Socket, Peer), WireError> {
    match &address.place {
        Place::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            let peer = stream.peer_addr()?;
            Ok((secure(stream, &address.tls).await?, Peer::Tcp(peer)))
        }
        Place::Unix(path) => Ok((unix(path, &address.tls).await?, Peer::Unix(path.clone()))),
    }
}

/// Connects once more to the same server.
pub(super) async fn reconnect(peer: &Peer, tls: &Tls) -> Result<Socket, WireError> {
    match peer {
        Peer::Tcp(peer) => secure(TcpStream::connect(peer).await?, tls).await,
        Peer::Unix(path) => unix(path, tls).await,
    }
}

async fn unix(path: &PathBuf, tls: &Tls) -> Result<Socket, WireError> {
    // No server speaks TLS there.
    if tls.must { Err(WITHOUT) } else { Ok(Socket::Unix(Calm::new(UnixStream::connect(path).await?))) }
}

const WITHOUT: WireError = WireError::Tls("the server does not offer it");

async fn secure(mut stream: TcpStream, tls: &Tls) -> Result<Socket, WireError> {
    stream.set_nodelay(true)?;
    if !tls.ask {
        return Ok(Socket::Tcp(Calm::new(stream)));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    // One byte and not one more: what comes before the handshake is nobody's word.
    match stream.read_u8().await? {
        b'S' => Ok(Socket::Tls(Box::new(tls.wrap(Calm::new(stream)).await?))),
        b'N' if !tls.must => Ok(Socket::Tcp(Calm::new(stream))),
        b'N' => Err(WITHOUT),
        // A server that cannot even start a process for us says so in words.
        b'E' => Err(WireError::Closed),
        _ => Err(WireError::Protocol("an unexpected answer to the question for TLS")),
    }
}

impl Socket {
    /// From now on much will come.
    pub(super) fn expect_flow(&mut self) {
        match self {
            Self::Tcp(stream) => stream.expect_flow(),
            Self::Tls(stream) => stream.get_mut().0.expect_flow(),
            Self::Unix(stream) => stream.expect_flow(),
        }
    }

    /// What a proof of the password can be bound to.
    pub(super) fn binding(&self) -> Binding {
        match self {
            Self::Tls(stream) => {
                let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
                certificates.first().map_or(Binding::Impossible, |certificate| Binding::of(certificate))
            }
            Self::Tcp(_) | Self::Unix(_) => Binding::Impossible,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
