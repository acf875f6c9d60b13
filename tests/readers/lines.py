"""Files of lines, CSV and JSONL, compressed or not, as docs/formats.md says that they are read."""

import csv
import gzip
import io

import duckdb
import pyarrow as pa
import pyarrow.csv


def opened(file):
    if file.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8", newline="")
    if file.endswith(".zst"):
        raw = pa.input_stream(file, compression="zstd").read()
        return io.StringIO(raw.decode("utf-8"), newline="")
    return open(file, encoding="utf-8", newline="")


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


def records_of(content):
    """The header and the records of CSV. Python's own module finds the same in it."""
    parsed = list(csv.reader(io.StringIO(content, newline="")))
    records, record = [], ""
    for line in content.split("\r\n"):
        record = record + "\r\n" + line if record else line
        if record.count('"') % 2 == 0:
            records.append(record)
            record = ""
    assert records[-1] == "", "no line end at the end"
    records = [fields_of(record) for record in records[:-1]]
    for fields, plain in zip(records, parsed, strict=True):
        assert [value or "" for value in fields] == plain
    return parsed[0], records[1:]


def unguarded(value):
    """A text without its guard against formulas; that one is there where one must be."""
    guarded = value and value[0] == "'" and value.lstrip("'")[:1] in ("=", "+", "-", "@", "\t", "\r")
    assert not value or value[0] not in "=+-@\t\r", "a formula without a guard"
    return value[1:] if guarded else value


def duckdb_view(file, types):
    """A connection of DuckDB with a view `file` of a file, whose columns are of these types."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if ".jsonl" in file:
        source = connection.read_json(file, format="newline_delimited", columns=types)
    else:
        source = connection.read_csv(
            file, header=True, auto_detect=False, delimiter=",", quotechar='"', escapechar='"',
            lineterminator="\\r\\n", allow_quoted_nulls=False, columns=types)
    source.create_view("file")
    return connection


def arrow_table(file, types):
    """CSV as pyarrow reads it into columns of these types."""
    options = pyarrow.csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""])
    compression = {"gz": "gzip", "st": "zstd"}.get(file[-2:])
    table = pyarrow.csv.read_csv(
        pa.input_stream(file, compression=compression), convert_options=options,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    assert table.column_names == list(types), "other columns"
    return table
