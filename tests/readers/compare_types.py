"""Compares a Parquet file with what the server says, by two readers that know nothing of each other.

usage: compare_parquet.py FILE EXPECTED, where EXPECTED is JSON {"columns": [{"name": ..., "values": [text or null, ...]}]}.
Texts: numbers as digits, floats as the bits of the type in decimal, timestamps as microseconds and dates as days since
1970, bytes in hex. Prints what differs and exits with 1, or prints what was compared.
"""

import json
import struct
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq


def bits(value, wide):
    return None if value is None else str(int.from_bytes(struct.pack(">d" if wide else ">f", value), "big"))


def by_pyarrow(column):
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    kind = column.type
    if pa.types.is_timestamp(kind):
        assert kind.unit == "us", kind
        column = column.cast(pa.int64())
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    values = column.to_pylist()
    if pa.types.is_floating(kind):
        return [bits(value, kind == pa.float64()) for value in values]
    if pa.types.is_decimal(kind):
        return [None if value is None else format(value, "f") for value in values]
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in values]
    if pa.types.is_binary(kind):
        return [None if value is None else value.hex() for value in values]
    return [None if value is None else str(value) for value in values]


def by_duckdb(connection, name, kind):
    column = '"' + name.replace('"', '""') + '"'
    expression = {
        "TIMESTAMP": f"epoch_us({column})::VARCHAR",
        "TIMESTAMP WITH TIME ZONE": f"epoch_us({column})::VARCHAR",
        "DATE": f"({column} - DATE '1970-01-01')::VARCHAR",
        "BLOB": f"lower(hex({column}))",
        "FLOAT": column,
        "DOUBLE": column,
    }.get(kind, column if kind.startswith("DECIMAL") else f"{column}::VARCHAR")
    values = [row[0] for row in connection.execute(f"SELECT {expression} FROM file ORDER BY id").fetchall()]
    if kind in ("FLOAT", "DOUBLE"):
        return [bits(value, kind == "DOUBLE") for value in values]
    if kind.startswith("DECIMAL"):
        return [None if value is None else format(value, "f") for value in values]
    return values


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
            wrong = [(row, a, b) for row, (a, b) in enumerate(zip(want, got)) if a != b]
            if len(want) != len(got) or wrong:
                problems.append(f"{reader}, {name} ({kinds[name]}): {len(got)} of {len(want)} values, wrong: {wrong[:2]!r:.400}")
    print("\n".join(problems) or f"equal: {len(names)} columns, {table.num_rows} rows")
    sys.exit(bool(problems))


main()
