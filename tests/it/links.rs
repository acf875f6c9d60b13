//! Download links with the real program and curl: before their end and after it, changed in every part, revoked,
//! with a rotated credential, and what the audit has of all that.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Utc};
use data_exporter::local::s3::{LocalS3, LocalS3Options};
use serde_json::{Value, json};
use sqlx::Row;
use uuid::Uuid;

use crate::support::platform::{Platform, Service};
use crate::support::{metadata, s3};

const KEY: &str = "dev/data_exporter_service/way/20261118/x/way_000.parquet";
const BYTES: &[u8] = b"PAR1 not truly PAR1";

/// A completed job with two files in the bucket, without anybody having to export them.
async fn published(platform: &Platform) -> Uuid {
    let at = "2026-11-18T13:00:00Z".parse().unwrap();
    let id = metadata::job(&platform.metadata, "default", "COMPLETED", at).await;
    let second = KEY.replace("000", "001");
    let files = [(KEY, 1, 19), (second.as_str(), 1, 19)];
    metadata::table(&platform.metadata, id, "way", "COMPLETED", &files).await;
    for (key, ..) in files {
        let put = s3::bare_client(&platform.s3.endpoint()).put_object().bucket(s3::BUCKET).key(key);
        put.body(BYTES.to_vec().into()).send().await.unwrap();
    }
    id
}

struct Links {
    urls: Vec<String>,
    end: DateTime<Utc>,
}

async fn links(service: &Service, id: Uuid) -> Links {
    let status = service.status(&id.to_string()).await;
    let urls = status["dataRequestDownloadLinks"]["way"].as_array().unwrap_or_else(|| panic!("{status}"));
    Links {
        urls: urls.iter().map(|url| url.as_str().unwrap().to_owned()).collect(),
        end: status["linksExpireAt"].as_str().unwrap().parse().unwrap(),
    }
}

/// What curl gets: status, headers in lower case, body.
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Got {
    fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["requestId"], self.headers["x-request-id"].as_str());
        body["code"].as_str().unwrap().to_owned()
    }
}

