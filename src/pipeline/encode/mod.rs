//! From record batches to the bytes of a file, handed out as they become final, so that an upload can run beside.
//!
//! An encoder never sees a store and never decides what is in a file; it holds at most a row group.

pub mod footer;
mod form;
pub mod geo;
pub mod parquet;
mod pieces;
pub mod text;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

pub use self::form::encoder;
use crate::error::{ErrorCode, Failure};

/// Why a file could not be written or read. Messages never hold cell values.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The format's writer refused. Its own words stay in the source, for the log.
    #[error("the {format} writer failed while {doing}")]
    Writer {
        /// The format.
        format: &'static str,
        /// What it was asked to do.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The format has no form for a type.
    #[error("column '{column}' is {data_type} in Arrow, which has no form in a file of lines; export it as Parquet")]
    Type {
        /// The column.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// The bytes are not the end of a Parquet file that is intact.
    #[error("not the end of an intact Parquet file: {reason}")]
    Footer {
        /// What is wrong.
        reason: &'static str,
    },
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        let code = match error {
            EncodeError::Writer { .. } => ErrorCode::Internal,
            EncodeError::Type { .. } => ErrorCode::TypeUnsupported,
            EncodeError::Footer { .. } => ErrorCode::GateRefused,
        };
        Failure::new(code, error.to_string())
    }
}

/// A writer's refusal while `doing` something.
fn failed<E: std::error::Error + Send + Sync + 'static>(
    format: &'static str,
    doing: &'static str,
) -> impl Fn(E) -> EncodeError {
    move |error| EncodeError::Writer { format, doing, source: Box::new(error) }
}

/// The end of a file.
#[derive(Debug, Clone)]
pub struct EncodedTail {
    /// The last bytes, in order, after everything that was drained before.
    pub bytes: Vec<Bytes>,
    /// Rows in the whole file.
    pub rows: u64,
    /// Bytes in the whole file.
    pub size: u64,
}

/// Writes one file.
pub trait Encoder: Send {
    /// Adds the rows of a batch, which has the schema that the encoder was made for. Blocks for as long as encoding
    /// takes: not for a reactor's thread.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError>;

    /// Bytes that are final, in order, each once; often none.
    fn drain(&mut self) -> Vec<Bytes>;

    /// Rows so far.
    fn rows(&self) -> u64;

    /// An estimate of the memory it holds, in bytes.
    fn memory(&self) -> usize;

    /// Ends the file. A file without rows is whole too.
    fn finish(self: Box<Self>) -> Result<EncodedTail, EncodeError>;
}
