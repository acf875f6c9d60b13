//! One COPY from its connection to its end. A task of its own reads and decodes, so that encoding has another core;
//! it keeps one batch ready, and stops reading while nobody takes it.
//!
//! A connection that was not read to its end is never used again: its query is cancelled on the server and the
//! socket closed.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use classification::TableName;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use super::super::pace::Pace;
use super::super::{BatchStream, FidelityCount, HeldBack, WarehouseError};
use super::copy::{DecodeError, Decoder, Fidelity, ValueError};
use super::error::Doing;
use super::wire::{Broken, Canceller, Connection, Sink, Step, WireError};

/// How long ending a query or a connection may take before the socket is simply closed.
const GOODBYE: Duration = Duration::from_secs(5);

/// What the reading task says. The end is said, not inferred: a task that dies just falls silent.
enum Word {
    Batch(RecordBatch),
    End,
    Failed(WarehouseError),
}

/// The batches of one COPY.
pub(super) struct CopyStream {
    schema: SchemaRef,
    words: mpsc::Receiver<Word>,
    ended: bool,
    of_snapshot: bool,
    fidelity: Fidelity,
}

#[async_trait]
impl BatchStream for CopyStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, WarehouseError> {
        if self.ended {
            return Ok(None);
        }
        match self.words.recv().await {
            Some(Word::Batch(batch)) => Ok(Some(batch)),
            Some(Word::End) => {
                self.ended = true;
                Ok(None)
            }
            Some(Word::Failed(error)) => Err(error),
            None => Err(died()),
        }
    }

    fn is_of_snapshot(&self) -> bool {
        self.of_snapshot
    }

    fn fidelity(&self) -> Vec<FidelityCount> {
        self.fidelity.counts()
    }
}

/// The reading task ended without a word.
fn died() -> WarehouseError {
    WarehouseError::Unavailable { detail: "the reading task ended".to_owned() }
}

/// A COPY that is about to run.
pub(super) struct Reader {
    /// Its connection, in a transaction, used for nothing else.
    pub(super) connection: Connection,
    /// Whether that transaction reads a snapshot that others read too.
    pub(super) of_snapshot: bool,
    /// The table, for messages.
    pub(super) table: TableName,
    /// The columns' names, for messages.
    pub(super) columns: Vec<String>,
    /// What decodes it.
    pub(super) decoder: Decoder,
    /// How long the server may take to its first row, and later between two signs of life.
    pub(super) patience: Duration,
    /// What all scans of the process pay into.
    pub(super) pace: Arc<Pace>,
    /// Told while it waits for that.
    pub(super) held_back: HeldBack,
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
    /// With an error of the server, whose query ended with it.
    Refused(WarehouseError),
}