fn curl(arguments: &[&str]) -> Got {
    let output = Command::new("curl").args(["-sS", "-i", "--max-time", "20"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut rest = &output.stdout[..];
    // With -L there is a head for each step; the last one counts.
    loop {
        let end = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        rest = &rest[end + 4..];
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        if !rest.starts_with(b"HTTP/1.1 ") {
            return Got { status, headers, body: rest.to_vec() };
        }
    }
}

/// The audit of a job, oldest first: action, reason, key, address, user agent.
async fn audit(platform: &Platform, id: Uuid) -> Vec<(String, Option<String>, String, String, String)> {
    let rows = sqlx::query(
        "SELECT action, reason, object_key, address, user_agent, tenant, subject, table_name, request_id,
                at BETWEEN clock_timestamp() - interval '2 minutes' AND clock_timestamp() AS recent
         FROM export_download_audits WHERE job_id = $1 ORDER BY id",
    );
    let rows = rows.bind(id).fetch_all(&platform.metadata).await.unwrap();
    rows.iter()
        .map(|row| {
            let text = |name: &str| row.get::<String, _>(name);
            assert_eq!(
                (text("tenant"), text("subject"), text("table_name")),
                ("default".into(), "local".into(), "way".into())
            );
            assert!(row.get::<bool, _>("recent") && !text("request_id").is_empty());
            let agent = row.get::<Option<String>, _>("user_agent").unwrap_or_default();
            (text("action"), row.get("reason"), text("object_key"), text("address"), agent)
        })
        .collect()
}

async fn actions(platform: &Platform, id: Uuid) -> Vec<String> {
    audit(platform, id).await.into_iter().map(|row| row.0).collect()
}

async fn wait_until(end: DateTime<Utc>, platform: &Platform) {
    loop {
        let over: bool = sqlx::query_scalar("SELECT clock_timestamp() > $1 + interval '1 second'")
            .bind(end)
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
        if over {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Everybody on loopback plays a proxy here.
const PROXIED: (&str, &str) = ("EXPORTER_TRUSTED_PROXIES", "127.0.0.0/8");

#[tokio::test(flavor = "multi_thread")]
async fn behind_trusted_proxies_the_audits_and_the_log_name_the_client() {
    let platform = Platform::empty("links_proxied").await;
    let id = published(&platform).await;
    let claim = "198.51.100.1, 203.0.113.7, 127.0.0.9";
    let last = |column: &str, table: &str| {
        let sql = format!("SELECT {column} FROM {table} ORDER BY id DESC LIMIT 1");
        sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).fetch_one(&platform.metadata)
    };
    let revoke = json!({"query": format!("mutation {{ revokeLinks(requestId: \"{id}\") {{ revoked }} }}")});
    for (name, settings, expected) in
        [("direct", vec![REDIRECT], "127.0.0.1"), ("proxied", vec![REDIRECT, PROXIED], "203.0.113.7")]
    {
        let service = platform.serve(name, "api", &settings).await;
        let link = links(&service, id).await.urls[0].clone();
        let got = curl(&["-H", &format!("x-forwarded-for: {claim}"), &link]);
        assert_eq!(got.status, 302);
        assert_eq!(last("address", "export_download_audits").await.unwrap(), expected);
        assert_eq!(last("forwarded_for", "export_download_audits").await.unwrap(), claim);
        let request = reqwest::Client::new().post(service.url("/graphql")).header("x-forwarded-for", claim);
        let answer: Value = request.json(&revoke).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["data"]["revokeLinks"]["revoked"], 1, "{answer}");
        assert_eq!(last("origin", "admin_audit").await.unwrap(), expected);
        let client = format!("client={expected}");
        assert!(service.logged().contains(&client), "{client} in {}", service.logged());
    }
}

const REDIRECT: (&str, &str) = ("EXPORTER_LINKS", "redirect");

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_our_own_is_checked_written_down_and_ends_in_time() {
    let platform = Platform::empty("links_redirect").await;
    let id = published(&platform).await;
    let api = platform.serve("api", "api", &[REDIRECT, ("EXPORTER_LINK_TTL_SECONDS", "20")]).await;
    let links_now = links(&api, id).await;
    let link = links_now.urls[0].as_str();
    assert!(link.starts_with(&api.url("/v1/files/")) && !link.contains("way"), "{link}");
    // Asked for again at once: the same links, and no more rows, as is seen below.
    assert_eq!(links(&api, id).await.urls, links_now.urls);

    // It leads to the file, by a short link that nobody stores or passes on.
    let got = curl(&["-H", "x-request-id: mine-1", "-H", "x-forwarded-for: 192.0.2.7", link]);
    assert_eq!((got.status, got.headers["x-request-id"].as_str()), (302, "mine-1"));
    assert_eq!((&got.headers["cache-control"][..], &got.headers["referrer-policy"][..]), ("no-store", "no-referrer"));
    let location = &got.headers["location"];
    let life: u64 = location.split("X-Amz-Expires=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
    assert!(location.contains(KEY) && (1..=20).contains(&life), "{life}");
    let got = curl(&["-L", "-A", "downloader/1", link]);
    assert_eq!((got.status, &got.body[..]), (200, BYTES));

    // Changed in any place it is none, and leaves no trace.
    let (base, token) = link.rsplit_once('/').unwrap();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut changed: Vec<String> = (0..token.len())
        .map(|at| {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &token[..at], &token[at + 1..])
        })
        .collect();
    let other = links_now.urls[1].rsplit('/').next().unwrap();
    changed.extend([
        format!("{token}A"),
        token[1..].to_owned(),
        format!("{}%00", &token[..95]),
        // The claim of one file with the signature of the other.
        format!("{}{}", &token[..54], &other[54..]),
        "A".repeat(96),
        "x".to_owned(),
    ]);
    for token in &changed {
        let answer = client.get(format!("{base}/{token}")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{token}");
        assert!(answer.headers().get("location").is_none());
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "NOT_FOUND");
    }

    let rows = audit(&platform, id).await;
    let seen: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(seen, ["handed_out", "handed_out", "redirected", "redirected"]);
    assert!(rows.iter().all(|row| row.3 == "127.0.0.1"));
    assert_eq!((rows[2].2.as_str(), rows[3].2.as_str(), rows[3].4.as_str()), (KEY, KEY, "downloader/1"));
    assert!(rows[2].4.starts_with("curl/"), "{}", rows[2].4);
    let (request, forwarded): (String, String) = sqlx::query_as(
        "SELECT request_id, forwarded_for FROM export_download_audits WHERE action = 'redirected' ORDER BY id LIMIT 1",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!((request.as_str(), forwarded.as_str()), ("mine-1", "192.0.2.7"));

    wait_until(links_now.end, &platform).await;
    for _ in 0..3 {
        let got = curl(&[link]);
        assert_eq!((got.status, got.code().as_str()), (410, "LINK_EXPIRED"));
    }
    let location = curl(&[location.as_str()]);
    assert_eq!(location.status, 403, "what it was redirected to has ended with it");
    let rows = audit(&platform, id).await;
    assert_eq!(rows.len(), 5, "one row for any number of refusals in a minute");
    assert_eq!((rows[4].0.as_str(), rows[4].1.as_deref()), ("refused", Some("LINK_EXPIRED")));
    assert_eq!(links(&api, id).await.urls.len(), 2, "new ones may be asked for");

    // The token is in no log.
    assert!(!api.logged().contains(&token[..20]), "{}", api.logged());
    let sql = "DELETE FROM export_download_audits";
    assert!(sqlx::query(sql).execute(&platform.metadata).await.is_err(), "the audit is append-only");
}

const REVOKE: &str = "requestId revoked revokedAt presignedUntil redirectedUntil message";

async fn revoke(service: &Service, id: &str) -> Value {
    service.ask(&format!("mutation {{ revokeLinks(requestId: \"{id}\") {{ {REVOKE} }} }}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_our_own_can_be_revoked_and_works_at_every_replica() {
    let platform = Platform::empty("links_revoked").await;
    let id = published(&platform).await;
    let public = ("EXPORTER_PUBLIC_URL", "https://exports.example.com/data/");
    let one = platform.serve("one", "api", &[REDIRECT, public]).await;
    let two = platform.serve("two", "api", &[]).await;
    let urls = links(&one, id).await.urls;
    let path = urls[0].strip_prefix("https://exports.example.com/data").unwrap().to_owned();
    let (here, there) = (one.url(&path), two.url(&path));
    for url in [&here, &there] {
        let got = curl(&["-L", url]);
        assert_eq!((got.status, &got.body[..]), (200, BYTES));
    }
    let location = curl(&[&here]).headers["location"].clone();
    assert!(location.contains("X-Amz-Expires=300&"), "{location}");

    // An audit that cannot be written is a link that cannot be followed, and none that can be handed out.
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        let pool = platform.metadata.clone();
        async move { sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap() }
    };
    rename("export_download_audits", "elsewhere").await;
    let got = curl(&[&here]);
    assert_eq!((got.status, got.code().as_str()), (503, "METADATA_UNAVAILABLE"));
    assert!(!got.headers.contains_key("location"));
    let refused = one.ask(&format!("{{ request(requestId: \"{id}\") {{ status dataRequestDownloadLinks }} }}")).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "METADATA_UNAVAILABLE");
    assert_eq!(refused["data"]["request"]["status"], "Completed");
    assert!(refused["data"]["request"]["dataRequestDownloadLinks"].is_null(), "{refused}");
    rename("elsewhere", "export_download_audits").await;
    assert_eq!(curl(&[&here]).status, 302);

    let first = revoke(&two, &id.to_string()).await["data"]["revokeLinks"].take();
    assert_eq!((&first["requestId"], &first["revoked"]), (&json!(id.to_string()), &json!(1)));
    assert!(first["revokedAt"].is_string() && first["redirectedUntil"].is_string(), "{first}");
    assert!(first["presignedUntil"].is_null(), "{first}");
    let again = revoke(&one, &id.to_string()).await["data"]["revokeLinks"].take();
    assert_eq!((&again["revoked"], &again["revokedAt"]), (&json!(0), &first["revokedAt"]));
    for url in urls.iter().map(|url| url.replace("https://exports.example.com/data", "")) {
        let got = curl(&[&one.url(&url)]);
        assert_eq!((got.status, got.code().as_str()), (410, "LINK_REVOKED"));
    }
    let rows = audit(&platform, id).await;
    let last: Vec<_> = rows.iter().rev().take(2).map(|row| (row.0.as_str(), row.1.as_deref())).collect();
    assert_eq!(last, [("refused", Some("LINK_REVOKED")); 2]);
    let by: String = sqlx::query_scalar("SELECT revoked_by FROM export_link_grants WHERE revoked_at IS NOT NULL")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(by, "local");

    // Whoever may see the request is given new ones, which are others.
    let fresh = links(&one, id).await.urls;
    assert_ne!(fresh, urls);
    let fresh = one.url(fresh[0].strip_prefix("https://exports.example.com/data").unwrap());
    assert_eq!(curl(&["-L", &fresh]).status, 200);
    // Until the files are gone.
    sqlx::query("UPDATE export_jobs SET state = 'EXPIRED'").execute(&platform.metadata).await.unwrap();
    let got = curl(&[&fresh]);
    assert_eq!((got.status, got.code().as_str()), (410, "LINK_EXPIRED"));

    let at = "2026-11-18T13:00:00Z".parse().unwrap();
    let foreign = metadata::job(&platform.metadata, "other", "COMPLETED", at).await;
    let mut answers = Vec::new();
    for id in [foreign.to_string(), Uuid::now_v7().to_string(), "nonsense".to_owned()] {
        let mut answer = revoke(&one, &id).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "NOT_FOUND", "{answer}");
        answer["errors"][0]["extensions"]["requestId"].take();
        answers.push(answer);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

/// Every change of a presigned link that somebody might try.
fn tampered(link: &str) -> Vec<(String, String)> {
    let url = url::Url::parse(link).unwrap();
    let mut changed = vec![("path".to_owned(), link.replace("way_000", "way_001"))];
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (at, (name, value)) in pairs.iter().enumerate() {
        let other = match name.as_str() {
            "X-Amz-Expires" => "604800".to_owned(),
            "X-Amz-Date" => value.replace("Z", "").replacen("20", "21", 1) + "Z",
            _ => {
                let last = if value.ends_with('0') { '1' } else { '0' };
                format!("{}{last}", &value[..value.len() - 1])
            }
        };
        let mut without = url.clone();
        without.query_pairs_mut().clear().extend_pairs(pairs.iter().filter(|(known, _)| known != name));
        changed.push((format!("without {name}"), without.to_string()));
        let mut with = url.clone();
        let replaced = pairs.iter().enumerate().map(|(i, (n, v))| (n, if i == at { &other } else { v }));
        with.query_pairs_mut().clear().extend_pairs(replaced);
        changed.push((name.clone(), with.to_string()));
    }
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_link_works_until_its_end_and_for_nothing_else() {
    let platform = Platform::empty("links_presigned").await;
    let id = published(&platform).await;
    // The host that requesters reach differs from the one that the service uses.
    let public = platform.s3.endpoint().replace("127.0.0.1", "localhost");
    let settings = [("EXPORTER_S3_PUBLIC_ENDPOINT", public.as_str()), ("EXPORTER_LINK_TTL_SECONDS", "20")];
    let api = platform.serve("api", "api", &settings).await;
    let now = links(&api, id).await;
    let link = now.urls[0].as_str();
    assert!(link.starts_with(&format!("{public}/{}/{KEY}?", s3::BUCKET)), "{link}");
    // Asked for again at once.
    links(&api, id).await;
    let got = curl(&[link]);
    assert_eq!((got.status, &got.body[..]), (200, BYTES));
    for (part, changed) in tampered(link) {
        let got = curl(&[&changed]);
        // 501 is what the S3 in the process has for an algorithm that it does not know.
        assert!(matches!(got.status, 400..=403 | 501), "{part}: {}", got.status);
        assert!(!got.body.windows(4).any(|bytes| bytes == b"PAR1"), "{part}");
    }
    assert_eq!(actions(&platform, id).await, ["handed_out", "handed_out"], "polling writes no more rows");

    let revoked = revoke(&api, &id.to_string()).await["data"]["revokeLinks"].take();
    assert_eq!((&revoked["revoked"], &revoked["revokedAt"]), (&json!(0), &Value::Null));
    assert!(revoked["message"].as_str().unwrap().contains("cannot be revoked"), "{revoked}");
    let until: DateTime<Utc> = revoked["presignedUntil"].as_str().unwrap().parse().unwrap();
    assert!(until >= now.end && (until - now.end).num_seconds() < 20, "{until} {}", now.end);
    assert_eq!(curl(&[link]).status, 200, "as it was said");

    wait_until(now.end, &platform).await;
    assert_eq!(curl(&[link]).status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_credential_ends_presigned_links_and_not_our_own() {
    let mut platform = Platform::empty("links_rotated").await;
    let id = published(&platform).await;
    let presigned = platform.serve("presigned", "api", &[]).await;
    let redirect = platform.serve("redirect", "api", &[REDIRECT]).await;
    let (signed, ours) = (links(&presigned, id).await.urls.remove(0), links(&redirect, id).await.urls.remove(0));
    assert_eq!((curl(&[&signed]).status, curl(&["-L", &ours]).status), (200, 200));
    drop(redirect);

    let bind = platform.s3.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let secret = "another-secret-for-tests-only";
    let options = || LocalS3Options {
        bind,
        access_key: "ROTATEDACCESSKEY".to_owned(),
        secret_key: secret.into(),
        ..s3::options(&platform.folder.path().join("objects"))
    };
    let rotated = options();
    let placeholder = s3::local(&platform.folder.path().join("other")).await;
    std::mem::replace(&mut platform.s3, placeholder).shutdown().await;
    let _s3 = LocalS3::start(rotated).await.unwrap();

    assert_eq!(curl(&[&signed]).status, 403);
    let endpoint = format!("http://{bind}");
    let settings = [
        REDIRECT,
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "ROTATEDACCESSKEY"),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ];
    let renewed = platform.serve("renewed", "api", &settings).await;
    let path = ours.find("/v1/").map(|at| ours[at..].to_owned()).unwrap();
    let got = curl(&["-L", &renewed.url(&path)]);
    assert_eq!((got.status, &got.body[..]), (200, BYTES), "the day-long link outlives the credential");
}
