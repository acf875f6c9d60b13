//! HTTP/1.1 over TCP: connections, faults in front of the service, an orderly end.

use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::S3Service;
use s3s::{Body, HttpResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::faults::{Fate, Fault, Faults, error_answer};

/// How long to wait when no connection can be accepted, such as when file handles have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection ends without an answer, by order of a test.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped on order")]
struct Dropped;

/// Everything a connection needs.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) service: S3Service,
    pub(super) faults: Faults,
    /// No new connections, and none is kept alive.
    pub(super) stop: CancellationToken,
    /// Connections end at once.
    pub(super) abort: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Server {
    /// Accepts connections until the server stops.
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    // s3s logs requests, at debug level with their signatures: it gets nowhere to log to.
                    self.tasks.spawn(self.clone().connection(socket).with_subscriber(NoSubscriber::default()));
                }
                Err(error) => {
                    tracing::warn!(kind = %error.kind(), "the local S3 server could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, socket: TcpStream) {
        let _ = socket.set_nodelay(true);
        let service = service_fn(|request| self.answer(request));
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                // A connection's end, good or bad, is the client's to notice.
                _ = connection.as_mut() => return,
                () = self.abort.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, Dropped> {
        let (parts, body) = request.into_parts();
        let rate = self.faults.rate();
        let fate = self.faults.judge(&parts);
        let body = match rate {
            None => Body::from(body),
            // A body that is empty stays one: s3s asks for its length.
            Some(_) if body.is_end_stream() => Body::from(body),
            Some(rate) => slow(Body::from(body), rate),
        };
        let request = Request::from_parts(parts, body);
        let response = match fate {
            Fate::Pass => self.serve(request).await?,
            Fate::LostBucket => refuse(request, StatusCode::NOT_FOUND, "NoSuchBucket").await,
            Fate::Hit(Fault::SlowDown, _) => refuse(request, StatusCode::SERVICE_UNAVAILABLE, "SlowDown").await,
            Fate::Hit(Fault::Denied, _) => refuse(request, StatusCode::FORBIDDEN, "AccessDenied").await,
            Fate::Hit(Fault::ErrorBody, _) => refuse(request, StatusCode::OK, "InternalError").await,
            Fate::Hit(Fault::ErrorBodyAfter, _) => {
                self.serve(request).await?;
                error_answer(StatusCode::OK, "InternalError")
            }
            Fate::Hit(Fault::DropRequest, _) => return Err(Dropped),
            Fate::Hit(Fault::DropAnswer, _) => {
                self.serve(request).await?;
                return Err(Dropped);
            }
            Fate::Hit(Fault::Delay(time), _) => {
                tokio::time::sleep(time).await;
                self.serve(request).await?
            }
            Fate::Hit(Fault::Held, held) => {
                let server = self.clone();
                let done = async move {
                    tokio::select! {
                        () = server.stop.cancelled() => Err(Dropped),
                        () = held.cancelled() => server.serve(request).await,
                    }
                };
                self.tasks.spawn(done.with_subscriber(NoSubscriber::default())).await.unwrap_or(Err(Dropped))?
            }
        };
        Ok(match rate {
            None => response,
            Some(rate) => response.map(|body| slow(body, rate)),
        })
    }

    async fn serve(&self, request: Request<Body>) -> Result<HttpResponse, Dropped> {
        self.service.call(request).await.map_err(|_| Dropped)
    }
}

/// Reads a request to its end, as a server does that answers orderly, and refuses it.
async fn refuse(request: Request<Body>, status: StatusCode, code: &str) -> HttpResponse {
    let head = request.method() == hyper::Method::HEAD;
    let mut body = request.into_body().into_data_stream();
    while body.next().await.is_some_and(|chunk| chunk.is_ok()) {}
    let mut response = error_answer(status, code);
    if head {
        *response.body_mut() = Body::empty();
    }
    response
}

/// Lets a body through at this rate, in bytes a second.
fn slow(body: Body, rate: u64) -> Body {
    let chunks = body.into_data_stream().then(move |chunk| async move {
        if let Ok(bytes) = &chunk {
            tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / rate.max(1) as f64)).await;
        }
        chunk
    });
    Body::http_body_unsync(StreamBody::new(chunks.map_ok(Frame::data)))
}
