#!/usr/bin/env bash
# Runs every test, and closes with one line that sums up all test programs.
set -uo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check || { echo "formatting differs; run: cargo fmt --all" >&2; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace "$@" </dev/null 2>&1 | tee "$log"
code=${PIPESTATUS[0]}
awk '/^test result:/ { for (i = 1; i <= NF; i++) { if ($i == "passed;") p += $(i-1); if ($i == "failed;") f += $(i-1); if ($i == "ignored;") s += $(i-1) } }
     END { printf "\n%d passed, %d failed, %d skipped\n", p, f, s; if (p == 0) exit 1 }' "$log" || exit 1
exit "$code"
