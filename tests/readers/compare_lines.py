"""Compares files of lines (CSV, JSONL, compressed or not) with a Parquet file of the same rows, value by value.

compare_lines.py READER PARQUET FILE…

The Parquet file says what each column is. READER is python (its csv and json modules), duckdb, or pyarrow (CSV only);
guarded is python for CSV whose texts have a guard before formulas, which it takes away.
Each turns what it reads into the same texts. Exits with 1 and says what differs; prints the number of rows.
"""
import collections
import csv
import datetime
import decimal
import gzip
import io
import json
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq


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


def opened(file):
    if file.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8", newline="")
    if file.endswith(".zst"):
        raw = pa.input_stream(file, compression="zstd").read()
        return io.StringIO(raw.decode("utf-8"), newline="")
    return open(file, encoding="utf-8", newline="")


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


def fields_of(line):
    """The fields of a CSV record, with NULL told from an empty text: Python's own module cannot tell them."""
    fields, at = [], 0
    while True:
        if line[at:at + 1] == '"':
            end = at + 1
            while True:
                end = line.index('"', end)
                if line[end + 1:end + 2] != '"':
                    break
                end += 2
            fields.append(line[at + 1:end].replace('""', '"'))
            at = end + 1
        else:
            end = line.find(",", at)
            end = len(line) if end < 0 else end
            fields.append(line[at:end] or None)
            at = end
        if at == len(line):
            return fields
        at += 1


def with_python(schema, files):
    rows = []
    for file in files:
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
                content = lines.read()
                parsed = list(csv.reader(io.StringIO(content, newline="")))
                assert parsed[0] == schema.names, "other columns"
                records, record = [], ""
                for line in content.split("\r\n"):
                    record = record + "\r\n" + line if record else line
                    if record.count('"') % 2 == 0:
                        records.append(record)
                        record = ""
                assert records[-1] == "", "no line end at the end"
                for record, plain in zip(records[1:-1], parsed[1:], strict=True):
                    values = fields_of(record)
                    assert [value or "" for value in values] == plain
                    rows.append(tuple(of_type(f, v) for f, v in zip(schema, values)))
    return rows


def unguarded(value):
    guarded = value and value[0] == "'" and value.lstrip("'")[:1] in ("=", "+", "-", "@", "\t", "\r")
    assert not value or value[0] not in "=+-@\t\r", "a formula without a guard"
    return value[1:] if guarded else value


def with_guards(schema, files):
    rows = with_python(pa.schema([pa.field(f.name, pa.string()) if is_document(f) else f for f in schema]), files)
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


def with_duckdb(schema, files):
    import duckdb
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    types = {field.name: duckdb_type(field) for field in schema}
    if ".jsonl" in files[0]:
        answer = connection.execute("SELECT * FROM read_json(?, format = 'newline_delimited', columns = ?)", [files, types])
    else:
        answer = connection.execute(
            "SELECT * FROM read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', allow_quoted_nulls = false, columns = ?)",
            [files, types])
    rows = []
    for row in answer.fetchall():
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


def with_pyarrow(schema, files):
    rows = []
    for file in files:
        types = {f.name: pa.string() if is_document(f) or pa.types.is_binary(f.type) else f.type for f in schema}
        options = pyarrow.csv.ConvertOptions(
            column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""])
        compression = {"gz": "gzip", "st": "zstd"}.get(file[-2:])
        table = pyarrow.csv.read_csv(
            pa.input_stream(file, compression=compression), convert_options=options,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
        assert table.column_names == schema.names, "other columns"
        columns = []
        for field, column in zip(schema, table.columns):
            values = column.to_pylist()
            if pa.types.is_float32(field.type):
                columns.append(values)
            else:
                columns.append([document(v) if is_document(field) else text(v) for v in values])
        rows.extend(zip(*columns))
    return rows


reader, parquet, *files = sys.argv[1:]
schema, wanted = of_parquet(parquet)
found = {"python": with_python, "guarded": with_guards, "duckdb": with_duckdb, "pyarrow": with_pyarrow}[reader](schema, files)
wanted, found = collections.Counter(wanted), collections.Counter(found)
if found != wanted:
    missing, extra = wanted - found, found - wanted
    raise SystemExit(
        f"{reader}: {sum(missing.values())} rows missing and {sum(extra.values())} too many of {sum(wanted.values())};"
        f" first missing {next(iter(missing), None)}, first extra {next(iter(extra), None)}")
print(sum(found.values()))
