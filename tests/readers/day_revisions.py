"""Reads a table's folder the way readers of folders do, and says which revisions its rows are of.

usage: day_revisions.py FOLDER   prints JSON: by reader, rows by revision; a row's column `note` begins with its revision
"""

import collections
import json
import sys

import duckdb
import pyarrow.dataset as dataset

folder = sys.argv[1]
notes = {
    "pyarrow": dataset.dataset(folder, format="parquet").to_table(columns=["note"]).column("note").to_pylist(),
    "duckdb": [row[0] for row in duckdb.sql(f"SELECT note FROM read_parquet('{folder}/*.parquet')").fetchall()],
}
count = lambda found: dict(collections.Counter(note.split(" ")[0] for note in found))
print(json.dumps({reader: count(found) for reader, found in notes.items()}))
