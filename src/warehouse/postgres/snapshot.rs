//! A moment of the warehouse that several connections read: one holds it open and exports it, the others import it.
//! It works on a standby too. Holding it holds back the server's cleaning, so it is never held longer than it is used.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::super::{HeldSnapshot, WarehouseError};
use super::error::Doing;
use super::sql::literal;
use super::wire::{Connection, WireError};

/// How long saying goodbye and asking for a sign of life may take.
const SHORT: Duration = Duration::from_secs(5);

/// An exported snapshot, and the connection whose transaction it is of.
pub(super) struct Holder {
    connection: Connection,
    token: String,
}

/// Keeps a connection, whose transaction has just begun, for nothing but holding the moment at which it reads.
pub(super) async fn hold(mut connection: Connection, limit: Duration) -> Result<Holder, WarehouseError> {
    let doing = Doing::now("exporting a snapshot");
    // A name is given again after a restart: with the server's start beside it it is never another's.
    let export = "SET idle_in_transaction_session_timeout = 0; \
                  SELECT pg_export_snapshot(), pg_postmaster_start_time()::text";
    let answer = match timeout(limit, connection.ask_inside(export)).await {
        Ok(answer) => answer.map_err(|error| doing.broken(&error))?,
        Err(_) => return Err(doing.timed_out()),
    };
    match answer.as_slice() {
        [Some(name), Some(started)] => Ok(Holder { token: format!("{name} {started}"), connection }),
        _ => Err(doing.broken(&WireError::Protocol("an answer about a snapshot that cannot be read"))),
    }
}

/// The statements that make a transaction that has just begun read a snapshot; they fail when it is not held any more,
/// or was of another server or of this one before it was started again.
pub(super) fn import(token: &str) -> String {
    let (name, started) = token.split_once(' ').unwrap_or((token, ""));
    format!(
        "SET TRANSACTION SNAPSHOT {}; SELECT 1 / (pg_postmaster_start_time()::text = {})::int",
        literal(name),
        literal(started)
    )
}

#[async_trait]
impl HeldSnapshot for Holder {
    fn token(&self) -> &str {
        &self.token
    }

    async fn is_held(&mut self) -> bool {
        matches!(timeout(SHORT, self.connection.ask_inside("SELECT 1")).await, Ok(Ok(_)))
    }

    async fn release(self: Box<Self>) {
        let _ = timeout(SHORT, self.connection.close()).await;
    }
}
