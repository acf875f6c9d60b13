"""Reads a day of the schedule the way readers of folders do, and says what is in it.

usage: day_folder.py FOLDER TABLE...   prints JSON: per table its rows by DuckDB and by a pyarrow dataset, and the tables of
the rules with their rows
"""

import json
import sys
from pathlib import Path

import duckdb
import pyarrow.dataset as dataset

folder = Path(sys.argv[1])
tables = {}
for table in sys.argv[2:]:
    # Hive-like readers pass over names that begin with `_`, here too.
    seen = dataset.dataset(folder / table, format="parquet")
    ids = seen.to_table(columns=["id"]).column("id").to_pylist()
    counted = duckdb.sql(f"SELECT id FROM read_parquet('{folder / table}/*.parquet') ORDER BY id").fetchall()
    assert sorted(ids) == [row[0] for row in counted], table
    tables[table] = sorted(ids)
rules = {path.stem: len(duckdb.read_parquet(str(path)).fetchall()) for path in (folder / "classifications").glob("*.parquet")}
print(json.dumps({"tables": tables, "rules": rules}))
