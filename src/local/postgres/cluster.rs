//! The data directory: its lock, its password, the cluster in it, and what an earlier run may have left behind.
//!
//! ```text
//! data_dir/exporter.lock    held while an exporter uses the directory
//!          password         of the server's only role; mode 0600
//!          postgres.log     what the server writes
//!          cluster/         PostgreSQL's own directory, mode 0700
//!          cluster.new/     one that initdb has not finished; removed at the next start
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;

use super::account::Account;
use super::binaries::Binaries;
use super::error::LocalPostgresError;
use super::{ROLE, server};

/// A log longer than this is begun anew at the next start.
const LOG_LIMIT: u64 = 8 << 20;

/// How long the server of a killed exporter is given to end before we ask it to, and after.
const LEFTOVER_ROUNDS: u32 = 150;
const LEFTOVER_ROUND: Duration = Duration::from_millis(200);

/// The data directory, locked: no other exporter uses it while this lives.
#[derive(Debug)]
pub(super) struct DataDir {
    dir: PathBuf,
    lock: File,
}

impl DataDir {
    /// Creates the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// Another exporter holds it, or it cannot be created.
    pub(super) fn open(dir: &Path) -> Result<Self, LocalPostgresError> {
        // Others may pass through but not look around: root's server runs under another account.
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o711).create(dir).map_err(LocalPostgresError::io("create", dir))?;
        let dir = fs::canonicalize(dir).map_err(LocalPostgresError::io("resolve", dir))?;

