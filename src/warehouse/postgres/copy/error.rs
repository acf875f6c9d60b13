//! Why bytes are not what they should be: told without them.

/// Why one value was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum ValueError {
    /// The file's type has no such value.
    Unrepresentable(&'static str),
    /// The bytes are not what the type's are.
    Malformed(&'static str),
}

/// Why the stream could not be decoded. Holds no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum DecodeError {
    /// A value of the column at this place.
    #[error("column {column}: {reason:?}")]
    Value {
        /// The column's place in the scan.
        column: usize,
        /// Why.
        reason: ValueError,
    },
    /// The frame around the values.
    #[error("{0}")]
    Frame(&'static str),
}
