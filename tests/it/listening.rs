//! Where the real program listens without authentication, and where with it. Nothing of a test listens beyond loopback
//! on this machine: addresses for documentation cannot be bound, and a network namespace has no link to anywhere.

use std::process::{Command, Stdio};

use crate::support::platform::{Platform, program};

/// An address of TEST-NET-1, which no machine has.
const ELSEWHERE: &str = "192.0.2.1:8080";

#[tokio::test]
async fn without_authentication_the_settings_refuse_what_is_not_loopback_and_with_it_they_do_not() {
    let platform = Platform::empty("listening").await;
    let jwt = [
        ("EXPORTER_JWT_ISSUER", "https://issuer.example"),
        ("EXPORTER_JWT_AUDIENCE", "exports"),
        ("EXPORTER_JWT_JWKS_URL", "https://issuer.example/jwks"),
    ];
    for (auth, bind, said) in [
        ("none", ELSEWHERE, "EXPORTER_AUTH is none"),
        ("none", "[2001:db8::1]:8080", "EXPORTER_AUTH is none"),
        ("none", "0.0.0.0:0", "EXPORTER_AUTH is none"),
        ("none", "[::]:0", "EXPORTER_AUTH is none"),
        ("api-key", ELSEWHERE, "cannot listen on 192.0.2.1:8080"),
        ("jwt", ELSEWHERE, "cannot listen on 192.0.2.1:8080"),
        ("api-key,jwt", ELSEWHERE, "cannot listen on 192.0.2.1:8080"),
    ] {
        for local in [&["serve"][..], &["serve", "--local"]] {
            let mut command = platform.program(local);
            command.env("EXPORTER_AUTH", auth).env("EXPORTER_BIND", bind).env("EXPORTER_ROLES", "api");
            if auth.contains("jwt") {
                command.envs(jwt);
            }
            let output = command.output().await.unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{auth} {bind} {local:?}: {err}");
            assert!(err.contains(said) && err.contains("SETTINGS_INVALID"), "{auth} {bind} {local:?}: {err}");
        }
    }
}

/// Runs in a network namespace of its own: two starts on all interfaces, asked at an address that is not loopback.
const SCRIPT: &str = r#"
set -eu
ip link set lo up
ip address add 192.0.2.1/32 dev lo
ask() { curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$@" || true; }
for auth in api-key jwt; do
    EXPORTER_AUTH=$auth "$PROGRAM" serve --local >/dev/null 2>"$EXPORTER_DATA_DIR-$auth.log" &
    service=$!
    trap 'kill $service' EXIT
    for _ in $(seq 600); do
        [ "$(ask http://192.0.2.1:8080/livez)" = 200 ] && break
        kill -0 $service || { cat "$EXPORTER_DATA_DIR-$auth.log"; exit 1; }
        sleep 0.1
    done
    json='content-type: application/json'
    body='{"query": "{ exportTables { name } }"}'
    for address in 192.0.2.1 127.0.0.1; do
        printf '%s %s %s %s\n' $auth "$(ask http://$address:8080/livez)" \
            "$(ask -H "$json" -d "$body" http://$address:8080/graphql)" \
            "$(ask -H "$json" -H 'authorization: Bearer dex_000000000000_x' -d "$body" http://$address:8080/graphql)"
    done
    kill $service
    wait $service || exit 1
    trap - EXIT
done
"#;

#[tokio::test(flavor = "multi_thread")]
async fn on_all_interfaces_it_serves_those_who_prove_who_they_are() {
    let permitted = Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        println!("passed over: network namespaces need `unshare`, `ip` and the right to make one");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    for (key, _) in std::env::vars() {
        if (key.starts_with("EXPORTER_") && key != "EXPORTER_PG_BIN")
            || key.starts_with("AWS_")
            || key == "DATABASE_URL"
        {
            command.env_remove(key);
        }
    }
    command.args(["--net", "--kill-child", "bash", "-c", SCRIPT]).env("PROGRAM", program());
    command.env("EXPORTER_DATA_DIR", folder.path().join("data")).stdin(Stdio::null());
    command.env("EXPORTER_BIND", "0.0.0.0:8080").env("EXPORTER_ROLES", "api");
    command.env("EXPORTER_JWT_ISSUER", "https://issuer.example").env("EXPORTER_JWT_AUDIENCE", "exports");
    command.env("EXPORTER_JWT_JWKS_URL", "https://127.0.0.1:9/jwks");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines, ["api-key 200 401 401", "api-key 200 401 401", "jwt 200 401 401", "jwt 200 401 401"]);
}
