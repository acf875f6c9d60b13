#!/usr/bin/env bash
# Measures an export beside COPY thrown away, in one run; see benches/export.py for its arguments. With "peers" first: the
# exporter beside other programs that do the same, see benches/peers.py. With "state" first: the endpoint and the queue with a
# million old jobs, see benches/state.py. With "memory" or "workers" first: what a process holds, and whether two are slower
# than one, see benches/memory.py and benches/workers.py. With the one argument "endpoint": how long hostile documents and
# foreign ids take.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --profile measure --bin data-exporter
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
program=$target/measure/data-exporter
case "${1:-}" in
  state | memory | workers) exec python3 "benches/$1.py" "$program" "${@:2}" ;;
esac
if [ "${1:-}" = peers ]; then
  shift
  wanted=$(cksum < benches/peers.requirements.txt)
  if [ "$(cat .setup/peers/requirements.cksum 2>/dev/null)" != "$wanted" ]; then
    rm -rf .setup/peers
    python3 -m venv .setup/peers
    # One by one: a peer that this machine has no package of must not keep the others away.
    grep -v '^#' benches/peers.requirements.txt | while read -r package; do
      .setup/peers/bin/python -m pip install --quiet --disable-pip-version-check "$package" </dev/null \
        || printf 'bench: %s cannot be installed; its figures will be missing\n' "$package" >&2
    done
    printf '%s' "$wanted" > .setup/peers/requirements.cksum
  fi
  exec python3 benches/peers.py "$program" "$PWD/.setup/peers/bin/python" "$@"
fi
if [ "${1:-}" != endpoint ]; then
  exec python3 benches/export.py "$program" "$@"
fi
# The endpoint: the same tests as ever, against this program, often enough for figures. They print; they judge no time.
export EXPORTER_TEST_PROGRAM=$program BENCH_REQUESTS=${BENCH_REQUESTS:-2000}
for test in hostile::ten_thousand_hostile_documents_change_nothing foreign_ids::how_long_a_foreign_and_an_unknown_id_take; do
  cargo test --quiet --test it -- --exact "$test" --nocapture --test-threads=1
done
