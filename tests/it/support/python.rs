//! Python with pyarrow and DuckDB, for readers that are not ours.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// The Python that `make test` has set up.
pub(crate) fn program() -> String {
    std::env::var("EXPORTER_TEST_PYTHON")
        .expect("EXPORTER_TEST_PYTHON names no Python with pyarrow, duckdb and moto; run the tests by `make test`")
}

/// Runs a script of `tests/readers`; its output, or a panic with everything it said.
pub(crate) fn run<A: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(script);
    let output = Command::new(program()).arg(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}
