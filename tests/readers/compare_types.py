"""Compares a Parquet file with what the server says, by two readers that know nothing of each other.

usage: compare_types.py FILE EXPECTED, where EXPECTED is JSON {"columns": [{"name": ..., "values": [value, ...]}]}.
A value is null, a list, an object, or the text of a leaf: numbers as digits, floats as the bits of the type in decimal,
timestamps and times as microseconds and dates as days since 1970, bytes in hex. Prints what differs and exits with 1, or
prints what was compared.
"""

import json
import sys

import duckdb
import pyarrow.parquet as pq

from values import by_duckdb, by_pyarrow, differences


def main():
    path, expected = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
    table = pq.read_table(path).sort_by("id")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW file AS SELECT * FROM read_parquet('{path}')")
    kinds = {row[0]: row[1] for row in connection.execute("DESCRIBE file").fetchall()}
    names = [column["name"] for column in expected["columns"]]
    problems = []
    if table.column_names != names or list(kinds) != names:
        problems.append(f"columns {table.column_names} and {list(kinds)} instead of {names}")
    for column in expected["columns"] if not problems else []:
        name, want = column["name"], column["values"]
        for reader, got in (("pyarrow", by_pyarrow(table[name])), ("DuckDB", by_duckdb(connection, name, kinds[name]))):
            problems += differences(reader, name, kinds[name], want, got)
    print("\n".join(problems) or f"equal: {len(names)} columns, {table.num_rows} rows")
    sys.exit(bool(problems))


main()
