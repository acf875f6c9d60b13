//! `verify`: an export that is as it was passes, and whatever is done to it is found and named, in each format and
//! wherever it lies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_exporter::jobs::{Compression, ExportFormat, FileChoice, JobState};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::storage::ObjectStore;
use data_exporter::verify::place::{BucketPlace, FolderPlace, LinkPlace};
use data_exporter::verify::{Report, Verdict, verify};
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, bare_program};
use crate::support::s3;

const FORMS: [(ExportFormat, Compression); 4] = [
    (ExportFormat::Parquet, Compression::Zstd),
    (ExportFormat::Csv, Compression::Gzip),
    (ExportFormat::Jsonl, Compression::Zstd),
    (ExportFormat::Csv, Compression::None),
];

/// A platform whose `vms` has texts that are not searched and hold personal data.
async fn platform(name: &str) -> Platform {
    let platform = Platform::sample(name, 4_000).await;
    let exempt = "UPDATE data_column_classification SET pii_exempt_by = 'test', pii_exempt_reason = 'test',
                      pii_exempt_until = '2999-01-01'
                  WHERE table_name = 'vms' AND column_name = 'message'";
    assert_eq!(sqlx::query(exempt).execute(&platform.metadata).await.unwrap().rows_affected(), 1);
    let personal = "UPDATE vms SET message = 'ask jane.doe@example.com' WHERE message IS NOT NULL";
    assert!(sqlx::query(personal).execute(&platform.warehouse).await.unwrap().rows_affected() > 0);
    // A table of a few pages would be read in one go.
    let more = "CREATE TABLE many AS SELECT v.* FROM vms AS v, generate_series(1, 80) ORDER BY v.shown_at";
    for statement in
        [more, "TRUNCATE vms", "INSERT INTO vms SELECT * FROM many ORDER BY shown_at", "VACUUM ANALYZE vms"]
    {
        sqlx::raw_sql(statement).execute(&platform.warehouse).await.unwrap();
    }
    platform
}

