//! The warehouse: whether it answers, what its role may do, who else could read the connection, and how far behind it
//! is.

use std::time::Duration;

use super::Finding;
use crate::error::Failure;
use crate::warehouse::{Lag, Transport, Warehouse};

/// Asks the warehouse. A standby may be so far behind.
pub async fn warehouse(warehouse: &dyn Warehouse, most: Duration) -> Vec<Finding> {
    if let Err(error) = warehouse.check().await {
        return vec![Finding::of("warehouse", &Failure::from(error))];
    }
    let health = match warehouse.health().await {
        Ok(Some(health)) => health,
        Ok(None) => return vec![Finding::ok("warehouse", "it answers")],
        Err(error) => return vec![Finding::of("warehouse", &Failure::from(error))],
    };
    let mut findings = vec![Finding::ok("warehouse", format!("it answers: {}", health.version))];
    findings.push(if health.superuser {
        Finding::warn(
            "role",
            "the role of EXPORTER_WAREHOUSE_URL is a superuser; use one with SELECT on what is exported",
        )
    } else if health.writable_tables > 0 {
        Finding::warn(
            "role",
            format!(
                "the role of EXPORTER_WAREHOUSE_URL may write to {} tables; use one with SELECT alone",
                health.writable_tables
            ),
        )
    } else {
        Finding::ok("role", "it may read and not write")
    });
    findings.push(transport(health.transport));
    findings.push(lag(health.lag, most));
    findings
}

fn transport(transport: Transport) -> Finding {
    match transport {
        Transport::Local => Finding::ok("tls", "connections do not leave this machine"),
        Transport::Verified => Finding::ok("tls", "connections are encrypted, and the server is who it says"),
        Transport::Encrypted => Finding::warn(
            "tls",
            "connections are encrypted, for whoever answers: add sslmode=verify-full, and sslrootcert for an authority \
             of your own, to EXPORTER_WAREHOUSE_URL",
        ),
        Transport::Plain => Finding::warn(
            "tls",
            "connections are not encrypted: switch TLS on in the server and add sslmode=verify-full to \
             EXPORTER_WAREHOUSE_URL",
        ),
    }
}

fn lag(lag: Lag, most: Duration) -> Finding {
    match lag {
        Lag::None => Finding::ok("lag", "it is no standby"),
        Lag::Behind(lag) if lag > most => Finding::warn(
            "lag",
            format!(
                "the standby is {} s behind and exports wait until it is at most {} s: look at its replay and its \
                 connection to the primary, or raise EXPORTER_MAX_REPLICA_LAG_SECONDS",
                lag.as_secs(),
                most.as_secs()
            ),
        ),
        Lag::Behind(lag) => Finding::ok("lag", format!("the standby is {} s behind", lag.as_secs())),
        Lag::Unknown => Finding::warn(
            "lag",
            "the standby cannot tell how far behind it is, and exports wait: it has replayed no commit and is not \
             connected to its primary; look at its primary_conninfo and its log",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_is_wrong_says_what_to_do() {
        let most = Duration::from_secs(5);
        for (found, verdict, words) in [
            (lag(Lag::None, most), Verdict::Ok, "no standby"),
            (lag(Lag::Behind(most), most), Verdict::Ok, "5 s behind"),
            (lag(Lag::Behind(Duration::from_secs(6)), most), Verdict::Warn, "EXPORTER_MAX_REPLICA_LAG_SECONDS"),
            (lag(Lag::Unknown, most), Verdict::Warn, "primary_conninfo"),
            (transport(Transport::Local), Verdict::Ok, "this machine"),
            (transport(Transport::Verified), Verdict::Ok, "encrypted"),
            (transport(Transport::Encrypted), Verdict::Warn, "sslmode=verify-full"),
            (transport(Transport::Plain), Verdict::Warn, "not encrypted"),
        ] {
            assert!(found.verdict == verdict && found.message.contains(words), "{found:?}");
        }
    }
}
