use secrecy::ExposeSecret;

use super::*;

const SERVE: Needs = Needs { database: true, warehouse: true, bucket: true, works: false, local: false };

fn complete() -> Vec<(&'static str, &'static str)> {
    vec![
        ("DATABASE_URL", "postgres://u:secret@db/meta"),
        ("EXPORTER_WAREHOUSE_URL", "postgres://u:secret@wh/data"),
        ("EXPORTER_BUCKET", "exports"),
    ]
}

#[test]
fn defaults_hold_with_the_three_that_are_needed() {
    let settings = Settings::read(&Source::of(complete()), SERVE).unwrap();
    assert_eq!(settings.env, "dev");
    assert_eq!(settings.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.link_ttl.as_secs(), 86_400);
    assert_eq!(settings.partition_target_bytes, 268_435_456);
    assert_eq!(settings.gate_sample, 1.0, "less than everything is never searched unless somebody says so");
    assert_eq!(settings.database_url.unwrap().expose_secret(), "postgres://u:secret@db/meta");
}

#[test]
fn everything_wrong_is_reported_at_once_and_no_secret_with_it() {
    let error = Settings::read(
        &Source::of([
            ("DATABASE_URL", "mysql://u:secret@db/meta"),
            ("EXPORTER_BIND", "everywhere"),
            ("EXPORTER_ROLES", "api,cook"),
            ("EXPORTER_LINK_TTL_SECONDS", "604801"),
            ("EXPORTER_LINKS", "mail"),
            ("EXPORTER_PUBLIC_URL", "https://u:secret@host"),
            ("EXPORTER_MAX_ATTEMPTS", "-1"),
            ("EXPORTER_GATE_SAMPLE", "0"),
            ("EXPORTER_ENV", "a/b"),
        ]),
        SERVE,
    )
    .unwrap_err();
    let keys: Vec<&str> = error.0.iter().filter_map(|problem| problem.split_whitespace().next()).collect();
    for key in [
        "DATABASE_URL",
        "EXPORTER_BIND",
        "EXPORTER_ROLES",
        "EXPORTER_LINK_TTL_SECONDS",
        "EXPORTER_LINKS",
        "EXPORTER_PUBLIC_URL",
        "EXPORTER_MAX_ATTEMPTS",
        "EXPORTER_GATE_SAMPLE",
        "EXPORTER_ENV",
        "EXPORTER_WAREHOUSE_URL",
        "EXPORTER_BUCKET",
    ] {
        assert_eq!(keys.iter().filter(|found| **found == key).count(), 1, "{key} in {keys:?}");
    }
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn without_authentication_only_loopback_is_served() {
    for (bind, roles, allowed) in [
        ("127.0.0.1:80", "api", true),
        ("[::1]:80", "api", true),
        ("127.1.2.3:80", "api", true),
        ("[::]:80", "api", false),
        ("[::ffff:10.0.0.1]:80", "api", false),
        ("0.0.0.0:80", "api", false),
        ("10.0.0.1:80", "api,worker", false),
        ("0.0.0.0:80", "worker", true),
    ] {
        let mut values = complete();
        values.extend([("EXPORTER_BIND", bind), ("EXPORTER_AUTH", "none"), ("EXPORTER_ROLES", roles)]);
        let read = Settings::read(&Source::of(values), SERVE);
        assert_eq!(read.is_ok(), allowed, "{bind} {roles}");
    }
}

#[test]
fn only_a_worker_needs_a_warehouse() {
    let values: Vec<_> = complete().into_iter().filter(|(key, _)| *key != "EXPORTER_WAREHOUSE_URL").collect();
    for (roles, enough) in [("api", true), ("worker", false), ("api,worker,scheduler", false)] {
        let mut values = values.clone();
        values.push(("EXPORTER_ROLES", roles));
        assert_eq!(Settings::read(&Source::of(values), SERVE).is_ok(), enough, "{roles}");
    }
}

#[test]
fn a_file_gives_what_the_environment_does_not_and_may_not_hold_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    for (text, expected) in [
        ("EXPORTER_MAX_ATTEMPTS = 7\nEXPORTER_S3_PATH_STYLE = true\n", Ok(())),
        ("EXPORTER_MAX_ATEMPTS = 7\n", Err("'EXPORTER_MAX_ATEMPTS' is not a setting")),
        ("EXPORTER_BUCKET = [1]\n", Err("'EXPORTER_BUCKET' must be a string")),
        ("DATABASE_URL = \"x\"\nEXPORTER_ENV = postgres://u:secret\n", Err("line 2 is not TOML")),
    ] {
        std::fs::write(&path, text).unwrap();
        match (Source::file(&path), expected) {
            (Ok(values), Ok(())) => assert_eq!(values["EXPORTER_MAX_ATTEMPTS"], "7"),
            (Err(error), Err(wanted)) => {
                assert!(error.to_string().contains(wanted), "{error}");
                assert!(!error.to_string().contains("secret"), "{error}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
}

#[test]
fn links_of_our_own_need_an_address_that_somebody_reaches() {
    for (bind, public, needed) in [
        ("127.0.0.1:80", None, false),
        ("0.0.0.0:80", None, true),
        ("[::]:80", None, true),
        ("0.0.0.0:80", Some("https://exports.example.com/"), false),
    ] {
        let mut values = complete();
        values.extend([("EXPORTER_BIND", bind), ("EXPORTER_LINKS", "redirect")]);
        values.extend(public.map(|url| ("EXPORTER_PUBLIC_URL", url)));
        let said = Settings::read(&Source::of(values), SERVE).map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(said.contains("EXPORTER_PUBLIC_URL"), needed, "{bind} {public:?}: {said}");
    }
}

#[test]
fn only_processes_that_work_read_the_key_for_pseudonyms() {
    for (roles, works, read) in
        [("worker", false, true), ("api,worker", false, true), ("api", false, false), ("api", true, true)]
    {
        let mut values = complete();
        values.extend([("EXPORTER_ROLES", roles), ("EXPORTER_PSEUDONYM_KEY_FILE", "/nowhere/at all")]);
        let found = Settings::read(&Source::of(values), Needs { works, ..SERVE });
        match found {
            Ok(settings) => assert!(!read && settings.pseudonyms.is_none(), "{roles} {works}"),
            Err(error) => {
                assert!(read, "{roles} {works}");
                assert!(
                    error.to_string().contains("EXPORTER_PSEUDONYM_KEY_FILE names the file '/nowhere/at all'"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn a_sample_is_a_share_of_everything() {
    for (text, share) in
        [("0.25", Some(0.25)), ("1", Some(1.0)), ("0", None), ("1.5", None), ("NaN", None), ("-1", None)]
    {
        let mut pairs = complete();
        pairs.push(("EXPORTER_GATE_SAMPLE", text));
        assert_eq!(
            Settings::read(&Source::of(pairs), SERVE).ok().map(|settings| settings.gate_sample),
            share,
            "{text}"
        );
    }
}

#[test]
fn a_topic_is_named_by_its_arn_and_has_no_order() {
    for (text, wrong) in [
        ("arn:aws:sns:eu-central-1:123456789012:exports", None),
        ("arn:aws-cn:sns:cn-north-1:123456789012:exports", None),
        ("exports", Some("EXPORTER_SNS_TOPIC_ARN is not of the form arn:aws:sns:region:account:name")),
        ("arn:aws:sqs:eu-central-1:123456789012:exports", Some("is not of the form")),
        ("arn:aws:sns::123456789012:exports", Some("is not of the form")),
        ("arn:aws:sns:eu-central-1:123456789012:exports.fifo", Some("names a FIFO topic")),
    ] {
        let mut pairs = complete();
        pairs.push(("EXPORTER_SNS_TOPIC_ARN", text));
        match (Settings::read(&Source::of(pairs), SERVE), wrong) {
            (Ok(settings), None) => assert_eq!(settings.sns_topic.as_deref(), Some(text)),
            (Err(error), Some(wrong)) => assert!(error.to_string().contains(wrong), "{error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}
