#!/usr/bin/env bash
# Measures an export beside COPY thrown away, in one run; see benches/export.py for its arguments. With the one argument
# "endpoint": how long hostile documents and foreign ids take. With "state" first: the endpoint and the queue with a million
# old jobs; see benches/state.py for the arguments behind it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --profile measure --bin data-exporter
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
program=$target/measure/data-exporter
if [ "${1:-}" = state ]; then
  exec python3 benches/state.py "$program" "${@:2}"
fi
if [ "${1:-}" != endpoint ]; then
  exec python3 benches/export.py "$program" "$@"
fi
# The endpoint: the same tests as ever, against this program, often enough for figures. They print; they judge no time.
export EXPORTER_TEST_PROGRAM=$program BENCH_REQUESTS=${BENCH_REQUESTS:-2000}
for test in hostile::ten_thousand_hostile_documents_change_nothing foreign_ids::how_long_a_foreign_and_an_unknown_id_take; do
  cargo test --quiet --test it -- --exact "$test" --nocapture --test-threads=1
done
