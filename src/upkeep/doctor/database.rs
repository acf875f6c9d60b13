//! The metadata database: its clock, and the work that is in it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgPool;

use super::Finding;
use crate::jobs::{Requests, metadata_failure};

/// From here on a difference of clocks is worth a look, in seconds.
const SKEWED: f64 = 5.0;
/// From here on signatures of the object store are refused, or nearly so.
const TOO_SKEWED: f64 = 300.0;

/// How far this machine's clock is from the database's. Leases and schedules go by the database's alone; signatures and
/// tokens go by this one.
pub async fn clock(pool: &PgPool) -> Finding {
    let (asked, before) = (Instant::now(), SystemTime::now());
    let theirs: f64 = match sqlx::query_scalar(include_str!("../sql/clock.sql")).fetch_one(pool).await {
        Ok(theirs) => theirs,
        Err(error) => return Finding::of("clock", &metadata_failure(error)),
    };
    let half_way = asked.elapsed().as_secs_f64() / 2.0;
    let ours = before.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() + half_way;
    skew(ours - theirs)
}

fn skew(ahead: f64) -> Finding {
    let side = if ahead >= 0.0 { "ahead of" } else { "behind" };
    let found = format!("this machine is {:.1} s {side} the metadata database", ahead.abs());
    match ahead.abs() {
        far if far >= TOO_SKEWED => Finding::fail(
            "clock",
            format!("{found}; the object store refuses signatures that are minutes off: correct this machine's clock"),
        ),
        far if far >= SKEWED => Finding::warn(
            "clock",
            format!("{found}; leases do not depend on it, signatures and tokens do: synchronise both clocks"),
        ),
        _ => Finding::ok("clock", found),
    }
}

/// Slots, requests that wait, workers, and requests that are stuck.
pub async fn work(pool: &PgPool, slots: i32, stall: Duration) -> Vec<Finding> {
    let tenants: Result<Vec<(String, i64, i64)>, _> =
        sqlx::query_as(include_str!("../sql/slots.sql")).fetch_all(pool).await;
    let tenants = match tenants {
        Ok(tenants) => tenants,
        Err(error) => return vec![Finding::of("slots", &metadata_failure(error))],
    };
    let workers: i64 = sqlx::query_scalar(include_str!("../sql/workers.sql")).fetch_one(pool).await.unwrap_or_default();
    let waiting: i64 = tenants.iter().map(|(_, _, waiting)| waiting).sum();
    let active: i64 = tenants.iter().map(|(_, active, _)| active).sum();
    let full: Vec<&str> = tenants
        .iter()
        .filter(|(_, active, waiting)| *active >= i64::from(slots) && *waiting > 0)
        .map(|(tenant, ..)| tenant.as_str())
        .collect();
    let mut findings = Vec::new();
    let held = format!("{active} requests active, {waiting} waiting, {workers} workers hold work");
    findings.push(if full.is_empty() {
        Finding::ok("slots", format!("{held}; every tenant has a free slot of {slots}"))
    } else {
        Finding::warn(
            "slots",
            format!(
                "{held}; no slot of {slots} is free for tenant {}: look at what is stalled, or raise \
                 EXPORTER_MAX_ACTIVE_JOBS_PER_TENANT",
                full.join(", ")
            ),
        )
    });
    if waiting + active > 0 && workers == 0 {
        findings.push(Finding::warn(
            "workers",
            "there is work and nobody holds any of it; start a process with the role worker, or look into its log",
        ));
    }
    findings.push(match Requests::new(pool.clone()).stalled(None, stall).await {
        Ok(stuck) if stuck.is_empty() => Finding::ok("stalled", "nothing is stalled"),
        Ok(stuck) => {
            Finding::warn("stalled", format!("{} requests do not move; see `data-exporter stalled list`", stuck.len()))
        }
        Err(failure) => Finding::of("stalled", &failure),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_by_how_far() {
        for (ahead, verdict, words) in [
            (0.2, Verdict::Ok, "ahead of"),
            (-4.0, Verdict::Ok, "behind"),
            (-6.0, Verdict::Warn, "6.0 s behind"),
            (3_600.0, Verdict::Fail, "3600.0 s ahead"),
        ] {
            let found = skew(ahead);
            assert!(found.verdict == verdict && found.message.contains(words), "{ahead}: {found:?}");
        }
    }
}
