#!/usr/bin/env bash
# Runs everything that CI runs: formatting, every test, lints. Closes with one line that sums up all test programs.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
if cargo fmt --version >/dev/null 2>&1; then
  cargo fmt --all --check || { echo "formatting differs; run: cargo fmt --all" >&2; failed=1; }
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace --no-fail-fast "$@" </dev/null 2>&1 | tee "$log"
[ "${PIPESTATUS[0]}" = 0 ] || failed=1
if [ "$#" = 0 ] && cargo clippy --version >/dev/null 2>&1; then
  cargo clippy --workspace --all-targets --quiet -- -D warnings || failed=1
fi
# What failed, once more, where whoever looks at the end finds it.
awk '/^---- .* stdout ----$/ { shown = 1 } /^stack backtrace:|^failures:$|^test result:/ { shown = 0 }
     shown || /^bar missed / { print substr($0, 1, 2000) }' "$log" >&2
awk '/^test result:/ { for (i = 1; i <= NF; i++) { if ($i == "passed;") p += $(i-1); if ($i == "failed;") f += $(i-1); if ($i == "ignored;") s += $(i-1) } }
     END { printf "\n%d passed, %d failed, %d skipped\n", p, f, s; exit p == 0 }' "$log" || failed=1
exit "$failed"
