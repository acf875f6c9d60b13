"""Compares files of lines (CSV, JSONL, compressed or not) with a Parquet file of the same rows, value by value.

compare_lines.py READER PARQUET FILE [READER PARQUET FILE …]

The Parquet file says what each column is. READER is python (its csv and json modules), duckdb, or pyarrow (CSV only);
guarded is python for CSV whose texts have a guard before formulas, which it takes away.
Each turns what it reads into the same texts. Exits with 1 and says what differs; prints the number of rows of each FILE.
"""
import collections
import datetime
import decimal
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from lines import arrow_table, duckdb_view, opened, records_of, unguarded


def is_document(field):
    return str(field.type) == "extension<arrow.json>" or (field.metadata or {}).get(b"ARROW:extension:name") == b"arrow.json"


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, datetime.datetime):
        zone = "Z" if value.tzinfo is not None else ""
        if zone:
            value = value.astimezone(datetime.timezone.utc)
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f") + zone
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def document(value):
    return None if value is None else json.dumps(json.loads(value, parse_float=str, parse_int=str), sort_keys=True)


def of_parquet(file):
    table = pq.read_table(file)
    columns = []
    for field, column in zip(table.schema, table.columns):
        values = column.to_pylist()
        if pa.types.is_float32(field.type):
            columns.append([None if v is None else float(v) for v in values])
        else:
            columns.append([document(v) if is_document(field) else text(v) for v in values])
    return table.schema, list(zip(*columns))


def of_type(field, value):
    """A value's text as its column's type has it."""
    if value is None:
        return None
    if is_document(field):
        return document(value)
    if pa.types.is_float32(field.type):
        return pa.scalar(float(value), pa.float32()).as_py()
    if pa.types.is_float64(field.type):
        return repr(float(value))
    if isinstance(value, bool):
        return text(value)
    return str(value)


def with_python(schema, file):
    rows = []
    with opened(file) as lines:
        if ".jsonl" in file:
            for line in lines:
                row = json.loads(line, parse_float=str)
                assert list(row) == schema.names, "other columns"
                values = [json.dumps(row[f.name]) if is_document(f) and row[f.name] is not None else row[f.name] for f in schema]
                if any(is_document(f) for f in schema):
                    raw = json.loads(line, parse_float=str, parse_int=str)
                    values = [json.dumps(raw[f.name]) if is_document(f) and v is not None else v for f, v in zip(schema, values)]
                rows.append(tuple(of_type(f, v) for f, v in zip(schema, values)))
        else:
            header, records = records_of(lines.read())
            assert header == schema.names, "other columns"
            rows.extend(tuple(of_type(f, v) for f, v in zip(schema, values)) for values in records)
    return rows


def with_guards(schema, file):
    rows = with_python(pa.schema([pa.field(f.name, pa.string()) if is_document(f) else f for f in schema]), file)
    texts = [pa.types.is_string(f.type) or is_document(f) for f in schema]
    rows = [tuple(unguarded(v) if is_text else v for v, is_text in zip(row, texts)) for row in rows]
    return [tuple(document(v) if is_document(f) else v for v, f in zip(row, schema)) for row in rows]


def duckdb_type(field):
    kind = field.type
    if is_document(field):
        return "JSON"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
    names = {"int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE",
             "bool": "BOOLEAN", "date32[day]": "DATE"}
    return names.get(str(kind), "VARCHAR")


def with_duckdb(schema, file):
    types = {field.name: duckdb_type(field) for field in schema}
    rows = []
    for row in duckdb_view(file, types).execute("SELECT * FROM file").fetchall():
        values = []
        for field, value in zip(schema, row):
            if is_document(field):
                values.append(document(value))
            elif pa.types.is_float32(field.type):
                values.append(None if value is None else float(value))
            else:
                values.append(text(value))
        rows.append(tuple(values))
    return rows


def with_pyarrow(schema, file):
    types = {f.name: pa.string() if is_document(f) or pa.types.is_binary(f.type) else f.type for f in schema}
    columns = []
    for field, column in zip(schema, arrow_table(file, types).columns):
        values = column.to_pylist()
        if pa.types.is_float32(field.type):
            columns.append(values)
        else:
            columns.append([document(v) if is_document(field) else text(v) for v in values])
    return list(zip(*columns))


def compare(reader, parquet, file):
    schema, wanted = of_parquet(parquet)
    readers = {"python": with_python, "guarded": with_guards, "duckdb": with_duckdb, "pyarrow": with_pyarrow}
    wanted, found = collections.Counter(wanted), collections.Counter(readers[reader](schema, file))
    if found != wanted:
        missing, extra = wanted - found, found - wanted
        raise SystemExit(
            f"{reader}, {file}: {sum(missing.values())} rows missing and {sum(extra.values())} too many of"
            f" {sum(wanted.values())}; first missing {next(iter(missing), None)}, first extra {next(iter(extra), None)}")
    print(sum(found.values()))


for turn in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3], strict=True):
    compare(*turn)
