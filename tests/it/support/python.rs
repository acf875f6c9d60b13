//! Python with pyarrow and DuckDB, for readers that are not ours.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python that `make test` has set up.
pub(crate) fn program() -> String {
    std::env::var("EXPORTER_TEST_PYTHON")
        .expect("EXPORTER_TEST_PYTHON names no Python with pyarrow, duckdb and moto; run the tests by `make test`")
}

/// Compares a Parquet file with what the server says of its columns, by pyarrow and by DuckDB; what they said. Where
/// `EXPORTER_TEST_READER_FILES` names a folder, both files are left there as well, for readers that are too heavy for
/// every run.
pub(crate) fn compare_types(name: &str, path: &Path, expected: &Path) -> String {
    if let Some(folder) = std::env::var_os("EXPORTER_TEST_READER_FILES") {
        let folder = Path::new(&folder);
        std::fs::copy(path, folder.join(name).with_extension("parquet")).unwrap();
        std::fs::copy(expected, folder.join(name).with_extension("json")).unwrap();
    }
    run("compare_types.py", [path, expected])
}

/// Runs a script of `tests/readers`; its output, or a panic with everything it said.
pub(crate) fn run<A: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> String {
    said(command(&readers().join(script)).args(arguments))
}

/// Runs a program in a folder; its output, or a panic with everything it said.
pub(crate) fn run_text(text: &str, folder: &Path) -> String {
    let script = folder.join("program.py");
    std::fs::write(&script, text).unwrap();
    said(command(&script).current_dir(folder))
}

fn readers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers")
}

fn command(script: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg(readers().join("run.py")).arg(script);
    command
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}
