//! What an event says: its type, its status, and the fields of its body. docs/notifications.md explains them.
//!
//! The body is a function of the event, so that it is the same however often it is sent. Fields are added, never renamed.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{DayOf, DriftedColumn, Event, LateDay, Place};
use crate::error::Failure;
use crate::jobs::closing::{DayTable, EndedDay};
use crate::jobs::stalled::StalledJob;

/// What is stored of an event.
pub(super) struct Told {
    pub(super) once: Option<String>,
    pub(super) event_type: &'static str,
    pub(super) status: &'static str,
    pub(super) day: Option<DayOf>,
    pub(super) job: Option<Uuid>,
    pub(super) table: Option<String>,
    pub(super) body: Value,
}

const COMPLETED: &str = "COMPLETED";
const FAILED: &str = "FAILED";
const WARNING: &str = "WARNING";

pub(super) fn of(event: &Event) -> Told {
    match event {
        Event::DayEnded { day } => day_ended(day),
        Event::DayNotStarted { day } => day_not_started(day),
        Event::TableFailed { place, table, why } => failed("TABLE_FAILED", place, table, why),
        Event::GateFinding { place, table, why } => failed("GATE_FINDING", place, table, why),
        Event::ColumnDrift { job, table, columns } => Told {
            once: None,
            event_type: "COLUMN_DRIFT",
            status: WARNING,
            day: None,
            job: Some(job.0),
            table: Some(table.clone()),
            body: json!({
                "jobId": job.to_string(),
                "table": table,
                "columns": columns.iter().map(column).collect::<Vec<_>>(),
            }),
        },
        Event::RequestStalled { job, day } => stalled(job, day.as_ref()),
    }
}

fn day_ended(day: &EndedDay) -> Told {
    // A run that only did what had failed before takes nobody's place.
    let restated = day.tables.iter().any(|t| t.revision == day.revision && t.error.is_none() && t.supersedes.is_some());
    let event_type = match (restated, day.succeeded()) {
        (true, _) => "DAY_RESTATED",
        (false, true) => "DAY_COMPLETED",
        (false, false) => "DAY_COMPLETED_WITH_FAILURES",
    };
    let completed: Vec<&DayTable> = day.tables.iter().filter(|table| table.error.is_none()).collect();
    let mut body = json!({
        "schedule": day.schedule,
        "date": day.date,
        "revision": day.revision,
        "timeZone": day.time_zone,
        "windowStart": day.window.start,
        "windowEnd": day.window.end,
        "jobId": day.job.to_string(),
        "counts": {
            "completed": completed.len(),
            "failed": day.tables.len() - completed.len(),
            "missing": day.missing.len(),
            "skipped": day.skipped.len(),
            "rows": completed.iter().filter_map(|table| table.rows).sum::<i64>(),
            "bytes": completed.iter().filter_map(|table| table.bytes).sum::<i64>(),
        },
        "tables": day.tables.iter().map(day_table).collect::<Vec<_>>(),
        "missing": day.missing,
        "skipped": day.skipped.iter().map(|table| json!({
            "name": table.name, "error": {"code": table.code, "message": table.message},
        })).collect::<Vec<_>>(),
    });
    let fields = body.as_object_mut().expect("it is made as an object");
    put(fields, "rulesRevision", day.rules_revision);
    put(fields, "error", day.error.as_ref().map(|error| json!({"code": error.code, "message": error.message})));
    Told {
        once: Some(format!("day ended {}", day.job)),
        event_type,
        status: if day.succeeded() { COMPLETED } else { FAILED },
        day: Some(DayOf { schedule: day.schedule.clone(), export_date: day.date, revision: day.revision }),
        job: Some(day.job.0),
        table: None,
        body,
    }
}

