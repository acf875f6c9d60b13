//! A socket that is read without being watched.
//!
//! The server writes 8 KiB at a time. The runtime's reactor is woken by each of these writes, also while nobody waits
//! for them: on loopback that takes more of a core than all decoding, and slows the server that has to wake it. So a
//! socket in full flow is taken from the reactor. It is read until it is empty, then left alone for the shortest time
//! that the runtime's clock knows, in which a server at full speed fills hundreds of KiB. A socket that stays empty
//! for longer is given back to the reactor, until it flows again: silence costs nothing.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};

/// How long an empty socket is left alone.
const NAP: Duration = Duration::from_millis(1);

/// After so many naps in a row the reactor watches again.
const NAPS: u32 = 20;

/// A socket that can be taken from the reactor and given back.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Sized {
    /// The same socket, unwatched; reads do not block.
    type Still: Read + Unpin;

    fn still(self) -> io::Result<Self::Still>;
    fn watch(still: Self::Still) -> io::Result<Self>;
}

impl Stream for TcpStream {
    type Still = std::net::TcpStream;

    fn still(self) -> io::Result<Self::Still> {
        self.into_std()
    }

    fn watch(still: Self::Still) -> io::Result<Self> {
        Self::from_std(still)
    }
}

impl Stream for UnixStream {
    type Still = std::os::unix::net::UnixStream;

    fn still(self) -> io::Result<Self::Still> {
        self.into_std()
    }

    fn watch(still: Self::Still) -> io::Result<Self> {
        Self::from_std(still)
    }
}

enum State<S: Stream> {
    Watched(S),
    Still(S::Still),
    /// Between two states, and after a change that failed.
    Gone,
}

/// The socket.
pub(super) struct Calm<S: Stream> {
    state: State<S>,
    /// Whether it may be taken from the reactor.
    flowing: bool,
    nap: Option<Pin<Box<Sleep>>>,
    napping: bool,
    naps: u32,
}

impl<S: Stream> Calm<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { state: State::Watched(stream), flowing: false, nap: None, napping: false, naps: 0 }
    }

    /// From now on much will come.
    pub(super) fn expect_flow(&mut self) {
        self.flowing = true;
    }

    /// The watched socket.
    fn watched(&mut self) -> io::Result<&mut S> {
        self.napping = false;
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Still(still) => State::Watched(S::watch(still)?),
            state => state,
        };
        match &mut self.state {
            State::Watched(stream) => Ok(stream),
            State::Still(_) | State::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sleeps on; ready when it has slept.
    fn poll_nap(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.napping
            && let Some(nap) = &mut self.nap
        {
            ready!(nap.as_mut().poll(context));
            self.napping = false;
        }
        Poll::Ready(())
    }

    fn lie_down(&mut self) {
        match &mut self.nap {
            Some(nap) => nap.as_mut().reset(Instant::now() + NAP),
            None => self.nap = Some(Box::pin(sleep(NAP))),
        }
        self.napping = true;
        self.naps += 1;
    }
}

impl<S: Stream> AsyncRead for Calm<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.poll_nap(context));
            let State::Still(still) = &mut this.state else { break };
            match still.read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    this.naps = 0;
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if this.naps == NAPS {
                        break;
                    }
                    this.lie_down();
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let flowing = this.flowing;
        let before = buffer.filled().len();
        ready!(Pin::new(this.watched()?).poll_read(context, buffer))?;
        // It flows, and has not ended.
        if flowing && buffer.filled().len() > before {
            this.naps = 0;
            if let State::Watched(stream) = std::mem::replace(&mut this.state, State::Gone) {
                this.state = State::Still(stream.still()?);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writing is rare: the reactor watches it.
impl<S: Stream> AsyncWrite for Calm<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().watched()?).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Watched(stream) => Pin::new(stream).poll_flush(context),
            // Nothing is held back.
            State::Still(_) | State::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().watched()?).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Flow, pauses shorter and longer than it takes to be watched again, an answer in between, and the end.
    #[tokio::test]
    async fn nothing_is_lost_between_flow_and_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sender = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = Vec::new();
            for (number, pause) in [0, 0, 3, 0, 120, 0, 5, 120, 1].into_iter().enumerate() {
                let bytes = vec![u8::try_from(number).unwrap(); 1 + number * 70_000];
                stream.write_all(&bytes).await.unwrap();
                sent.extend(bytes);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            assert_eq!(stream.read_u8().await.unwrap(), 7);
            stream.write_all(b"after").await.unwrap();
            sent.extend(b"after");
            sent
        });
        let mut calm = Calm::new(TcpStream::connect(address).await.unwrap());
        calm.expect_flow();
        let (mut got, mut buffer, mut unwatched, mut answered) = (Vec::new(), vec![0; 50_000], 0, false);
        loop {
            let read = calm.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            got.extend_from_slice(&buffer[..read]);
            unwatched += usize::from(matches!(calm.state, State::Still(_)));
            if !answered && got.last() == Some(&8) {
                calm.write_all(&[7]).await.unwrap();
                assert!(matches!(calm.state, State::Watched(_)));
                answered = true;
            }
        }
        assert!(got == sender.await.unwrap());
        assert!(unwatched > 10, "{unwatched}");
    }

    #[tokio::test]
    async fn a_silent_socket_is_watched_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut calm = Calm::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (mut stream, _) = listener.accept().await.unwrap();
        calm.expect_flow();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(calm.read_u8().await.unwrap(), b'x');
        assert!(matches!(calm.state, State::Still(_)));
        let silence = tokio::time::timeout(Duration::from_millis(500), calm.read_u8()).await;
        assert!(silence.is_err() && matches!(calm.state, State::Watched(_)));
        drop(stream);
        assert_eq!(calm.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
