//! What the outside is told when the metadata database fails.

use crate::error::{ErrorCode, Failure};

/// What the outside is told when the metadata database fails; the cause goes to the log here, once.
pub(crate) fn metadata_failure(error: sqlx::Error) -> Failure {
    let state = match &error {
        sqlx::Error::Database(database) => database.code().map(|code| code.into_owned()),
        _ => None,
    };
    // The text of a database error can hold values of the statement; its SQLSTATE cannot.
    match &state {
        Some(state) => tracing::error!(sqlstate = %state, "metadata database refused a statement"),
        None => tracing::error!(kind = %transport_kind(&error), "metadata database cannot be used"),
    }
    let message = match state.as_deref() {
        Some("53100") => "the metadata database's disk is full; nothing was stored. Free space and try again",
        _ => "the metadata database cannot be used now; nothing was stored. Try again",
    };
    Failure::new(ErrorCode::MetadataUnavailable, message)
}

fn transport_kind(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(io) => io.kind().to_string(),
        sqlx::Error::PoolTimedOut => "no free connection".to_owned(),
        sqlx::Error::RowNotFound => "row not found".to_owned(),
        sqlx::Error::ColumnDecode { index, .. } => format!("column {index} cannot be decoded"),
        sqlx::Error::ColumnNotFound(name) => format!("column {name} is missing"),
        _ => "connection failed".to_owned(),
    }
}
