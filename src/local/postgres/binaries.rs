//! Finds the PostgreSQL server programs that are installed on this machine.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::error::LocalPostgresError;

/// The oldest major version that the exporter's own schema works on.
const OLDEST: u32 = 13;

/// Names the directory to take the programs from, instead of searching.
const OVERRIDE: &str = "EXPORTER_PG_BIN";

/// A directory with `initdb` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    dir: PathBuf,
    /// The major version, such as 15.
    major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// The programs for a cluster: those of the major version that made it, or, for a new one, the first found.
    ///
    /// # Errors
    /// Nothing usable is installed, or nothing of the cluster's version.
    pub(super) async fn find(cluster: &Path, made_by: Option<u32>) -> Result<Self, LocalPostgresError> {
        let found = match env::var_os(OVERRIDE).filter(|value| !value.is_empty()) {
            Some(dir) => vec![overriding(Path::new(&dir)).await?],
            None => search().await,
        };
        choose(found, cluster, made_by)
    }
}

fn choose(found: Vec<Binaries>, cluster: &Path, made_by: Option<u32>) -> Result<Binaries, LocalPostgresError> {
    let mut usable = found.iter().filter(|one| one.major >= OLDEST);
    let Some(made_by) = made_by else {
        return usable.next().cloned().ok_or(LocalPostgresError::BinariesNotFound { oldest: OLDEST });
    };
    if let Some(same) = found.iter().find(|one| one.major == made_by) {
        return Ok(same.clone());
    }
    if usable.next().is_none() {
        return Err(LocalPostgresError::BinariesNotFound { oldest: OLDEST });
    }
    let mut majors: Vec<u32> = found.iter().map(|one| one.major).collect();
    majors.dedup();
    let installed = majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    Err(LocalPostgresError::OtherVersion { cluster: cluster.to_owned(), made_by, installed })
}

async fn overriding(dir: &Path) -> Result<Binaries, LocalPostgresError> {
    let unusable = |detail: String| LocalPostgresError::BinariesUnusable { dir: dir.to_owned(), detail };
    let home = home_of(dir).ok_or_else(|| unusable("it does not have both initdb and postgres".to_owned()))?;
    match inspect(home).await {
        Some(found) if found.major >= OLDEST => Ok(found),
        Some(found) => Err(unusable(format!("that is PostgreSQL {}, and {OLDEST} or later is needed", found.major))),
        None => Err(unusable("its postgres does not run (`postgres --version` failed)".to_owned())),
    }
}

/// Every installation that we know how to look for, in the order of preference, each once.
async fn search() -> Vec<Binaries> {
    let mut dirs: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output().await {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    dirs.extend(versioned(Path::new("/usr/lib/postgresql"), ""));
    dirs.extend(versioned(Path::new("/usr"), "pgsql-"));
    dirs.push(PathBuf::from("/usr/local/pgsql/bin"));

    let mut homes: Vec<PathBuf> = Vec::new();
    for home in dirs.iter().filter_map(|dir| home_of(dir)) {
        if !homes.contains(&home) {
            homes.push(home);
        }
    }
    let mut found = Vec::new();
    for home in homes {
        found.extend(inspect(home).await);
    }
    found
}

/// `parent/{prefix}{major}/bin`, newest first.
fn versioned(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut majors: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    majors.sort_by(|a, b| b.cmp(a));
    majors.into_iter().map(|(_, bin)| bin).collect()
}

/// The real directory of the programs: PATH often has links only, and only some of them.
fn home_of(dir: &Path) -> Option<PathBuf> {
    if !dir.is_absolute() && dir.as_os_str() == OsStr::new("") {
        return None;
    }
    let home = fs::canonicalize(dir.join("initdb")).ok()?.parent()?.to_owned();
    home.join("postgres").is_file().then_some(home)
}

async fn inspect(home: PathBuf) -> Option<Binaries> {
    let output = Command::new(home.join("postgres")).arg("--version").output().await.ok()?;
    let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
    Some(Binaries { dir: home, major })
}

/// The major version in the likes of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` and `17beta1`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split(") ").nth(1)?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(majors: &[u32]) -> Vec<Binaries> {
        majors.iter().map(|&major| Binaries { dir: PathBuf::from(format!("/pg/{major}/bin")), major }).collect()
    }

    #[test]
    fn versions_as_postgres_writes_them() {
        for (text, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18.1\n", Some(18)),
            ("postgres (PostgreSQL) 19beta2\n", Some(19)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("", None),
            ("command not found", None),
        ] {
            assert_eq!(major_of(text), major, "{text}");
        }
    }

    #[test]
    fn a_cluster_gets_the_version_that_made_it_and_a_new_one_the_first() {
        let cluster = Path::new("/data/cluster");
        for (installed, made_by, chosen) in [
            (&[17, 15][..], None, Some(17)),
            (&[17, 15], Some(15), Some(15)),
            (&[12, 14], None, Some(14)),
            (&[17, 15], Some(16), None),
            (&[12], None, None),
            (&[], Some(15), None),
        ] {
            let got = choose(of(installed), cluster, made_by);
            assert_eq!(got.as_ref().ok().map(|b| b.major), chosen, "{installed:?} for {made_by:?}: {got:?}");
        }
    }

    #[test]
    fn the_error_names_both_ways_out() {
        let text = choose(vec![], Path::new("/data"), None).unwrap_err().to_string();
        assert!(text.contains("apt-get install postgresql") && text.contains("EXPORTER_PG_BIN"), "{text}");
        let text = choose(of(&[17]), Path::new("/data"), Some(15)).unwrap_err().to_string();
        assert!(text.contains("made by PostgreSQL 15") && text.contains("only 17"), "{text}");
    }

    #[test]
    fn links_lead_to_the_real_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (real, linked) = (dir.path().join("real"), dir.path().join("linked"));
        fs::create_dir_all(&real).unwrap();
        fs::create_dir_all(&linked).unwrap();
        fs::write(real.join("initdb"), "").unwrap();
        std::os::unix::fs::symlink(real.join("initdb"), linked.join("initdb")).unwrap();
        assert_eq!(home_of(&linked), None, "initdb alone is a client package");
        fs::write(real.join("postgres"), "").unwrap();
        assert_eq!(home_of(&linked), Some(fs::canonicalize(&real).unwrap()));
        assert_eq!(home_of(Path::new("")), None);
    }

    #[test]
    fn newest_version_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["9.6", "13", "17", "common"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let names: Vec<_> = versioned(dir.path(), "");
        assert_eq!(names, [dir.path().join("17/bin"), dir.path().join("13/bin")]);
    }
}
