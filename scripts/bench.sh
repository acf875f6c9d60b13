#!/usr/bin/env bash
# Measures an export beside COPY thrown away, in one run; see benches/export.py for its arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --profile measure --bin data-exporter
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 benches/export.py "$target/measure/data-exporter" "$@"
