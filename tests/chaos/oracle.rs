//! Every row of every export, compared with the warehouse: what manifests list is fetched, hashed and read.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use data_exporter::pipeline::Manifest;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::stage::{Mark, Stage, TABLES};
use crate::support::s3;
use crate::table::Row;

/// What a row holds beside its id.
type Cells = (i64, u64);

/// The warehouse's rows, by table; an id is its place.
#[derive(Debug)]
pub(crate) struct Oracle {
    rows: HashMap<&'static str, Vec<Cells>>,
}

/// What was found of some exports.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    rows: usize,
    lost: usize,
    doubled: usize,
    foreign: usize,
    /// Files that are not what their manifest says.
    broken: usize,
    /// Manifests of tables that are not complete.
    unfounded: usize,
    tables: usize,
}

impl Oracle {
    pub(crate) async fn of(stage: &Stage) -> Self {
        let mut rows = HashMap::new();
        for table in TABLES {
            let sql = format!("SELECT id, a, c FROM {table} ORDER BY id");
            let found: Vec<(i64, i64, f64)> =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&stage.warehouse).await.unwrap();
            assert!(found.iter().enumerate().all(|(place, row)| row.0 == place as i64));
            rows.insert(table, found.into_iter().map(|(_, a, c)| (a, c.to_bits())).collect());
        }
        Self { rows }
    }

    /// Waits for the end of every job since a mark, looks at all of them, and says so in a row. Returns the jobs that
    /// ended otherwise than complete.
    pub(crate) async fn account(&self, stage: &Stage, mark: Mark, row: &mut Row) -> Vec<(Uuid, String)> {
        let stuck = stage.settled(std::time::Duration::from_secs(180)).await;
        let jobs: Vec<(Uuid, String)> = stage
            .all(&format!(
                "SELECT id, state FROM export_jobs WHERE queued_at >= '{}' ORDER BY id",
                mark.at.to_rfc3339()
            ))
            .await;
        let mut tally = Tally::default();
        for (job, _) in &jobs {
            self.look_at(stage, *job, &mut tally).await;
        }
        // An object of an epoch that was overtaken is the work of somebody who had lost the lease.
        let stale: i64 = stage
            .one(
                "SELECT count(*) FROM export_job_partitions WHERE state = 'COMPLETED'
                 AND staging_key NOT LIKE '%/' || id || '-e' || lease_epoch || '-%'",
            )
            .await;
        let twice: i64 = stage
            .one(
                "SELECT count(*) FROM (SELECT 1 FROM chaos.moves WHERE after = 'COMPLETED' AND before <> 'COMPLETED'
                                       GROUP BY kind, item HAVING count(*) > 1) AS twice",
            )
            .await;
        let wrong_counts: i64 = stage
            .one(
                "SELECT count(*) FROM export_job_tables AS t
                 WHERE partitions_done <> (SELECT count(*) FROM export_job_partitions AS p WHERE p.job_id = t.job_id
                                           AND p.table_name = t.table_name AND p.state = 'COMPLETED')",
            )
            .await;
        let slots: i64 = stage.one("SELECT count(*) FROM export_jobs WHERE slot IS NOT NULL").await;
        row.note("requests, tables, rows compared", format!("{}, {}, {}", jobs.len(), tally.tables, tally.rows));
        row.nothing(&[
            ("rows lost", tally.lost),
            ("doubled", tally.doubled),
            ("foreign", tally.foreign),
            ("files not as listed", tally.broken),
            ("manifests of unfinished tables", tally.unfounded),
            ("stale commits", usize::try_from(stale + twice + wrong_counts).unwrap()),
            ("jobs stuck", stuck),
            ("slots not freed", usize::try_from(slots).unwrap()),
        ]);
        self.ended_otherwise(stage, mark, row).await;
        jobs.into_iter().filter(|(_, state)| state != "COMPLETED").collect()
    }

    /// What failed or did not end, and what is said of it, for whoever looks after a missed bar.
    async fn ended_otherwise(&self, stage: &Stage, mark: Mark, row: &mut Row) {
        let found: Vec<(String,)> = stage
            .all(&format!(
                "SELECT concat_ws(' ', job.id, job.state, job.error_code, job.error_message, part.table_name, part.state,
                                  part.error_code, part.error_message)
                 FROM export_jobs AS job
                 LEFT JOIN export_job_tables AS part ON part.job_id = job.id AND part.state <> 'COMPLETED'
                 WHERE job.queued_at >= '{}' AND job.state NOT IN ('COMPLETED', 'CANCELLED') ORDER BY job.id",
                mark.at.to_rfc3339()
            ))
            .await;
        found.into_iter().for_each(|(what,)| row.saw(what));
    }

    async fn look_at(&self, stage: &Stage, job: Uuid, tally: &mut Tally) {
        let tables: Vec<(String, String, Option<String>)> = stage
            .all(&format!("SELECT table_name, state, directory FROM export_job_tables WHERE job_id = '{job}'"))
            .await;
        for (table, state, directory) in tables {
            let Some(directory) = directory else { continue };
            match (fetch(stage, &format!("{directory}/manifest")).await, state.as_str()) {
                (Some(manifest), "COMPLETED") => {
                    tally.tables += 1;
                    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
                    self.compare(stage, &table, &manifest, tally).await;
                }
                (None, "COMPLETED") => tally.lost += self.rows[table.as_str()].len(),
                (Some(_), _) => tally.unfounded += 1,
                (None, _) => {}
            }
        }
    }

    async fn compare(&self, stage: &Stage, table: &str, manifest: &Manifest, tally: &mut Tally) {
        let expected = &self.rows[table];
        let mut seen = vec![0_u32; expected.len()];
        for entry in &manifest.entries {
            let key = entry.url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap().1;
            let Some(file) = fetch(stage, key).await else {
                tally.broken += 1;
                continue;
            };
            let hash: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
            let mut rows = 0;
            for batch in ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                rows += batch.num_rows();
                let column = |name| batch.column_by_name(name).unwrap();
                let (ids, a) = (column("id").as_primitive::<Int64Type>(), column("a").as_primitive::<Int64Type>());
                let c = column("c").as_primitive::<Float64Type>();
                for i in 0..batch.num_rows() {
                    let found = (a.value(i), c.value(i).to_bits());
                    let place = usize::try_from(ids.value(i)).unwrap();
                    match expected.get(place) {
                        Some(cells) if *cells == found => seen[place] += 1,
                        _ => tally.foreign += 1,
                    }
                }
            }
            let meta = &entry.meta;
            let as_listed =
                hash == entry.sha256 && meta.content_length == file.len() as i64 && meta.record_count == rows as i64;
            tally.broken += usize::from(!as_listed);
            tally.rows += rows;
        }
        tally.lost += seen.iter().filter(|times| **times == 0).count();
        tally.doubled += seen.iter().filter(|times| **times > 1).count();
    }
}

/// An object, or `None` where there is none.
pub(crate) async fn fetch(stage: &Stage, key: &str) -> Option<bytes::Bytes> {
    let client = s3::bare_client(&stage.store.endpoint);
    match client.get_object().bucket(s3::BUCKET).key(key).send().await {
        Ok(object) => Some(object.body.collect().await.unwrap().into_bytes()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => None,
        Err(error) => panic!("{key}: {error:?}"),
    }
}