fn day_table(table: &DayTable) -> Value {
    let mut fields = Map::new();
    put(&mut fields, "name", Some(&table.name));
    put(&mut fields, "status", Some(&table.status));
    put(&mut fields, "revision", Some(table.revision));
    put(&mut fields, "attempts", Some(table.attempts));
    put(&mut fields, "rows", table.rows);
    put(&mut fields, "bytes", table.bytes);
    put(&mut fields, "manifest", table.manifest.as_ref());
    put(&mut fields, "policyHash", table.policy_hash.as_ref());
    put(&mut fields, "unchangedSince", table.unchanged_since);
    let error = table.error.as_ref();
    put(&mut fields, "error", error.map(|error| json!({"code": error.code, "message": error.message})));
    put(
        &mut fields,
        "supersedes",
        table.supersedes.map(|before| json!({"revision": before.revision, "rows": before.rows, "bytes": before.bytes})),
    );
    Value::Object(fields)
}

fn day_not_started(day: &LateDay) -> Told {
    let mut body = json!({
        "schedule": day.schedule,
        "date": day.export_date,
        "fireAt": day.fire_at,
        "dueAt": day.since,
        "reason": if day.job_id.is_some() { "WAITING" } else { "MISSED" },
    });
    let fields = body.as_object_mut().expect("it is made as an object");
    put(fields, "jobId", day.job_id.map(|job| job.to_string()));
    Told {
        once: Some(format!("day not started {} {}", day.schedule, day.fire_at.timestamp_micros())),
        event_type: "DAY_NOT_STARTED",
        status: WARNING,
        day: Some(DayOf { schedule: day.schedule.clone(), export_date: day.export_date, revision: 1 }),
        job: day.job_id,
        table: None,
        body,
    }
}

fn failed(event_type: &'static str, place: &Place, table: &str, why: &Failure) -> Told {
    let mut fields = Map::new();
    put_day(&mut fields, place.day.as_ref());
    put(&mut fields, "jobId", Some(place.job.to_string()));
    put(&mut fields, "kind", Some(&place.kind));
    put(&mut fields, "tenant", Some(&place.tenant));
    put(&mut fields, "table", Some(table));
    put(&mut fields, "error", Some(json!({"code": why.code.as_str(), "message": why.message})));
    Told {
        once: None,
        event_type,
        status: FAILED,
        day: place.day.clone(),
        job: Some(place.job.0),
        table: Some(table.to_owned()),
        body: Value::Object(fields),
    }
}

fn column(column: &DriftedColumn) -> Value {
    let mut fields = Map::new();
    put(&mut fields, "name", Some(&column.name));
    put(&mut fields, "change", Some(column.change));
    put(&mut fields, "type", column.sql_type.as_ref());
    put(&mut fields, "previousType", column.previous_type.as_ref());
    put(&mut fields, "suggestion", Some(&column.suggestion));
    Value::Object(fields)
}

fn stalled(job: &StalledJob, day: Option<&DayOf>) -> Told {
    let mut fields = Map::new();
    put_day(&mut fields, day);
    put(&mut fields, "jobId", Some(job.id.to_string()));
    put(&mut fields, "kind", Some(&job.kind));
    put(&mut fields, "tenant", Some(&job.tenant));
    put(&mut fields, "state", Some(&job.state));
    put(&mut fields, "since", Some(job.since));
    put(&mut fields, "openTables", Some(&job.tables));
    put(&mut fields, "running", Some(job.running));
    put(&mut fields, "waiting", Some(job.waiting));
    put(&mut fields, "attempts", Some(job.attempts));
    put(&mut fields, "crashes", Some(job.crashes));
    let message = job.error_message.as_deref().unwrap_or_default();
    put(&mut fields, "error", job.error_code.as_ref().map(|code| json!({"code": code, "message": message})));
    Told {
        // What moves again and stands still later is another stall.
        once: Some(format!("stalled {} {}", job.id, job.since.timestamp_micros())),
        event_type: "REQUEST_STALLED",
        status: WARNING,
        day: day.cloned(),
        job: Some(job.id),
        table: None,
        body: Value::Object(fields),
    }
}

fn put_day(fields: &mut Map<String, Value>, day: Option<&DayOf>) {
    put(fields, "schedule", day.map(|day| &day.schedule));
    put(fields, "date", day.map(|day| day.export_date));
    put(fields, "revision", day.map(|day| day.revision));
}

/// Writes a field where there is something to write: no field is ever null.
fn put(fields: &mut Map<String, Value>, name: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), json!(value));
    }
}