impl Reader {
    /// Starts the COPY of this query; returns when the server has accepted it.
    pub(super) async fn start(self, schema: SchemaRef, query: &str) -> Result<CopyStream, WarehouseError> {
        // One batch waits while the next is made and the last is encoded.
        let fidelity = Fidelity::new(&self.columns, &self.decoder);
        let of_snapshot = self.of_snapshot;
        let (sender, words) = mpsc::channel(1);
        let (accepted, answer) = oneshot::channel();
        let statement = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
        tokio::spawn(self.run(statement, accepted, sender).in_current_span());
        match answer.await {
            Ok(Ok(())) => Ok(CopyStream { schema, words, ended: false, of_snapshot, fidelity }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(died()),
        }
    }

    async fn run(
        mut self,
        statement: String,
        accepted: oneshot::Sender<Result<(), WarehouseError>>,
        words: mpsc::Sender<Word>,
    ) {
        let mut accepted = Some(accepted);
        let end = tokio::select! {
            end = self.read(&statement, &mut accepted, &words) => end,
            () = words.closed() => End::Abandoned,
        };
        let canceller = self.connection.canceller();
        let failed = match end {
            End::Complete => {
                let _ = words.send(Word::End).await;
                let _ = timeout(GOODBYE, self.connection.close()).await;
                drop(self.permit);
                return;
            }
            // The server first: whoever hears of the failure may try again, and the old query is told to stop.
            // Closing alone would end it only at its next write.
            End::Abandoned => {
                cancel(&canceller, &self.table).await;
                None
            }
            End::Failed(error) => {
                cancel(&canceller, &self.table).await;
                Some(error)
            }
            End::Refused(error) => Some(error),
        };
        drop(self.connection);
        if let Some(error) = failed {
            match accepted.take() {
                Some(accepted) => drop(accepted.send(Err(error))),
                None => drop(words.send(Word::Failed(error)).await),
            }
        }
        drop(self.permit);
    }

    async fn read(
        &mut self,
        statement: &str,
        accepted: &mut Option<oneshot::Sender<Result<(), WarehouseError>>>,
        words: &mpsc::Sender<Word>,
    ) -> End {
        let doing = Doing::with("reading", &self.table);
        let fault = Fault { table: &self.table, columns: &self.columns };
        let failed = |error: WireError| match error {
            WireError::Server { .. } => End::Refused(doing.broken(&error)),
            _ => End::Failed(doing.broken(&error)),
        };
        // What scans before this one have not paid yet.
        self.pace.pay(0, 0, &self.held_back).await;
        let mut quiet_until = Instant::now() + self.patience;
        let (mut bytes, mut rows_paid) = (0, 0);
        let mut copy = match timeout_at(quiet_until, self.connection.copy(statement)).await {
            Ok(Ok(copy)) => copy,
            Ok(Err(error)) => return failed(error),
            Err(_) => return End::Failed(doing.timed_out()),
        };
        loop {
            let step = match self.connection.advance(&mut copy, &mut self.decoder) {
                Ok(step) => step,
                Err(Broken::Wire(error)) => return failed(error),
                Err(Broken::Sink(error)) => return End::Failed(fault.of(error)),
            };
            if copy.has_begun()
                && let Some(accepted) = accepted.take()
            {
                let _ = accepted.send(Ok(()));
            }
            if step == Step::More {
                // A stream that moves is alive, however slow it is. Waiting for our own limit is not its silence.
                if copy.is_moving() {
                    let rows = self.decoder.read;
                    self.pace.pay(rows - rows_paid, std::mem::take(&mut bytes), &self.held_back).await;
                    rows_paid = rows;
                    quiet_until = Instant::now() + self.patience;
                }
                match timeout_at(quiet_until, self.connection.fill()).await {
                    Ok(Ok(read)) => {
                        bytes += read;
                        continue;
                    }
                    Ok(Err(error)) => return failed(error),
                    Err(_) => return End::Failed(doing.timed_out()),
                }
            }
            if let Step::End(sent) = step
                && let Err(error) = self.decoder.finish(sent)
            {
                return End::Failed(fault.of(error));
            }
            if matches!(step, Step::End(_)) {
                // Nothing is left to wait for; the next scan waits for what this one has not paid yet.
                self.pace.owe(self.decoder.read - rows_paid, bytes);
            }
            match self.decoder.take() {
                Ok(Some(batch)) => {
                    if words.send(Word::Batch(batch)).await.is_err() {
                        return End::Abandoned;
                    }
                }
                Ok(None) => {}
                Err(error) => return End::Failed(fault.of(error)),
            }
            if matches!(step, Step::End(_)) {
                return End::Complete;
            }
        }
    }
}

/// Ends the query on the server.
async fn cancel(canceller: &Canceller, table: &TableName) {
    match timeout(GOODBYE, canceller.cancel()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = Doing::now("cancelling a query").broken(&error);
            tracing::warn!(%table, %error, "could not cancel a query of the warehouse");
        }
        Err(_) => tracing::warn!(%table, "could not cancel a query of the warehouse in time"),
    }
}

impl Sink for Decoder {
    type Error = DecodeError;

    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        Decoder::push(self, bytes)
    }

    #[inline]
    fn is_full(&self) -> bool {
        Decoder::is_full(self)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::super::copy::BatchLimits;
    use super::*;

    #[tokio::test]
    async fn silence_is_not_an_end() {
        for (word, ends) in [(None, false), (Some(Word::End), true)] {
            let (sender, words) = mpsc::channel(1);
            if let Some(word) = word {
                assert!(sender.try_send(word).is_ok());
            }
            // As a task that panics or is shut down with its runtime drops it.
            drop(sender);
            let schema = Arc::new(Schema::empty());
            let decoder = Decoder::new(Arc::clone(&schema), &[], BatchLimits::default());
            let fidelity = Fidelity::new(&[], &decoder);
            let mut stream = CopyStream { schema, words, ended: false, of_snapshot: false, fidelity };
            for _ in 0..2 {
                assert_eq!(matches!(stream.next().await, Ok(None)), ends);
            }
        }
    }
}
