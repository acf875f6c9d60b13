//! The key for pseudonyms, in a file that nobody else can read.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use classification::actions::{Pseudonymiser, SHORTEST_KEY};

/// No key is longer; what is longer is another file.
const LONGEST: u64 = 4096;

/// Reads a key. Its bytes are taken as they are, without a line's end behind them, so that a key that was written by an
/// editor is the same as one that was not.
///
/// # Errors
/// What is wrong with the file and how to put it right, without a byte of it.
pub(super) fn read(path: &Path) -> Result<Pseudonymiser, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        format!(
            "names the file '{shown}', which cannot be read ({}); make a key with: \
             (umask 077; head -c 32 /dev/urandom | base64 > {shown})",
            error.kind()
        )
    };
    let file = fs::File::open(path).map_err(cannot)?;
    // Of the open file: it cannot be exchanged between the question and the reading.
    let about = file.metadata().map_err(cannot)?;
    if !about.is_file() {
        return Err(format!("names '{shown}', which is not a file"));
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "names the file '{shown}', which others than its owner can use (mode {mode:03o}); run: chmod 600 {shown}"
        ));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("names the file '{shown}', which is over {LONGEST} bytes long and no key"));
    }
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let key = line.strip_suffix(b"\r").unwrap_or(line);
    Pseudonymiser::new(key).map_err(|_| {
        format!(
            "names the file '{shown}', whose key has {} bytes; it must have at least {SHORTEST_KEY} random ones: \
             head -c 32 /dev/urandom | base64",
            key.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_files_of_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let name = path.display().to_string();
        let key = "0123456789abcdef0123456789abcdef";
        for (text, mode, wrong) in [
            (key.to_owned(), 0o600, None),
            (format!("{key}\n"), 0o400, None),
            (format!("{key}\r\n"), 0o600, None),
            (key.to_owned(), 0o640, Some("mode 640); run: chmod 600")),
            (key.to_owned(), 0o604, Some("mode 604")),
            (key.to_owned(), 0o602, Some("mode 602")),
            (key[1..].to_owned(), 0o600, Some("has 31 bytes; it must have at least 32")),
            (format!("{}\n", &key[1..]), 0o600, Some("has 31 bytes")),
            (String::new(), 0o600, Some("has 0 bytes")),
            ("x".repeat(5000), 0o600, Some("over 4096 bytes")),
        ] {
            fs::write(&path, &text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match (read(&path), wrong) {
                (Ok(found), None) => {
                    let same = Pseudonymiser::new(key.as_bytes()).unwrap();
                    assert_eq!(found.hex("d", None, b"v"), same.hex("d", None, b"v"), "{text:?}");
                }
                (Err(problem), Some(wrong)) => {
                    assert!(problem.contains(wrong) && problem.contains(&name), "{problem}");
                    assert!(!problem.contains(&key[1..20]), "{problem}");
                }
                (found, _) => panic!("{mode:o} {text:?}: {found:?}"),
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().contains("make a key with"));
        assert!(read(folder.path()).unwrap_err().contains("is not a file"));
    }
}
