//! Python with pyarrow and DuckDB, for readers that are not ours.

use std::process::Command;

/// Runs a script of this folder; its output, or a panic with everything it said.
pub(crate) fn run(script: &str, arguments: &[&std::path::Path]) -> String {
    let python = std::env::var("EXPORTER_TEST_PYTHON")
        .expect("EXPORTER_TEST_PYTHON names a Python with pyarrow and duckdb; run `make test`");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support").join(script);
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}
