"""Writes what DuckDB finds in the tables of a day's rules, as compare.py has what PostgreSQL finds in tables.

usage: day_expected.py DAY FOLDER   writes FOLDER/classifications.NAME for each DAY/classifications/NAME.parquet
"""

import json
import sys
from pathlib import Path

import duckdb

from texts import text

day, folder = map(Path, sys.argv[1:])
for file in sorted((day / "classifications").glob("*.parquet")):
    found = duckdb.read_parquet(str(file))
    lines = [found.columns, *([text(value) for value in row] for row in found.fetchall())]
    (folder / f"classifications.{file.stem}").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    print(file.stem, len(lines) - 1)
