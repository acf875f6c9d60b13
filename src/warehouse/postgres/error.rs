//! From errors of sqlx and of the wire to ours. The server's own text is never passed on: it may quote a value. What is said is the
//! SQLSTATE, the kind of fault and what was being done.

use std::time::Instant;

use classification::TableName;

use super::super::WarehouseError;
use super::wire::WireError;

/// What was being done when something failed.
#[derive(Debug, Clone)]
pub(super) struct Doing {
    what: String,
    table: Option<TableName>,
    since: Instant,
}

impl Doing {
    /// Something that concerns no single table, such as `connecting`.
    pub(super) fn now(what: &str) -> Self {
        Self { what: what.to_owned(), table: None, since: Instant::now() }
    }

    /// Something done to a table, such as `reading`.
    pub(super) fn with(what: &str, table: &TableName) -> Self {
        Self { what: format!("{what} table '{table}'"), table: Some(table.clone()), since: Instant::now() }
    }

    /// It took longer than it may.
    pub(super) fn timed_out(&self) -> WarehouseError {
        WarehouseError::Timeout { seconds: self.since.elapsed().as_secs(), doing: self.what.clone() }
    }

    /// What sqlx found.
    pub(super) fn failed(&self, error: &sqlx::Error) -> WarehouseError {
        let unavailable = |fault: &str| WarehouseError::Unavailable { detail: format!("{fault} while {}", self.what) };
        match error {
            sqlx::Error::Database(error) => self.refused(error.code().as_deref().unwrap_or("without SQLSTATE")),
            sqlx::Error::Io(error) => unavailable(&error.kind().to_string()),
            sqlx::Error::Tls(_) => unavailable("TLS failed"),
            // Also a balancer that takes a connection and hangs up: to the driver, a wrong answer to the question for TLS.
            sqlx::Error::Protocol(_) => unavailable("the connection broke off"),
            // The pool also tries a refused connection again until its time is up.
            sqlx::Error::PoolTimedOut => unavailable("no connection in time"),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => unavailable("the connection pool is closed"),
            sqlx::Error::Configuration(_) => WarehouseError::Denied { detail: "the address cannot be used".to_owned() },
            _ => WarehouseError::Protocol { detail: format!("an unexpected answer while {}", self.what) },
        }
    }

    /// What came over the wire of a scan, or did not.
    pub(super) fn broken(&self, error: &WireError) -> WarehouseError {
        let unavailable = |fault: &str| WarehouseError::Unavailable { detail: format!("{fault} while {}", self.what) };
        match error {
            WireError::Server { state } => self.refused(state),
            WireError::Io(error) => unavailable(&error.kind().to_string()),
            WireError::Closed => unavailable("the connection ended"),
            WireError::Tls(_) => unavailable(&error.to_string()),
            WireError::Login(detail) => WarehouseError::Denied { detail: (*detail).to_owned() },
            WireError::Protocol(what) => WarehouseError::Protocol { detail: format!("{what}, while {}", self.what) },
        }
    }

    /// What the server said, by SQLSTATE.
    fn refused(&self, state: &str) -> WarehouseError {
        let detail = format!("SQLSTATE {state} while {}", self.what);
        match (state, &self.table) {
            ("42P01" | "3F000", Some(table)) => WarehouseError::TableNotFound { table: table.clone() },
            // Between looking at the catalog and reading; the names that moved are in the next plan.
            ("42703" | "42804" | "42883" | "0A000", Some(table)) => WarehouseError::SchemaChanged {
                table: table.clone(),
                column: "(one of the plan)".to_owned(),
                planned: "present".to_owned(),
                found: format!("missing or different (SQLSTATE {state})"),
            },
            ("57014", _) => self.timed_out(),
            // A scan writes nothing, so nobody but a standby's replay can be in its way like this.
            ("40001", _) => WarehouseError::Conflict { doing: self.what.clone() },
            ("42501" | "3D000" | "25006", _) => WarehouseError::Denied { detail },
            _ if state.starts_with("28") => WarehouseError::Denied { detail },
            // 40: rolled back; 53, 57P, 58: out of something, going
            // down, the system beneath; 55: locked.
            _ if ["08", "40", "53", "55", "57P", "58"].iter().any(|class| state.starts_with(class)) => {
                WarehouseError::Unavailable { detail }
            }
            _ => WarehouseError::Protocol { detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn each_state_has_its_code() {
        let table: TableName = "ops.way".parse().unwrap();
        for (state, code) in [
            ("28P01", ErrorCode::WarehouseDenied),
            ("28000", ErrorCode::WarehouseDenied),
            ("42501", ErrorCode::WarehouseDenied),
            ("3D000", ErrorCode::WarehouseDenied),
            ("57014", ErrorCode::WarehouseTimeout),
            ("57P01", ErrorCode::WarehouseUnavailable),
            ("57P03", ErrorCode::WarehouseUnavailable),
            ("53300", ErrorCode::WarehouseUnavailable),
            ("08006", ErrorCode::WarehouseUnavailable),
            ("40001", ErrorCode::RecoveryConflict),
            ("40P01", ErrorCode::WarehouseUnavailable),
            ("42P01", ErrorCode::TableNotFound),
            ("42703", ErrorCode::SchemaChanged),
            ("22012", ErrorCode::WarehouseProtocol),
        ] {
            assert_eq!(Doing::with("reading", &table).refused(state).code(), code, "{state}");
        }
    }

    #[test]
    fn the_message_says_what_was_done_to_which_table() {
        let table: TableName = "ops.way".parse().unwrap();
        let message = Doing::with("reading", &table).refused("53300").to_string();
        assert!(message.contains("SQLSTATE 53300 while reading table 'ops.way'"), "{message}");
        let io = sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "secret"));
        let message = Doing::now("connecting").failed(&io).to_string();
        assert!(message.contains("connection refused while connecting") && !message.contains("secret"), "{message}");
        let hung_up = Doing::now("connecting").failed(&sqlx::Error::Protocol("secret".to_owned()));
        assert_eq!(hung_up.code(), ErrorCode::WarehouseUnavailable);
        assert!(!hung_up.to_string().contains("secret"), "{hung_up}");
    }
}
