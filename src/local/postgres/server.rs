//! The server process: starting it under its supervisor, and recognising one that is running already.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::account::Account;
use super::binaries::Binaries;
use super::error::LocalPostgresError;

/// Ends the server when our end of its standard input closes.
const SUPERVISOR: &str = include_str!("supervisor.sh");

/// What the server runs with, beside its directory and port.
///
/// Without `fsync` a commit survives the death of PostgreSQL itself, kill -9 too, because the operating system has
/// the pages; it does not survive the death of the operating system. Local mode's data is invented and can be made
/// again, so it takes the speed. `synchronous_commit` and `full_page_writes` stay on: a commit must have left the
/// process, and kill -9 can cut a page in two. Sockets and shared memory are files in the cluster: nothing is left in `/tmp`, and
/// the small `/dev/shm` of a container is enough.
const SETTINGS: [&str; 20] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "ssl=off",
    "password_encryption=scram-sha-256",
    "max_connections=200",
    "shared_buffers=128MB",
    "dynamic_shared_memory_type=mmap",
    "maintenance_work_mem=64MB",
    "fsync=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=1GB",
    "synchronize_seqscans=off",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_destination=stderr",
    "logging_collector=off",
    // A failed statement may hold values: neither it nor its details belong into the log.
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
];

/// Takes away what the caller's environment would do to PostgreSQL's programs, and stands in a directory that the
/// account can enter. In a process group of its own, so that the terminal's Ctrl-C reaches us alone.
pub(super) fn isolate(command: &mut Command, dir: &Path) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").current_dir(dir).process_group(0);
}

/// Starts the server under its supervisor. It runs until the child's standard input is closed.
///
/// `stale_pid` is a process id in `postmaster.pid` that is known not to be a server of this cluster.
pub(super) fn spawn(
    binaries: &Binaries,
    account: Option<&Account>,
    cluster: &Path,
    port: u16,
    stale_pid: Option<u32>,
    log: File,
) -> Result<Child, LocalPostgresError> {
    let log_again = log.try_clone().map_err(LocalPostgresError::io("open the log of", cluster))?;
    let mut command = Command::new("/bin/sh");
    isolate(&mut command, cluster);
    command.args(["-c", SUPERVISOR, "data-exporter-postgres"]).arg(binaries.postgres());
    command.arg("-D").arg(cluster).arg("-p").arg(port.to_string());
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    if let Some(pid) = stale_pid {
        // The way in which pg_ctl says that a process of this id is no server. Removing the file instead would also
        // remove the server's own check for orphans that still write to the cluster.
        command.env("PG_GRANDPARENT_PID", pid.to_string());
    }
    if let Some(account) = account {
        account.dress(&mut command);
    }
    command.stdin(Stdio::piped()).stdout(log).stderr(log_again);
    command.spawn().map_err(|source| LocalPostgresError::Spawn {
        program: "/bin/sh".into(),
        account: account.map(|a| a.name.clone()),
        source,
    })
}

/// Whether process `pid` is a PostgreSQL server of this cluster.
///
/// A server's working directory is its cluster; where there is no `/proc`, its arguments name it.
pub(super) async fn serves(pid: u32, cluster: &Path) -> bool {
    let proc = Path::new("/proc").join(pid.to_string());
    if Path::new("/proc/self/cwd").exists() {
        let in_cluster = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == cluster);
        let program = fs::read(proc.join("cmdline")).unwrap_or_default();
        return in_cluster && program.split(|byte| *byte == 0).next().is_some_and(ends_with_postgres);
    }
    let listed = Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).output().await;
    let arguments = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut words = arguments.split_whitespace();
    words.next().is_some_and(|program| ends_with_postgres(program.as_bytes()))
        && arguments.contains(&format!("-D {}", cluster.display()))
}

fn ends_with_postgres(program: &[u8]) -> bool {
    program.rsplit(|byte| *byte == b'/').next() == Some(b"postgres")
}

/// Asks a server for a fast shutdown.
pub(super) async fn interrupt(pid: u32, account: Option<&Account>) -> Result<(), LocalPostgresError> {
    let mut kill = Command::new("/bin/sh");
    kill.args([OsStr::new("-c"), OsStr::new(r#"kill -INT "$1""#), OsStr::new("sh")]).arg(pid.to_string());
    kill.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(account) = account {
        account.dress(&mut kill);
    }
    // That it has gone in the meantime is what is wanted: the answer does not matter.
    kill.status().await.map(|_| ()).map_err(|source| LocalPostgresError::Spawn {
        program: "/bin/sh".into(),
        account: account.map(|a| a.name.clone()),
        source,
    })
}
