#!/usr/bin/env bash
# Makes sure that this machine has what the demo needs, and with the argument "tests" what the tests need too.
# Installs what is missing where it may, and names it where it may not. Leaves settings in .setup/env.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .setup
: > .setup/env.new

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"
  else return 1; fi
}

updated=
apt_install() {
  command -v apt-get >/dev/null || return 1
  say "installing $*"
  if [ -z "$updated" ]; then as_root apt-get update -qq >/dev/null || return 1; updated=1; fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >.setup/apt.log 2>&1 </dev/null
}

command -v cargo >/dev/null || stop "cargo is not on PATH; install Rust with rustup, see https://rustup.rs"
command -v cc >/dev/null || apt_install build-essential \
  || stop "no C compiler; run: sudo apt-get install build-essential"

python() {
  if ! python3 -m venv --help >/dev/null 2>&1 || ! python3 -c 'import ensurepip' 2>/dev/null; then
    apt_install python3 python3-venv || stop "no Python with venv; run: sudo apt-get install python3 python3-venv"
  fi
  if [ ! -x .setup/venv/bin/python ]; then
    say "making a Python environment"
    rm -rf .setup/venv
    python3 -m venv .setup/venv
  fi
}

pip_install() {
  .setup/venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" </dev/null
}

# The same places in which the program looks.
has_postgres() {
  local folder
  for folder in ${EXPORTER_PG_BIN:-} ${PATH//:/ } "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin; do
    [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && return 0
  done
  return 1
}

if ! has_postgres && ! apt_install postgresql; then
  say "no PostgreSQL here and no right to install packages; taking the one that the Python package pgserver carries"
  python
  pip_install pgserver
  folder=$(.setup/venv/bin/python -W ignore -c 'import pathlib, pgserver; print(pathlib.Path(pgserver.__file__).parent / "pginstall" / "bin")')
  [ -x "$folder/postgres" ] || stop "no PostgreSQL; run: sudo apt-get install postgresql, or set EXPORTER_PG_BIN to its programs"
  printf 'EXPORTER_PG_BIN=%q\n' "$folder" >> .setup/env.new
elif [ -n "${EXPORTER_PG_BIN:-}" ]; then
  printf 'EXPORTER_PG_BIN=%q\n' "$EXPORTER_PG_BIN" >> .setup/env.new
fi

if [ "${1:-}" = tests ]; then
  python
  wanted=$(cksum < tests/requirements.txt)
  if [ "$(cat .setup/venv/requirements.cksum 2>/dev/null)" != "$wanted" ]; then
    say "installing the readers that the files are checked with"
    pip_install -r tests/requirements.txt
    printf '%s' "$wanted" > .setup/venv/requirements.cksum
  fi
  printf 'EXPORTER_TEST_PYTHON=%q\n' "$PWD/.setup/venv/bin/python" >> .setup/env.new
  command -v curl >/dev/null || apt_install curl || stop "no curl; run: sudo apt-get install curl"
fi
mv .setup/env.new .setup/env