/// An export of `vms` in several files, copied from the bucket into a folder. Gives its directory there, too.
async fn export(platform: &Platform, (format, compression): (ExportFormat, Compression)) -> (TempDir, String) {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let settings = PipelineSettings { partition_target_bytes: 64 << 10, ..PipelineSettings::default() };
    let worker = Running::with_settings(platform, warehouse, Arc::new(store), settings);
    let files = FileChoice { format: Some(format), compression: Some(compression) };
    let view = worker.finished(worker.request_in(&["vms"], files).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.tables);
    worker.stop().await;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let directory = view.tables[0].files[0].key.rsplit_once('/').unwrap().0.to_owned();
    let folder = tempfile::tempdir().unwrap();
    for name in store.list(&s3::key(&directory)).await.unwrap() {
        let bytes = store.get(&s3::key(&format!("{directory}/{name}"))).await.unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    (folder, directory)
}

/// A copy of an export that something is done to.
struct Tampered {
    folder: TempDir,
    manifest: Value,
}

impl Tampered {
    fn of(original: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(original).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let manifest = serde_json::from_slice(&std::fs::read(folder.path().join("manifest")).unwrap()).unwrap();
        Self { folder, manifest }
    }

    fn entry(&mut self, number: usize) -> &mut Value {
        &mut self.manifest["entries"][number]
    }

    /// The path of a listed file.
    fn file(&self, number: usize) -> PathBuf {
        self.folder.path().join(self.manifest["entries"][number]["name"].as_str().unwrap())
    }

    fn store(&self) {
        self.raw(&self.manifest.to_string());
    }

    fn raw(&self, manifest: &str) {
        std::fs::write(self.folder.path().join("manifest"), manifest).unwrap();
    }
}

/// What is done to an export, and which checks must find it. Whatever is found beside that is in `also`.
struct Case {
    name: &'static str,
    tamper: fn(&mut Tampered),
    wrong: &'static [&'static str],
    also: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case { name: "nothing", tamper: |t| t.store(), wrong: &[], also: &[] },
    Case {
        name: "a later version",
        tamper: |t| {
            t.manifest["author"]["version"] = json!("99.0.0");
            t.manifest["export"]["new"] = json!({"anything": [1, 2]});
            t.entry(0)["etag"] = json!("x");
            t.store();
        },
        wrong: &[],
        also: &[],
    },
    Case {
        name: "a flipped byte",
        tamper: |t| {
            let mut bytes = std::fs::read(t.file(0)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(t.file(0), bytes).unwrap();
        },
        wrong: &["sha256"],
        also: &["content", "schema", "rows", "window", "personal-data"],
    },
    Case {
        name: "a file cut short",
        tamper: |t| {
            let bytes = std::fs::read(t.file(1)).unwrap();
            std::fs::write(t.file(1), &bytes[..bytes.len() - 7]).unwrap();
        },
        wrong: &["size", "sha256", "content"],
        also: &[],
    },
    Case { name: "a missing file", tamper: |t| std::fs::remove_file(t.file(1)).unwrap(), wrong: &["files"], also: &[] },
    Case {
        name: "two files swapped",
        tamper: |t| {
            let (one, other) = (std::fs::read(t.file(0)).unwrap(), std::fs::read(t.file(1)).unwrap());
            std::fs::write(t.file(0), other).unwrap();
            std::fs::write(t.file(1), one).unwrap();
        },
        wrong: &["sha256", "window"],
        also: &["size", "rows"],
    },
    Case {
        name: "a count",
        tamper: |t| {
            let rows = t.entry(0)["meta"]["record_count"].as_u64().unwrap();
            t.entry(0)["meta"]["record_count"] = json!(rows + 1);
            t.store();
        },
        wrong: &["rows", "totals"],
        also: &[],
    },
    Case {
        name: "a sum",
        tamper: |t| {
            t.manifest["meta"]["content_length"] = json!(1);
            t.store();
        },
        wrong: &["totals"],
        also: &[],
    },
    Case {
        name: "the largest counts",
        tamper: |t| {
            for number in 0..2 {
                t.entry(number)["meta"] = json!({"content_length": u64::MAX, "record_count": u64::MAX});
            }
            t.store();
        },
        wrong: &["rows", "size", "totals"],
        also: &[],
    },
    Case {
        name: "a count that is none",
        tamper: |t| {
            t.entry(0)["meta"]["record_count"] = json!(-1.5);
            t.store();
        },
        wrong: &["manifest", "totals"],
        also: &[],
    },
    Case {
        name: "another column",
        tamper: |t| {
            t.manifest["schema"]["elements"][0]["name"] = json!("other");
            t.manifest["export"]["columns"][0]["name"] = json!("other");
            t.manifest["export"]["decisions"][0]["column"] = json!("other");
            t.store();
        },
        wrong: &["schema"],
        also: &["policy"],
    },
    Case {
        name: "columns in another order",
        tamper: |t| {
            t.manifest["schema"]["elements"].as_array_mut().unwrap().swap(0, 1);
            t.store();
        },
        wrong: &["schema"],
        also: &["content"],
    },
    Case {
        name: "a column that was not decided",
        tamper: |t| {
            t.manifest["export"]["decisions"].as_array_mut().unwrap().remove(0);
            t.store();
        },
        wrong: &["policy"],
        also: &[],
    },
    Case {
        name: "a row outside of its file's window",
        tamper: |t| {
            let start = t.entry(0)["window"][0].clone();
            let end = start.as_str().unwrap().replace(":00Z", ":01Z");
            t.entry(0)["window"] = json!([start, end]);
            t.store();
        },
        wrong: &["window"],
        also: &[],
    },
    Case {
        name: "a window outside of the export's",
        tamper: |t| {
            t.manifest["export"]["window"] = json!(["2026-03-01T00:00:00Z", "2026-03-02T00:00:01Z"]);
            t.store();
        },
        wrong: &["window"],
        also: &[],
    },
    Case {
        name: "personal data where it was searched for",
        tamper: |t| {
            let columns = t.manifest["export"]["columns"].as_array_mut().unwrap();
            columns.iter_mut().find(|column| column["name"] == "message").unwrap()["searched"] = json!(true);
            t.store();
        },
        wrong: &["personal-data"],
        also: &[],
    },
    Case {
        name: "a file listed twice",
        tamper: |t| {
            let again = t.entry(0).clone();
            t.manifest["entries"].as_array_mut().unwrap().push(again);
            t.store();
        },
        wrong: &["manifest"],
        also: &[],
    },
    Case {
        name: "a name that leads elsewhere",
        tamper: |t| {
            t.entry(0)["name"] = json!("../../etc/passwd");
            t.store();
        },
        wrong: &["manifest", "totals"],
        also: &[],
    },
    Case {
        name: "an address that leads elsewhere",
        tamper: |t| {
            t.entry(0)["url"] = json!("s3://exports/dev/../secret");
            t.store();
        },
        wrong: &["manifest"],
        also: &["files"],
    },
    Case {
        name: "a manifest cut short",
        tamper: |t| {
            let text = t.manifest.to_string();
            t.raw(&text[..text.len() / 2]);
        },
        wrong: &["manifest"],
        also: &[],
    },
    Case { name: "garbage", tamper: |t| t.raw("\u{0}PAR1 no manifest"), wrong: &["manifest"], also: &[] },
    Case { name: "an empty manifest", tamper: |t| t.raw(""), wrong: &["manifest"], also: &[] },
    Case {
        name: "another tool's manifest",
        tamper: |t| {
            t.manifest["author"]["name"] = json!("unload");
            t.store();
        },
        wrong: &["manifest"],
        also: &[],
    },
];

fn wrong(report: &Report) -> Vec<&'static str> {
    let wrong = report.checks().filter(|(_, verdict, _)| *verdict == Verdict::Wrong);
    wrong.map(|(kind, ..)| kind.name()).collect()
}

