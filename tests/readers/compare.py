"""Compares Parquet files with rows that PostgreSQL wrote, value by value.

compare.py READER EXPECTED FILE…

EXPECTED has one JSON array a row: each value as text, or null. The first line holds the names of the columns. Both
readers turn what they read into the same texts without knowing each other. Exits with 1 and says what differs.
"""
import collections
import json
import sys

from texts import text


def with_pyarrow(files):
    import pyarrow as pa
    import pyarrow.parquet as pq
    names, rows = None, []
    for file in files:
        table = pq.read_table(file)
        names = names or table.column_names
        assert names == table.column_names, "files differ in their columns"
        kinds = ["float" if pa.types.is_float32(field.type) else "" for field in table.schema]
        columns = [[text(value, kind) for value in column.to_pylist()] for column, kind in zip(table.columns, kinds)]
        rows.extend(zip(*columns))
    return names, rows


def with_duckdb(files):
    import duckdb
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    answer = connection.execute("SELECT * FROM read_parquet(?)", [files])
    names = [column[0] for column in answer.description]
    kinds = ["float" if str(column[1]).upper() == "FLOAT" else "" for column in answer.description]
    return names, [tuple(text(value, kind) for value, kind in zip(row, kinds)) for row in answer.fetchall()]


reader, expected, *files = sys.argv[1:]
names, rows = {"pyarrow": with_pyarrow, "duckdb": with_duckdb}[reader](files)
with open(expected, encoding="utf-8") as lines:
    wanted_names = json.loads(next(lines))
    wanted = collections.Counter(tuple(json.loads(line)) for line in lines)
if names != wanted_names:
    raise SystemExit(f"columns {names} instead of {wanted_names}")
found = collections.Counter(rows)
if found != wanted:
    missing, extra = wanted - found, found - wanted
    raise SystemExit(
        f"{sum(missing.values())} rows missing and {sum(extra.values())} too many of {sum(wanted.values())};"
        f" first missing {next(iter(missing), None)}, first extra {next(iter(extra), None)}")
print(sum(found.values()))
