//! What keeps local mode's PostgreSQL from running, and the way out of each.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{ErrorCode, Failure};

/// Why the private PostgreSQL could not be started, used or stopped. Never holds the password.
#[derive(Debug, thiserror::Error)]
pub enum LocalPostgresError {
    /// No PostgreSQL server is installed where we look.
    #[error(
        "no PostgreSQL server (initdb and postgres, version {oldest} or later) was found in PATH, by pg_config or in \
         /usr/lib/postgresql; install one (`apt-get install postgresql`), or set EXPORTER_PG_BIN to the directory that \
         has them"
    )]
    BinariesNotFound {
        /// The oldest major version that will do.
        oldest: u32,
    },
    /// `EXPORTER_PG_BIN` points to a directory without a usable server.
    #[error("EXPORTER_PG_BIN is '{}', but {detail}; correct it, or unset it and `apt-get install postgresql`", dir.display())]
    BinariesUnusable {
        /// The directory as given.
        dir: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The cluster in the data directory was made by a major version that is not installed.
    #[error(
        "'{}' was made by PostgreSQL {made_by}, and only {installed} was found; install PostgreSQL {made_by}, set \
         EXPORTER_PG_BIN to it, or remove the directory to begin anew", cluster.display()
    )]
    OtherVersion {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The major version that made it.
        made_by: u32,
        /// The major versions that were found, as a list.
        installed: String,
    },
    /// Another exporter uses the data directory.
    #[error(
        "another exporter is using '{}'; stop it, or choose another directory with --data-dir or EXPORTER_DATA_DIR",
        dir.display()
    )]
    Busy {
        /// The data directory.
        dir: PathBuf,
    },
    /// We are root, and there is no account to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither an account 'postgres' nor 'nobody' in /etc/passwd; \
         create one (`useradd --system postgres`), or run the exporter as an ordinary user"
    )]
    NoAccount,
    /// We are root, and the server's account cannot get to a path.
    #[error(
        "PostgreSQL refuses to run as root and runs as '{account}', which cannot enter '{}' on the way to '{}'; \
         {way_out}, or allow it with `chmod o+x {}`", blocked.display(), wanted.display(), blocked.display()
    )]
    Unreachable {
        /// The account.
        account: String,
        /// The first directory (or program) on the way that it may not enter (or run).
        blocked: PathBuf,
        /// What it has to get to.
        wanted: PathBuf,
        /// What else can be done.
        way_out: &'static str,
    },
    /// The cluster belongs to somebody else.
    #[error(
        "'{}' belongs to user id {owner}, not to this user; run the exporter as that user, or choose another directory \
         with --data-dir or EXPORTER_DATA_DIR", cluster.display()
    )]
    ForeignOwner {
        /// The cluster's directory.
        cluster: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A file of ours could not be read or written.
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// A verb, such as `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot run '{}'{}: {source}", program.display(), as_account(account))]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The account it was to run as, where that is not ours.
        account: Option<String>,
        /// The operating system's answer.
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("PostgreSQL could not create its files in '{}'; initdb said:\n{output}", cluster.display())]
    InitFailed {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The last lines that it wrote.
        output: String,
    },
    /// The server ended, or was not ready in time.
    #[error("the private PostgreSQL {what}; the end of its log '{}' is:\n{tail}", log.display())]
    NotReady {
        /// What it did instead.
        what: String,
        /// The log file.
        log: PathBuf,
        /// Its last lines, of this start only.
        tail: String,
    },
    /// The password file does not fit the cluster.
    #[error(
        "'{}' is missing, empty, or not this cluster's; restore it, or remove '{}' to begin anew",
        password.display(), cluster.display()
    )]
    PasswordLost {
        /// The password file.
        password: PathBuf,
        /// The cluster's directory.
        cluster: PathBuf,
    },
    /// A server of a killed exporter does not end.
    #[error("the PostgreSQL of an earlier run (process {pid}) is still using '{}'; end it with `kill -QUIT {pid}`", cluster.display())]
    StillRunning {
        /// Its process id.
        pid: u32,
        /// The cluster's directory.
        cluster: PathBuf,
    },
    /// The server did not end when told to.
    #[error("the private PostgreSQL did not stop within {seconds} s; the end of its log '{}' is:\n{tail}", log.display())]
    NotStopped {
        /// How long it was given.
        seconds: u64,
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A statement of ours failed.
    #[error("the private PostgreSQL could not {action}: {source}")]
    Sql {
        /// What was to be done.
        action: String,
        /// The server's answer.
        source: sqlx::Error,
    },
}

fn as_account(account: &Option<String>) -> String {
    account.as_ref().map(|name| format!(" as '{name}'")).unwrap_or_default()
}

impl LocalPostgresError {
    /// The stable code for the outside.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::LocalSetupFailed
    }

    /// Wraps the operating system's answer; made for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl From<LocalPostgresError> for Failure {
    fn from(error: LocalPostgresError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}
