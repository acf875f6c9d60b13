//! The warehouse: whether it answers, what its role may do, and how far behind it is.

use std::time::Duration;

use super::Finding;
use crate::error::Failure;
use crate::warehouse::Warehouse;

/// A standby that is further behind is worth a look.
const LAGGING: Duration = Duration::from_secs(60);

/// Asks the warehouse.
pub async fn warehouse(warehouse: &dyn Warehouse) -> Vec<Finding> {
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
    findings.push(match health.lag {
        None => Finding::ok("lag", "it is no standby"),
        Some(lag) if lag > LAGGING => Finding::warn(
            "lag",
            format!("the standby is {} s behind; rows of the last minutes may be missing from exports", lag.as_secs()),
        ),
        Some(lag) => Finding::ok("lag", format!("the standby is {} s behind", lag.as_secs())),
    });
    findings
}