        let path = dir.join("exporter.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(LocalPostgresError::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, lock }),
            Err(TryLockError::WouldBlock) => Err(LocalPostgresError::Busy { dir }),
            Err(TryLockError::Error(source)) => Err(LocalPostgresError::Io { action: "lock", path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The major version that made the cluster, or `None` if there is none yet.
    pub(super) fn made_by(&self) -> Option<u32> {
        fs::read_to_string(self.cluster().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    pub(super) fn password_lost(&self) -> LocalPostgresError {
        LocalPostgresError::PasswordLost { password: self.password_file(), cluster: self.cluster() }
    }

    /// The password of the cluster that is there.
    pub(super) fn password(&self) -> Result<SecretString, LocalPostgresError> {
        let text = fs::read_to_string(self.password_file()).unwrap_or_default();
        let text = text.trim();
        if text.is_empty() { Err(self.password_lost()) } else { Ok(SecretString::from(text.to_owned())) }
    }

    /// Creates the cluster. It gets its final name only when it is whole, so that a killed `initdb` leaves no ruin.
    pub(super) async fn create_cluster(
        &self,
        binaries: &Binaries,
        account: Option<&Account>,
    ) -> Result<(), LocalPostgresError> {
        let (new, handed) = (self.dir.join("cluster.new"), self.dir.join("password.new"));
        let password = SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), 32));
        write_secret(&self.password_file(), &password)?;

        let mut output = String::new();
        for locale in ["C.UTF-8", "C"] {
            remove_dir(&new)?;
            DirBuilder::new().mode(0o700).create(&new).map_err(LocalPostgresError::io("create", &new))?;
            write_secret(&handed, &password)?;
            let mut initdb = Command::new(binaries.initdb());
            initdb.arg("--pgdata").arg(&new).arg("--pwfile").arg(&handed);
            initdb.args([
                "--username",
                ROLE,
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-sync",
                "--locale",
                locale,
            ]);
            if let Some(account) = account {
                account.give(&new)?;
                account.give(&handed)?;
                account.dress(&mut initdb);
            }
            server::isolate(&mut initdb, &self.dir);
            initdb.stdin(Stdio::null()).kill_on_drop(true);
            let ended = initdb.output().await;
            fs::remove_file(&handed).map_err(LocalPostgresError::io("remove", &handed))?;
            let ended = ended.map_err(|source| LocalPostgresError::Spawn {
                program: binaries.initdb(),
                account: account.map(|a| a.name.clone()),
                source,
            })?;
            if ended.status.success() {
                let cluster = self.cluster();
                return fs::rename(&new, &cluster).map_err(LocalPostgresError::io("create", &cluster));
            }
            output = last_lines(&[ended.stdout, ended.stderr].concat());
        }
        remove_dir(&new)?;
        Err(LocalPostgresError::InitFailed { cluster: self.cluster(), output })
    }

    /// Waits for the server of an earlier run to end, and tells it to.
    ///
    /// Returns the process id in a `postmaster.pid` that names a process which is not this cluster's server:
    /// PostgreSQL has to be told that it is none.
    pub(super) async fn end_leftover(&self, account: Option<&Account>) -> Result<Option<u32>, LocalPostgresError> {
        let cluster = self.cluster();
        let path = cluster.join("postmaster.pid");
        for round in 0..LEFTOVER_ROUNDS {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(LocalPostgresError::Io { action: "read", path, source }),
            };
            let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else {
                // Cut off by a full disk, say: PostgreSQL would stop at it, and no server writes such a file.
                fs::remove_file(&path).map_err(LocalPostgresError::io("remove", &path))?;
                return Ok(None);
            };
            if !server::serves(pid, &cluster).await {
                return Ok(Some(pid));
            }
            // Its supervisor ends it by itself within a moment of its exporter's death.
            if round >= 5 {
                server::interrupt(pid, account).await?;
            }
            tokio::time::sleep(LEFTOVER_ROUND).await;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        match text.lines().next().and_then(|line| line.trim().parse().ok()) {
            Some(pid) if server::serves(pid, &cluster).await => Err(LocalPostgresError::StillRunning { pid, cluster }),
            other => Ok(other),
        }
    }

    /// The log, opened for appending, and where this start's part of it begins.
    pub(super) fn open_log(&self) -> Result<(File, u64), LocalPostgresError> {
        let path = self.log();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(LocalPostgresError::io("open", &path))?;
        let length = log.metadata().map_err(LocalPostgresError::io("look at", &path))?.len();
        if length <= LOG_LIMIT {
            return Ok((log, length));
        }
        log.set_len(0).map_err(LocalPostgresError::io("shorten", &path))?;
        Ok((log, 0))
    }

    /// The last lines of the log from `start` on.
    pub(super) fn log_tail(&self, start: u64) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut log = File::open(self.log())?;
            log.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            log.take(LOG_LIMIT).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        last_lines(&read().unwrap_or_default())
    }
}

impl Drop for DataDir {
    /// A child that another thread has forked and that has not become its program yet holds a copy of the lock's
    /// descriptor: closing ours would not free it, unlocking does.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

fn remove_dir(path: &Path) -> Result<(), LocalPostgresError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LocalPostgresError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn write_secret(path: &Path, secret: &SecretString) -> Result<(), LocalPostgresError> {
    let write = || -> io::Result<()> {
        // A new file always: an old one might have another mode, or be open elsewhere.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        writeln!(file, "{}", secret.expose_secret())
    };
    write().map_err(LocalPostgresError::io("write", path))
}

/// The last lines of a program's output, without endless ones.
fn last_lines(bytes: &[u8]) -> String {
    const LINES: usize = 12;
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    let tail: Vec<String> = tail.iter().map(|line| line.chars().take(300).collect()).collect();
    if tail.is_empty() { "(nothing)".to_owned() } else { tail.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_exporter_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(&dir.path().join("a/b")).unwrap();
        let error = DataDir::open(&dir.path().join("a/b")).unwrap_err();
        assert!(matches!(error, LocalPostgresError::Busy { .. }), "{error}");
        drop(first);
        DataDir::open(&dir.path().join("a/b")).unwrap();
    }

    #[test]
    fn the_tail_is_short() {
        let many: String = (0..40).map(|n| format!("line {n}\n\n")).collect();
        let tail = last_lines(many.as_bytes());
        assert_eq!(tail.lines().count(), 12);
        assert!(tail.ends_with("line 39"), "{tail}");
        assert_eq!(last_lines(b""), "(nothing)");
        assert_eq!(last_lines("é".repeat(1000).as_bytes()).chars().count(), 300);
    }

    #[test]
    fn the_tail_is_of_this_start_and_long_logs_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        data.open_log().unwrap().0.write_all(b"earlier\n").unwrap();
        let (mut log, start) = data.open_log().unwrap();
        log.write_all(b"now\n").unwrap();
        assert_eq!(data.log_tail(start), "now");
        log.set_len(LOG_LIMIT + 1).unwrap();
        assert_eq!(data.open_log().unwrap().1, 0);
        assert_eq!(fs::metadata(data.log()).unwrap().len(), 0);
    }

    #[test]
    fn a_password_is_for_its_owner_only_and_its_loss_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        assert!(matches!(data.password(), Err(LocalPostgresError::PasswordLost { .. })));
        fs::write(data.password_file(), "old").unwrap();
        write_secret(&data.password_file(), &SecretString::from("canary")).unwrap();
        assert_eq!(fs::metadata(data.password_file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(data.password().unwrap().expose_secret(), "canary");
    }

    #[tokio::test]
    async fn a_pid_file_of_another_process_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let pid_file = data.cluster().join("postmaster.pid");
        fs::create_dir(data.cluster()).unwrap();
        for (text, expected) in [
            (format!("{}\n{}\n", std::process::id(), data.cluster().display()), Some(std::process::id())),
            ("4000000\n/elsewhere\n".to_owned(), Some(4_000_000)),
            (String::new(), None),
            ("nonsense\n".to_owned(), None),
        ] {
            fs::write(&pid_file, &text).unwrap();
            assert_eq!(data.end_leftover(None).await.unwrap(), expected, "{text:?}");
            assert_eq!(pid_file.exists(), expected.is_some(), "{text:?}");
        }
    }
}
