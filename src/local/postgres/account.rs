//! Under which account the server runs: PostgreSQL refuses to be root, so root lends it an unprivileged one.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::error::LocalPostgresError;

/// An account that root runs the server as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

/// Accounts that may serve, in the order of preference.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// The effective user id of this process.
///
/// A fresh file in `dir` tells it: the standard library does not.
pub(super) fn own_uid(dir: &Path) -> Result<u32, LocalPostgresError> {
    let probe = tempfile::tempfile_in(dir).map_err(LocalPostgresError::io("write in", dir))?;
    Ok(probe.metadata().map_err(LocalPostgresError::io("look at", dir))?.uid())
}

impl Account {
    /// The account for the server, or `None` to run it as ourselves, which is so for everybody but root.
    ///
    /// # Errors
    /// The cluster is somebody else's, or root finds no unprivileged account.
    pub(super) fn choose(dir: &Path, cluster: &Path) -> Result<Option<Self>, LocalPostgresError> {
        let own = own_uid(dir)?;
        let owner = fs::metadata(cluster).ok().map(|meta| (meta.uid(), meta.gid()));
        match owner {
            Some((uid, _)) if own != 0 && uid != own => {
                Err(LocalPostgresError::ForeignOwner { cluster: cluster.to_owned(), owner: uid })
            }
            _ if own != 0 => Ok(None),
            // A cluster that an ordinary user made stays that user's.
            Some((uid, gid)) if uid != 0 => Ok(Some(Self { name: format!("user id {uid}"), uid, gid })),
            _ => {
                let passwd = Path::new("/etc/passwd");
                let text = fs::read_to_string(passwd).map_err(LocalPostgresError::io("read", passwd))?;
                lookup(&text).map(Some).ok_or(LocalPostgresError::NoAccount)
            }
        }
    }

    /// Lets a command run as this account.
    pub(super) fn dress(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives one file to this account.
    pub(super) fn give(&self, path: &Path) -> Result<(), LocalPostgresError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(LocalPostgresError::io("change the owner of", path))
    }

    /// Gives a directory with all that is in it to this account, if it is root's. Links are not followed.
    pub(super) fn give_tree(&self, path: &Path) -> Result<(), LocalPostgresError> {
        let meta = fs::symlink_metadata(path).map_err(LocalPostgresError::io("look at", path))?;
        if meta.uid() != 0 {
            return Ok(());
        }
        if meta.is_dir() {
            for entry in fs::read_dir(path).map_err(LocalPostgresError::io("list", path))? {
                self.give_tree(&entry.map_err(LocalPostgresError::io("list", path))?.path())?;
            }
        }
        lchown(path, Some(self.uid), Some(self.gid)).map_err(LocalPostgresError::io("change the owner of", path))
    }

    /// Checks, as this account, that it may enter every directory on the way to `dir`, and run `program`.
    ///
    /// # Errors
    /// Names the first one that is closed. Modes alone would not tell: there are access lists too.
    pub(super) async fn check_reach(&self, dir: &Path, program: &Path) -> Result<(), LocalPostgresError> {
        const AWAY: &str = "choose a data directory that other accounts may enter, such as one below /var/tmp, with \
                            --data-dir or EXPORTER_DATA_DIR";
        const INSTALL: &str = "install PostgreSQL where other accounts may run it (`apt-get install postgresql`)";
        for (wanted, way_out) in [(dir, AWAY), (program, INSTALL)] {
            let mut way: Vec<&Path> = wanted.ancestors().collect();
            way.reverse();
            if let Some(blocked) = self.first_closed(&way).await? {
                return Err(LocalPostgresError::Unreachable {
                    account: self.name.clone(),
                    blocked,
                    wanted: wanted.to_owned(),
                    way_out,
                });
            }
        }
        Ok(())
    }

    async fn first_closed(&self, way: &[&Path]) -> Result<Option<PathBuf>, LocalPostgresError> {
        let mut test = Command::new("/bin/sh");
        test.arg("-c").arg(r#"n=0; for path; do [ -x "$path" ] || exit $((n + 1)); n=$((n + 1)); done"#).arg("reach");
        test.args(way).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.dress(&mut test);
        let status = test.status().await.map_err(|source| LocalPostgresError::Spawn {
            program: "/bin/sh".into(),
            account: Some(self.name.clone()),
            source,
        })?;
        let closed = status.code().and_then(|code| usize::try_from(code).ok()).filter(|&code| code > 0);
        Ok(closed.and_then(|code| way.get(code - 1)).map(|path| (*path).to_owned()))
    }
}

/// Finds a candidate in the text of `/etc/passwd`. Root under another name is no candidate.
fn lookup(passwd: &str) -> Option<Account> {
    CANDIDATES.iter().find_map(|&wanted| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|&name| name == wanted)?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (uid != 0).then(|| Account { name: name.to_owned(), uid, gid })
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn accounts_in_the_order_of_preference() {
        let nobody = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        let both = format!("{nobody}postgres:x:101:104:admin,,,:/var/lib/postgresql:/bin/bash\n");
        for (passwd, expected) in [
            (both.as_str(), Some(("postgres", 101, 104))),
            (nobody, Some(("nobody", 65534, 65533))),
            ("root:x:0:0::/root:/bin/sh\n", None),
            ("postgres:x:0:0::/:/bin/sh\n", None),
            ("postgres:x\nnobody:x:a:b\n", None),
        ] {
            let expected = expected.map(|(name, uid, gid)| Account { name: name.to_owned(), uid, gid });
            assert_eq!(lookup(passwd), expected, "{passwd}");
        }
    }

    #[tokio::test]
    async fn a_closed_directory_on_the_way_is_named() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let inner = dir.path().join("closed/open");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if own_uid(dir.path()).unwrap() != 0 {
            return; // only root lends accounts
        }
        let account = lookup(&fs::read_to_string("/etc/passwd").unwrap()).unwrap();
        let sh = Path::new("/bin/sh");
        account.check_reach(&inner, sh).await.unwrap();

        let closed = dir.path().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let error = account.check_reach(&inner, sh).await.unwrap_err();
        assert!(matches!(&error, LocalPostgresError::Unreachable { blocked, .. } if *blocked == closed), "{error}");
        assert!(error.to_string().contains("EXPORTER_DATA_DIR"), "{error}");
        let error = account.check_reach(dir.path(), &inner.join("postgres")).await.unwrap_err();
        assert!(matches!(&error, LocalPostgresError::Unreachable { blocked, .. } if *blocked == closed), "{error}");
    }
}
