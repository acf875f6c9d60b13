#!/usr/bin/env bash
# Fuzzes one target of fuzz/ for a while, guided by coverage: scripts/fuzz.sh [TARGET [SECONDS]]. It builds with the
# ordinary tool chain and the passes that cargo-fuzz uses, so that neither nightly nor another tool is needed. What it
# learns is kept in fuzz/corpus/TARGET; a text that breaks a law is left in fuzz/artifacts/TARGET, and its place among
# the seeds makes it a test.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-documents}
seconds=${2:-60}
[ -f "fuzz/$target.rs" ] || { echo "fuzz: there is no target '$target'; see fuzz/Cargo.toml" >&2; exit 2; }
command -v c++ >/dev/null || { echo "fuzz: no C++ compiler, which libFuzzer needs; run: sudo apt-get install g++" >&2; exit 2; }
triple=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}/fuzz
passes="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
passes="$passes -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg=fuzzing"
RUSTFLAGS="${RUSTFLAGS:-} $passes" CARGO_TARGET_DIR=$folder \
  cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$triple" --bin "$target"
mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
dictionary=()
[ -f "fuzz/$target.dict" ] && dictionary=("-dict=fuzz/$target.dict")
exec "$folder/$triple/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
  -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" "${dictionary[@]}" \
  "fuzz/corpus/$target" "fuzz/seeds/$target"
