#!/usr/bin/env bash
# Reads the files of the tests of types with Spark and DataFusion, and a day of the sample warehouse folder by folder with
# Spark, and compares every value. Installs what is missing where it may, and names it where it may not.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf 'readers: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }

# The version of the Java that `java` or JAVA_HOME names, which is the one that Spark takes.
java_version() { "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'; }
if [ "$(java_version || true)" -lt 17 ] 2>/dev/null || [ -z "$(java_version || true)" ]; then
  say "installing Java"
  as_root=$([ "$(id -u)" = 0 ] || echo "sudo -n")
  { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jre-headless; } \
    >.setup/apt.log 2>&1 </dev/null || stop "no Java from version 17 on; run: sudo apt-get install openjdk-17-jre-headless"
  unset JAVA_HOME
fi
if [ ! -x .setup/readers/bin/python ]; then
  rm -rf .setup/readers
  python3 -m venv .setup/readers
fi
wanted=$(cksum < tests/requirements-readers.txt)
if [ "$(cat .setup/readers/requirements.cksum 2>/dev/null)" != "$wanted" ]; then
  say "installing Spark and DataFusion"
  .setup/readers/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements-readers.txt </dev/null
  printf '%s' "$wanted" > .setup/readers/requirements.cksum
fi

files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
EXPORTER_TEST_READER_FILES=$files cargo test --quiet --test it -- other_readers_see </dev/null
for script in compare_lake.py day_lake.py; do
  .setup/readers/bin/python "tests/readers/$script" "$files" 2>"$files/log" || { tail -30 "$files/log" >&2; exit 1; }
done
