//! Measures one scan.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use classification::*;
use data_exporter::pipeline::encode::parquet::*;
use data_exporter::pipeline::encode::*;
use data_exporter::warehouse::postgres::*;
use data_exporter::warehouse::*;
use std::time::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async move {
        let w = std::sync::Arc::new(
            PostgresWarehouse::new(
                "postgres://postgres@127.0.0.1:55511/postgres".to_owned().into(),
                PostgresOptions::default(),
            )
            .unwrap(),
        );
        let table: TableName = args[1].parse().unwrap();
        let mode = args[2].clone();
        let parts: usize = args.get(3).map_or(1, |p| p.parse().unwrap());
        let shape = w.catalog(&[table.clone()]).await.unwrap().remove(0);
        let spec = ScanSpec {
            table,
            rows: Predicate::Always,
            slice: None,
            columns: shape
                .columns
                .iter()
                .map(|c| PolicyColumn {
                    name: c.catalog.name.clone(),
                    sql_type: c.catalog.sql_type.clone(),
                    cell: Predicate::Always,
                })
                .collect(),
        };
        println!("{:?}", w.estimate(&spec).await);
        let (t, c) = (Instant::now(), cpu());
        let mut tasks = Vec::new();
        for _ in 0..parts {
            let (w, spec, mode) = (w.clone(), spec.clone(), mode.clone());
            tasks.push(tokio::spawn(async move {
                let mut s = w
                    .scan(
                        &spec,
                        &ScanContext { application_name: "m".into(), first_row_timeout: Duration::from_secs(9) },
                    )
                    .await
                    .unwrap();
                let schema = s.schema();
                let (tx, mut rx) = tokio::sync::mpsc::channel::<arrow::record_batch::RecordBatch>(1);
                let enc = std::thread::spawn(move || {
                    if mode == "decode" {
                        let mut n = 0;
                        while let Some(b) = rx.blocking_recv() {
                            n += b.num_rows() as u64;
                        }
                        return (n, 0, 0, 0.0);
                    }
                    let mut o = ParquetOptions::default();
                    if mode == "snappy" {
                        o.compression = ParquetCompression::Snappy
                    }
                    let mut e = Box::new(ParquetEncoder::new(schema, o).unwrap());
                    let mut out = 0;
                    let mut peak = 0;
                    let mut groups = 0;
                    let mut busy = Duration::ZERO;
                    while let Some(b) = rx.blocking_recv() {
                        let t = Instant::now();
                        e.write(&b).unwrap();
                        busy += t.elapsed();
                        peak = peak.max(e.memory());
                        let d = e.drain();
                        groups += usize::from(!d.is_empty());
                        out += d.iter().map(|b| b.len()).sum::<usize>();
                    }
                    let tail = e.finish().unwrap();
                    println!("groups {groups} peak encoder {} MiB busy {busy:?}", peak >> 20);
                    (tail.rows, out + tail.bytes.iter().map(|b| b.len()).sum::<usize>(), groups, busy.as_secs_f64())
                });
                while let Some(b) = s.next().await.unwrap() {
                    if tx.send(b).await.is_err() {
                        break;
                    }
                }
                drop(tx);
                enc.join().unwrap()
            }));
        }
        let mut rows = 0;
        let mut bytes = 0;
        for task in tasks {
            let r = task.await.unwrap();
            rows += r.0;
            bytes += r.1;
        }
        let (wall, used) = (t.elapsed().as_secs_f64(), cpu() - c);
        let hwm = std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find(|l| l.starts_with("VmHWM"))
            .unwrap()
            .to_owned();
        println!(
            "{} {} rows {rows} out {} MiB wall {wall:.2} cpu {used:.2} krows/s {:.0} {hwm}",
            args[1],
            args[2],
            bytes >> 20,
            rows as f64 / wall / 1e3
        );
    });
}
