//! Listens, and lets nobody hold a place for nothing: connections are counted, headers must arrive in time, and a
//! peer that takes no bytes is let go. Where all places are taken and one more comes, the connection that has asked
//! for nothing for the longest gives way, so that a flood of silent ones keeps nobody out. On shutdown it accepts no more and finishes what it has begun.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service;

use self::idle::Idle;

mod idle;

/// What one peer and all together may take.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once; for one more, the one that has been idle for the longest is closed, and if none is, it waits.
    pub connections: usize,
    /// From the first byte, or the end of the request before, until the header is there.
    pub header: Duration,
    /// How long a peer may take no byte of an answer.
    pub stall: Duration,
    /// How long requests that have begun may go on after shutdown.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            header: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// The connection that a request came by. Whoever goes on with it after the answer holds its place.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// The other end.
    pub(super) address: SocketAddr,
    /// Cancelled when the service stops: begin no more, and end soon.
    pub(super) shutdown: CancellationToken,
    /// Cancelled when there is no more time to end in.
    pub(super) cut: CancellationToken,
    _place: Arc<(OwnedSemaphorePermit, TaskTrackerToken)>,
}

/// How long a connection that gives way may take to send the end of an answer.
const GIVE_WAY: Duration = Duration::from_secs(1);
/// Between two connections that are asked to give way to the same one.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Largest header of a request, in bytes, and most of an answer that is held unsent beside it.
const BUFFER_BYTES: usize = 64 * 1024;

/// Serves until `shutdown`, then finishes what has begun, within the default limits.
///
/// # Errors
/// None that a connection causes; only a listener that is no listener.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    serve_within(ConnectionLimits::default(), listener, router, shutdown).await
}

/// [`serve`] with limits of one's own.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within(
    limits: ConnectionLimits,
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    listener.local_addr()?;
    let places = Arc::new(Semaphore::new(limits.connections));
    let idle = Idle::default();
    let connections = TaskTracker::new();
    // Cancelled when the time to drain is over.
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places, &idle) => accepted,
        };
        let Some((stream, address, place)) = accepted else { break };
        let peer = Peer {
            address,
            shutdown: shutdown.clone(),
            cut: cut.clone(),
            _place: Arc::new((place, connections.token())),
        };
        let seat = Arc::new(idle.sit());
        let (mut router, at) = (router.clone(), Arc::clone(&seat));
        let service = tower::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let busy = at.begin();
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        });
        let service = TowerToHyperService::new(service);
        let (shutdown, cut) = (shutdown.clone(), cut.clone());
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(TokioIo::new(Patient::new(stream, limits.stall)), service)
                .with_upgrades();
            let mut connection = pin!(connection);
            let mut asked_to_end = false;
            let mut given_way: Option<Instant> = None;
            loop {
                tokio::select! {
                    // How a connection ended is the peer's affair; what was answered is logged per request.
                    _ = connection.as_mut() => break,
                    () = shutdown.cancelled(), if !asked_to_end => {
                        asked_to_end = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    () = seat.asked_to_leave(), if given_way.is_none() => {
                        metrics::counter!("data_exporter_connections_given_way_total").increment(1);
                        if seat.is_unused() {
                            break;
                        }
                        asked_to_end = true;
                        given_way = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                    }
                    // Whoever sends a header slowly meanwhile has begun nothing; a request that has begun is finished.
                    () = tokio::time::sleep_until(given_way.unwrap_or_else(Instant::now) + GIVE_WAY),
                        if given_way.is_some() && !seat.is_busy() => break,
                    () = cut.cancelled() => break,
                }
            }
        });
    }
    drop(listener);
    connections.close();
    if timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests did not end in time and are cut off");
        cut.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// The next connection and its place, as soon as one is free. `None` never comes while the places exist.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    idle: &Idle,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are written at once and whole; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                    return Some((stream, address, place));
                }
                loop {
                    idle.dismiss_longest();
                    // Asked again, as all may have been busy, or the one that was asked is sending its answer's end.
                    match timeout(ASK_AGAIN, Arc::clone(places).acquire_owned()).await {
                        Ok(place) => return Some((stream, address, place.ok()?)),
                        Err(_) => continue,
                    }
                }
            }
            Err(error) => {
                // Out of files, or a peer that left while it was accepted: neither is a reason to stop serving.
                tracing::warn!(kind = %error.kind(), "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A stream whose writes fail when the peer takes nothing for too long.
#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    stall: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, stall: Duration) -> Self {
        Self { stream, stall, waiting: None }
    }

    /// Passes on what a write said, and ends the waiting when it has lasted too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let stall = self.stall;
        let deadline = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stall)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
