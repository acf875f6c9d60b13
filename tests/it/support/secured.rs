//! A PostgreSQL of its own for a test: with TLS, a socket of the machine, and an account for each way to log in.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_exporter::local::postgres::{PostgresOptions, PrivatePostgres};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm,
};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

/// Ends the server when its standard input ends, which it does with this process; and ends with it.
const SUPERVISOR: &str = include_str!("../../../src/local/postgres/supervisor.sh");

/// Who may log in how; the names say it.
const HBA: &str = "
host    all by_trust     all trust
host    all by_md5       all md5
host    all by_scram     all scram-sha-256
host    all by_cleartext all password
host    all by_nothing   all reject
hostssl all by_certificate all cert
local   all all              trust
host    all exporter     all scram-sha-256
";

/// The password of every account.
pub(crate) const PASSWORD: &str = "pass: wörd/?#%";

/// A running server.
pub(crate) struct Secured {
    /// Its port, on every address of the machine itself.
    pub(crate) port: u16,
    folder: TempDir,
    server: Child,
}

impl Drop for Secured {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

/// A certificate for a name, and its key, by this authority.
fn certificate(
    name: &str,
    algorithm: &'static SignatureAlgorithm,
    by: &CertifiedIssuer<'_, KeyPair>,
) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

fn authority(algorithm: &'static SignatureAlgorithm) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority for tests");
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm).unwrap()).unwrap()
}

impl Secured {
    /// A server whose certificate, for `localhost`, is signed by an authority of this algorithm.
    pub(crate) async fn start(algorithm: &'static SignatureAlgorithm) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The cluster is made, and the accounts in it, as local mode does it.
        let plain = PrivatePostgres::start(PostgresOptions::new(folder.path())).await.unwrap();
        let url = secrecy::ExposeSecret::expose_secret(&plain.admin_url()).to_owned();
        let mut sql = PgConnection::connect(&url).await.unwrap();
        let quoted = PASSWORD.replace('\'', "''");
        let accounts = format!(
            "CREATE ROLE by_trust LOGIN; CREATE ROLE by_certificate LOGIN; CREATE ROLE by_nothing LOGIN;
             CREATE ROLE by_scram LOGIN PASSWORD '{quoted}'; CREATE ROLE by_cleartext LOGIN PASSWORD '{quoted}';
             SET password_encryption = md5; CREATE ROLE by_md5 LOGIN PASSWORD '{quoted}';
             CREATE TABLE numbers AS SELECT g::bigint AS id FROM generate_series(1, 1000) g;
             CREATE VIEW first_then_silent AS
               SELECT id FROM (SELECT generate_series(1, 1000000000)::bigint AS id) g WHERE id < 100000;
             GRANT SELECT ON numbers, first_then_silent TO PUBLIC"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(accounts)).execute(&mut sql).await.unwrap();
        sql.close().await.unwrap();
        plain.stop().await.unwrap();

        let cluster = cluster(folder.path());
        let (authority, stranger) = (authority(algorithm), authority(&PKCS_ECDSA_P256_SHA256));
        let (chain, key) = certificate("localhost", &PKCS_ECDSA_P256_SHA256, &authority);
        let (client, client_key) = certificate("by_certificate", &PKCS_ECDSA_P256_SHA256, &authority);
        for (place, text) in [
            (cluster.join("server.crt"), chain),
            (cluster.join("server.key"), key),
            (cluster.join("root.crt"), authority.pem()),
            (cluster.join("pg_hba.conf"), HBA.to_owned()),
            (folder.path().join("root.pem"), authority.pem()),
            (folder.path().join("stranger.pem"), stranger.pem()),
            (folder.path().join("client.pem"), client),
            (folder.path().join("client.key"), client_key),
        ] {
            fs::write(&place, text).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
            if place.starts_with(&cluster) {
                let owner = fs::metadata(&cluster).unwrap();
                chown(&place, Some(owner.uid()), Some(owner.gid())).unwrap();
            }
        }
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut server = run(&cluster, port);
            if answers(&mut server, port).await {
                return Self { port, folder, server };
            }
        }
        panic!("the server with TLS does not start");
    }

    /// A file beside the cluster: `root.pem`, `stranger.pem`, `client.pem`, `client.key`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The folder of its socket.
    pub(crate) fn socket(&self) -> String {
        cluster(self.folder.path()).display().to_string()
    }
}

/// Waits until it answers; false where it has ended, since somebody else has taken its port.
async fn answers(server: &mut Child, port: u16) -> bool {
    let start = Instant::now();
    let url = format!("postgres://by_trust@localhost:{port}/postgres?sslmode=require");
    while server.try_wait().unwrap().is_none() {
        if PgConnection::connect(&url).await.is_ok() {
            return true;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the server with TLS does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

fn cluster(folder: &Path) -> PathBuf {
    folder.join("cluster")
}

/// Starts the program that ran this cluster before, as the account that owns it.
fn run(cluster: &Path, port: u16) -> Child {
    use std::os::unix::process::CommandExt;
    let before = fs::read_to_string(cluster.join("postmaster.opts")).unwrap();
    let program = before.split(' ').next().unwrap();
    let owner = fs::metadata(cluster).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SUPERVISOR, "postgres-for-tests", program, "-D"]).arg(cluster);
    let socket = format!("unix_socket_directories={}", cluster.display());
    for setting in [
        format!("port={port}").as_str(),
        "listen_addresses=127.0.0.1",
        socket.as_str(),
        "ssl=on",
        "ssl_ca_file=root.crt",
        "fsync=off",
        "dynamic_shared_memory_type=mmap",
        "shared_buffers=16MB",
    ] {
        command.args(["-c", setting]);
    }
    if fs::metadata("/proc/self").unwrap().uid() != owner.uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
