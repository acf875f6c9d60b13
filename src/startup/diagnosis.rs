//! Wiring for `data-exporter doctor`: every part that the settings name, each asked although another does not answer.

use super::{check_migrated, connect_metadata, missing, store, telling, warehouse};
use crate::config::Settings;
use crate::upkeep::doctor::{self, Finding};

/// Asks every part that the settings name how it is, each although another does not answer. Changes nothing but an object
/// of its own, which it removes.
pub async fn diagnose(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("settings", "they can be read")];
    findings.extend(diagnose_database(settings).await);
    match warehouse(settings) {
        Ok(warehouse) => findings.extend(doctor::warehouse(&warehouse, settings.max_replica_lag).await),
        Err(failure) => findings.push(Finding::of("warehouse", &failure)),
    }
    match store(settings).await {
        Ok(store) => findings.extend(doctor::bucket(&store, &settings.env).await),
        Err(failure) => findings.push(Finding::of("bucket", &failure)),
    }
    findings.push(match telling::sns(settings).await {
        Ok(Some(topic)) => doctor::notifications(Some(topic.check().await)),
        Ok(None) => doctor::notifications(None),
        Err(failure) => Finding::of("notifications", &failure),
    });
    findings
}

async fn diagnose_database(settings: &Settings) -> Vec<Finding> {
    let Some(url) = &settings.database_url else { return vec![Finding::of("database", &missing("DATABASE_URL"))] };
    let (pool, _) = match connect_metadata(url).await {
        Ok(connected) => connected,
        Err(failure) => return vec![Finding::of("database", &failure)],
    };
    let mut findings = vec![Finding::ok("database", "it answers"), doctor::clock(&pool).await];
    match check_migrated(&pool).await {
        Ok(()) => {
            findings.push(Finding::ok("migrations", "it is up to date"));
            let slots = settings.max_active_jobs_per_tenant;
            findings.extend(doctor::work(&pool, slots, settings.stall).await);
            findings.push(doctor::given_up(&pool).await);
        }
        Err(failure) => findings.push(Finding::of("migrations", &failure)),
    }
    pool.close().await;
    findings
}
