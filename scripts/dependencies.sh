#!/usr/bin/env bash
# Checks the licences of all dependencies against the list in deny.toml, and known advisories where the tool for it and
# its database can be had.
set -uo pipefail
cd "$(dirname "$0")/.."
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
cargo metadata --format-version 1 --locked > "$metadata" || exit 1
python3 - "$metadata" <<'PYTHON' || exit 1
import json, re, sys, tomllib
allowed = set(tomllib.load(open("deny.toml", "rb"))["licenses"]["allow"])
def permitted(expression):
    expression = expression.replace("/", " OR ")
    words = re.findall(r"\(|\)|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?", expression)
    python = " ".join({"OR": "or", "AND": "and", "(": "(", ")": ")"}.get(word, str(word in allowed)) for word in words)
    return eval(python, {"__builtins__": {}})
wrong = []
for package in json.load(open(sys.argv[1]))["packages"]:
    if package["source"] is None:
        continue
    if not package["license"] or not permitted(package["license"]):
        wrong.append(f'{package["name"]} {package["version"]}: {package["license"] or "no licence"}')
print("\n".join(sorted(wrong)) or "licences: every dependency has one of deny.toml's list")
sys.exit(bool(wrong))
PYTHON
if command -v cargo-deny >/dev/null; then
  cargo deny check advisories
else
  echo "advisories: not checked; cargo-deny is not installed (cargo install cargo-deny), and needs its database from the network"
fi