/// The place of a copy in the bucket, its manifest's addresses moved with it.
async fn upload(platform: &Platform, from: &Path, (old, new): (&str, &str)) {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let mut bytes = std::fs::read(file.path()).unwrap();
        if name == "manifest" {
            bytes = String::from_utf8(bytes).unwrap().replace(old, new).into_bytes();
        }
        store.put_if_absent(&s3::key(&format!("{new}/{name}")), Bytes::from(bytes), "text/plain").await.unwrap();
    }
}

/// Presigned links to everything in a directory: to the manifest, and to the files.
async fn signed(platform: &Platform, directory: &str) -> (Url, Vec<Url>) {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let (mut manifest, mut links) = (None, Vec::new());
    for name in store.list(&s3::key(directory)).await.unwrap() {
        let key = s3::key(&format!("{directory}/{name}"));
        let link = store.presign_get(&key, Duration::from_secs(600)).await.unwrap().url.parse().unwrap();
        if name == "manifest" { manifest = Some(link) } else { links.push(link) }
    }
    (manifest.unwrap(), links)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_an_export_is_found_and_named() {
    let platform = platform("verify_tampered").await;
    for (number, form) in FORMS.into_iter().enumerate() {
        let (original, directory) = export(&platform, form).await;
        let files = std::fs::read_dir(original.path()).unwrap().count();
        assert!(files >= 3, "several files are needed: {files}");
        for (case_number, case) in CASES.iter().enumerate() {
            let mut tampered = Tampered::of(original.path());
            (case.tamper)(&mut tampered);
            let place = FolderPlace::new(tampered.folder.path().join("manifest"));
            let report = verify(&place).await;
            let found = wrong(&report);
            let where_ = format!("{form:?}, {}: {report:#?}", case.name);
            assert!(case.wrong.iter().all(|check| found.contains(check)), "{where_}");
            let may = |check: &&str| case.wrong.contains(check) || case.also.contains(check);
            assert!(found.iter().all(may), "{where_}");
            assert_eq!(report.right(), case.wrong.is_empty(), "{where_}");

            // Plain CSV is read as compressed; the other places are tried with the others.
            if number == 3 {
                continue;
            }
            let moved = format!("moved/{number}/{case_number}");
            upload(&platform, tampered.folder.path(), (&directory, &moved)).await;
            let store = platform.s3.store(s3::BUCKET).await.unwrap();
            let in_bucket = BucketPlace::new(Arc::new(store), s3::key(&format!("{moved}/manifest")));
            let report = verify(&in_bucket).await;
            assert!(
                case.wrong.iter().all(|check| wrong(&report).contains(check)),
                "in a bucket, {where_}, {report:#?}"
            );
            assert!(wrong(&report).iter().all(may), "in a bucket, {where_}, {report:#?}");
            let (manifest, links) = signed(&platform, &moved).await;
            let report = verify(&LinkPlace::new(manifest, links).unwrap()).await;
            assert!(
                case.wrong.iter().all(|check| wrong(&report).contains(check)),
                "behind links, {where_}, {report:#?}"
            );
            assert!(wrong(&report).iter().all(may), "behind links, {where_}, {report:#?}");
        }
    }
}

/// What only Parquet holds, and what is told of what is wrong: file, column and count, and never a value.
#[tokio::test(flavor = "multi_thread")]
async fn findings_name_file_and_column_and_hold_no_value() {
    let platform = platform("verify_words").await;
    let (original, _) = export(&platform, FORMS[0]).await;
    let told = async |tamper: &dyn Fn(&mut Tampered)| {
        let mut tampered = Tampered::of(original.path());
        tamper(&mut tampered);
        tampered.store();
        let report = verify(&FolderPlace::new(tampered.folder.path().join("manifest"))).await;
        let findings = report.checks().flat_map(|(kind, _, check)| {
            check.findings.into_iter().map(move |found| (kind.name(), found.file.unwrap_or_default(), found.what))
        });
        findings.collect::<Vec<_>>()
    };
    let hash = told(&|t| t.manifest["export"]["policy_hash"] = json!("0".repeat(64))).await;
    assert!(
        hash.iter()
            .all(|(kind, file, what)| *kind == "policy" && file.ends_with(".parquet") && what.contains("policy"))
    );
    assert!(hash.len() >= 2, "each file says it: {hash:?}");

    let types = told(&|t| t.manifest["schema"]["elements"][0]["type"]["base"] = json!("boolean")).await;
    assert!(types.iter().all(|(kind, _, what)| *kind == "schema" && what.contains("boolean")), "{types:?}");

    let personal = told(&|t| {
        let columns = t.manifest["export"]["columns"].as_array_mut().unwrap();
        columns.iter_mut().find(|column| column["name"] == "message").unwrap()["searched"] = json!(true);
    })
    .await;
    assert!(!personal.is_empty() && personal.iter().all(|(_, _, what)| what.contains("'message'")), "{personal:?}");
    assert!(personal.iter().all(|(_, _, what)| !what.contains('@')), "{personal:?}");

    let traversal = told(&|t| t.entry(0)["name"] = json!("../../etc/passwd\u{1b}[2J")).await;
    assert!(traversal.iter().any(|(_, _, what)| what.contains("entry 0") && what.contains("not opened")));

    let mut tampered = Tampered::of(original.path());
    tampered.manifest["export"]
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !matches!(key.as_str(), "columns" | "sought" | "time"));
    tampered.store();
    std::fs::copy(tampered.file(0), tampered.folder.path().join("stray.parquet")).unwrap();
    let report = verify(&FolderPlace::new(tampered.folder.path().join("manifest"))).await;
    let verdict =
        |name: &str| report.checks().find(|(kind, ..)| kind.name() == name).map(|(_, verdict, _)| verdict).unwrap();
    assert!(report.right(), "{report:#?}");
    assert_eq!(verdict("window"), Verdict::Unchecked);
    assert_eq!(verdict("personal-data"), Verdict::Unchecked);
    assert_eq!(verdict("unlisted"), Verdict::Warning);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_needs_no_settings_and_tells_by_its_exit_code() {
    let platform = platform("verify_command").await;
    let (original, directory) = export(&platform, FORMS[1]).await;
    let path = original.path().join("manifest");
    let path = path.to_str().unwrap();
    let run = async |arguments: &[&str], credentials: bool| {
        let mut command = bare_program(arguments);
        if credentials {
            command.envs(platform.environment().into_iter().filter(|(key, _)| key.starts_with("AWS_")));
        }
        let output = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };

    let (code, out, err) = run(&["verify", path], false).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("nothing is wrong") && out.contains("'vms' of job"), "{out}");
    let (code, out, _) = run(&["verify", path, "--json"], false).await;
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["right"], report["checks"].as_array().unwrap().len()), (0, &json!(true), 12));

    let (code, out, err) = run(&["verify", &format!("s3://{}/{directory}/manifest", s3::BUCKET)], true).await;
    assert_eq!(code, 0, "{out} {err}");

    let (manifest, links) = signed(&platform, &directory).await;
    let listed = original.path().join("links.json");
    let links: Vec<&str> = links.iter().map(Url::as_str).collect();
    std::fs::write(&listed, json!({"data": {"dataRequestDownloadLinks": {"vms": links}}}).to_string()).unwrap();
    let (code, out, err) = run(&["verify", manifest.as_str(), "--links", listed.to_str().unwrap()], false).await;
    assert_eq!(code, 0, "{out} {err}");
    let (code, out, _) = run(&["verify", manifest.as_str()], false).await;
    assert!(code == 1 && out.contains("opens the manifest alone"), "{code} {out}");
    assert!(!out.contains("Signature"), "{out}");

    std::fs::write(original.path().join("vms_000.csv.gz"), "no gzip").unwrap();
    let (code, out, _) = run(&["verify", path], false).await;
    assert!(code == 1 && out.contains("vms_000.csv.gz: has another SHA-256"), "{out}");
    for (arguments, code, words) in [
        (&["verify", "/nowhere/manifest"][..], 1, "is not there"),
        (&["verify", "/"], 1, "is no file"),
        (&["verify", "ftp://host/manifest"], 2, "s3://"),
        (&["verify", "s3://bucket-only"], 2, "s3://bucket/key"),
        (&["verify", "s3://exports/nothing/manifest"], 1, "is not there"),
        (&["verify", path, "--links", "/nowhere"], 2, "--links belongs"),
        (&["verify"], 2, "MANIFEST"),
        (&["verify", "http://127.0.0.1:1/manifest"], 1, "cannot be reached"),
    ] {
        let (found, out, err) = run(arguments, true).await;
        assert_eq!(found, code, "{arguments:?}: {out} {err}");
        assert!(format!("{out}{err}").contains(words), "{arguments:?}: {out} {err}");
    }
}
