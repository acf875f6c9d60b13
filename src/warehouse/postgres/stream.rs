//! One COPY from its connection to its end. A task of its own reads and decodes, so that encoding has another core;
//! it keeps one batch ready, and stops reading while nobody takes it.
//!
//! A connection that was not read to its end is never used again: its query is cancelled on the server and the
//! socket closed.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use classification::TableName;
use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, PgPool};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tracing::Instrument;

use super::super::{BatchStream, WarehouseError};
use super::copy::{DecodeError, Decoder, ValueError};
use super::error::Doing;

/// How long ending a query or a connection may take before the socket is simply closed.
const GOODBYE: Duration = Duration::from_secs(5);

/// The batches of one COPY.
pub(super) struct CopyStream {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, WarehouseError>>,
}

#[async_trait]
impl BatchStream for CopyStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, WarehouseError> {
        match self.batches.recv().await {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }
}

/// A COPY that is about to run.
pub(super) struct Reader {
    /// Its connection, in a transaction, used for nothing else.
    pub(super) connection: PgConnection,
    /// The server's process behind it.
    pub(super) process: i32,
    /// From where that process can be told to stop.
    pub(super) pool: PgPool,
    /// The table, for messages.
    pub(super) table: TableName,
    /// The columns' names, for messages.
    pub(super) columns: Vec<String>,
    /// What decodes it.
    pub(super) decoder: Decoder,
    /// How long the server may take to its first row, and later between two signs of life.
    pub(super) patience: Duration,
    /// Counts this connection among those that may be open at once.
    pub(super) permit: OwnedSemaphorePermit,
}

/// How reading ended.
enum End {
    /// With the trailer and the server's word.
    Complete,
    /// Nobody wants more.
    Abandoned,
    /// With an error.
    Failed(WarehouseError),
}

impl Reader {
    /// Starts the COPY of this query; returns when the server has accepted it.
    pub(super) async fn start(self, schema: SchemaRef, query: &str) -> Result<CopyStream, WarehouseError> {
        // One batch waits while the next is made and the last is encoded.
        let (sender, batches) = mpsc::channel(1);
        let (accepted, answer) = oneshot::channel();
        let statement = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
        tokio::spawn(self.run(statement, accepted, sender).in_current_span());
        match answer.await {
            Ok(Ok(())) => Ok(CopyStream { schema, batches }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(WarehouseError::Unavailable { detail: "the reading task ended".to_owned() }),
        }
    }

    async fn run(
        mut self,
        statement: String,
        accepted: oneshot::Sender<Result<(), WarehouseError>>,
        batches: mpsc::Sender<Result<RecordBatch, WarehouseError>>,
    ) {
        let mut accepted = Some(accepted);
        let end = tokio::select! {
            end = self.read(&statement, &mut accepted, &batches) => end,
            () = batches.closed() => End::Abandoned,
        };
        match end {
            End::Complete => {
                drop(batches);
                let _ = timeout(GOODBYE, self.connection.close()).await;
            }
            End::Abandoned => self.cancel().await,
            End::Failed(error) => {
                // The server first: whoever hears of the failure may try again, and the old query is told to stop.
                self.cancel().await;
                match accepted.take() {
                    Some(accepted) => drop(accepted.send(Err(error))),
                    None => drop(batches.send(Err(error)).await),
                }
            }
        }
        drop(self.permit);
    }

    async fn read(
        &mut self,
        statement: &str,
        accepted: &mut Option<oneshot::Sender<Result<(), WarehouseError>>>,
        batches: &mpsc::Sender<Result<RecordBatch, WarehouseError>>,
    ) -> End {
        let doing = Doing::with("reading", &self.table);
        let fault = Fault { table: &self.table, columns: &self.columns };
        let first_row = tokio::time::Instant::now() + self.patience;
        let mut chunks = match timeout(self.patience, self.connection.copy_out_raw(statement)).await {
            Ok(Ok(chunks)) => chunks,
            Ok(Err(error)) => return End::Failed(doing.failed(&error)),
            Err(_) => return End::Failed(doing.timed_out()),
        };
        if let Some(accepted) = accepted.take() {
            let _ = accepted.send(Ok(()));
        }
        let mut seen = 0;
        loop {
            let mut pieces = seen;
            let filling = poll_fn(|context| fill(&mut chunks, &mut self.decoder, &mut pieces, context));
            let left = if seen == 0 { first_row - tokio::time::Instant::now() } else { self.patience };
            let more = match timeout(left, filling).await {
                Ok(Ok(more)) => more,
                Ok(Err(Broken::Server(error))) => return End::Failed(doing.failed(&error)),
                Ok(Err(Broken::Content(error))) => return End::Failed(fault.of(error)),
                // Slow, but alive.
                Err(_) if pieces > seen => {
                    seen = pieces;
                    continue;
                }
                Err(_) => return End::Failed(doing.timed_out()),
            };
            seen = pieces;
            if !more && let Err(error) = self.decoder.finish() {
                return End::Failed(fault.of(error));
            }
            match self.decoder.take() {
                Ok(Some(batch)) => {
                    if batches.send(Ok(batch)).await.is_err() {
                        return End::Abandoned;
                    }
                }
                Ok(None) => {}
                Err(error) => return End::Failed(fault.of(error)),
            }
            if !more {
                return End::Complete;
            }
        }
    }

    /// Ends the query on the server, then the connection. Closing alone would end it only at its next write.
    async fn cancel(&mut self) {
        let cancelling = sqlx::query("SELECT pg_catalog.pg_cancel_backend($1)").bind(self.process).execute(&self.pool);
        match timeout(GOODBYE, cancelling).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let error = Doing::now("cancelling a query").failed(&error);
                tracing::warn!(table = %self.table, %error, "could not cancel a query of the warehouse");
            }
            Err(_) => tracing::warn!(table = %self.table, "could not cancel a query of the warehouse in time"),
        }
    }
}

/// What stops a stream.
enum Broken {
    Server(sqlx::Error),
    Content(DecodeError),
}

/// Decodes what is there until a batch is full (`true`) or the stream at its end (`false`). Without an `await` for
/// each row: the socket itself yields to other tasks every now and then.
fn fill(
    chunks: &mut BoxStream<'_, Result<Bytes, sqlx::Error>>,
    decoder: &mut Decoder,
    pieces: &mut u64,
    context: &mut Context<'_>,
) -> Poll<Result<bool, Broken>> {
    loop {
        match chunks.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                *pieces += 1;
                if let Err(error) = decoder.push(&chunk) {
                    return Poll::Ready(Err(Broken::Content(error)));
                }
                if decoder.is_full() {
                    return Poll::Ready(Ok(true));
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::Server(error))),
            Poll::Ready(None) => return Poll::Ready(Ok(false)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Puts names to what the decoder only knows by number.
struct Fault<'a> {
    table: &'a TableName,
    columns: &'a [String],
}

impl Fault<'_> {
    fn of(&self, error: DecodeError) -> WarehouseError {
        let table = self.table;
        match error {
            DecodeError::Frame(what) => WarehouseError::Protocol { detail: format!("{what}, while reading '{table}'") },
            DecodeError::Value { column, reason } => {
                let column = self.columns.get(column).cloned().unwrap_or_default();
                match reason {
                    ValueError::Unrepresentable(reason) => {
                        WarehouseError::ValueUnrepresentable { table: table.clone(), column, reason: reason.to_owned() }
                    }
                    ValueError::Malformed(what) => {
                        WarehouseError::Protocol { detail: format!("{what}, in column '{column}' of '{table}'") }
                    }
                }
            }
        }
    }
}
