"""Compares files of lines with what the server says of every cell.

usage: compare_said.py CASES, where CASES is JSON
[{"table": n, "columns": [column, ...], "files": [{"path": ..., "guarded": ...}]}] and a column
{"name": ..., "form": ..., "reader": ..., "lines": [text, ...], "values": [value, ...]}. Lines are what the file must
hold, as docs/formats.md has it; values are those of compare_types.py. The texts of a file are read by Python's own
modules, character by character. Columns with a reader's type are read by DuckDB, and from CSV by pyarrow, as that type.
Prints what differs and exits with 1, or prints how many files were compared.
"""

import decimal
import json
import sys

import pyarrow as pa

from lines import arrow_table, duckdb_view, opened, records_of, unguarded
from values import by_duckdb, by_pyarrow, differences

DUCKDB = {
    "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "bool": "BOOLEAN",
    "timestamptz": "TIMESTAMP WITH TIME ZONE", "timestamp": "TIMESTAMP", "date": "DATE", "time": "TIME", "uuid": "UUID",
}
ARROW = {
    "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "bool": pa.bool_(), "timestamptz": pa.timestamp("us", "UTC"), "timestamp": pa.timestamp("us"), "date": pa.date32(),
    "time": pa.time64("us"),
}

decimal.getcontext().prec = 2_000


def parsed(text):
    """JSON of which nothing is lost: digits stay as they are, and keys in their order, even those that come twice."""
    number = lambda digits: ("number", digits)
    return json.loads(text, parse_int=number, parse_float=number, object_pairs_hook=lambda pairs: ("object", pairs))


def same(one, other):
    """Whether two parsed values are one; numbers may have their exponents in another place."""
    if isinstance(one, tuple) and isinstance(other, tuple) and one[0] == other[0] == "number":
        one, other = (decimal.Decimal(digits).normalize() for _, digits in (one, other))
        return one.compare_total(other) == 0
    if isinstance(one, (tuple, list)) and type(one) is type(other) and len(one) == len(other):
        return all(same(a, b) for a, b in zip(one, other))
    return type(one) is type(other) and one == other


def floats(one, other):
    """Whether two texts are the same digits of a float."""
    finite = one[-1].isdigit() and other[-1].isdigit()
    return same(("number", one), ("number", other)) if finite else one == other


def in_csv(form, want, found, guarded):
    if guarded and form in ("text", "document"):
        found = unguarded(found)
    if want is None or found is None:
        return want is found
    if form == "float":
        return floats(want, found)
    return same(parsed(want), parsed(found)) if form == "nested" else want == found


def in_json(form, want, found):
    if form == "document":
        # A document that is null and NULL are written alike.
        return (None if want is None else parsed(want)) == found
    if want is None or found is None:
        return want is found
    if form == "nested":
        return same(parsed(want), found)
    if form == "boolean":
        return found is (want == "true")
    if form == "integer":
        return found == ("number", want)
    if form == "float" and isinstance(found, tuple):
        return floats(want, found[1])
    return found == want


def texts(columns, path, guarded):
    """What differs in the texts of a file."""
    names = [column["name"] for column in columns]
    with opened(path) as lines:
        content = lines.read()
    if ".jsonl" in path:
        # Some readers of lines end one at each of them.
        assert "\r" not in content and (content.endswith("\n") or not content), path
        rows = [parsed(line) for line in content.split("\n")[:-1]]
        heads = [[name for name, _ in row[1]] for row in rows]
        rows = [[value for _, value in row[1]] for row in rows]
        equal = in_json
    else:
        head, rows = records_of(content)
        heads = [head]
        equal = lambda form, want, found: in_csv(form, want, found, guarded)
    if any(head != names for head in heads):
        return [f"columns {heads[0]} instead of {names}"]
    problems = []
    for at, column in enumerate(columns):
        found = [row[at] for row in rows]
        pairs = enumerate(zip(column["lines"], found))
        wrong = [(row, a, b) for row, (a, b) in pairs if not equal(column["form"], a, b)]
        if wrong or len(found) != len(column["lines"]):
            kind = f"{column['name']!r} ({column.get('type')}, {column['form']})"
            problems.append(f"{kind}: {len(found)} values, wrong: {wrong[:2]!r:.400}")
    return problems


def typed(columns, path, guarded):
    """What differs in the columns that readers know a type for."""
    bare = lambda column, value: unguarded(value) if guarded and column["form"] == "text" else value
    duckdb = lambda reader: DUCKDB.get(reader, reader.upper() if reader.startswith("decimal") else "VARCHAR")
    connection = duckdb_view(path, {column["name"]: duckdb(column["reader"]) for column in columns})
    table = None
    if ".csv" in path:
        decimals = lambda reader: pa.decimal128(*map(int, reader[8:-1].split(",")))
        arrow = lambda reader: decimals(reader) if reader.startswith("decimal") else ARROW.get(reader, pa.string())
        table = arrow_table(path, {column["name"]: arrow(column["reader"]) for column in columns})
    problems = []
    for column in columns:
        name, reader, want = column["name"], column["reader"], column["values"]
        if not reader:
            continue
        found = [bare(column, value) for value in by_duckdb(connection, name, duckdb(reader))]
        problems += differences("DuckDB", name, column.get("type"), want, found)
        if table is not None:
            found = [bare(column, value) for value in by_pyarrow(table[name])]
            found = [value and value.replace("-", "") for value in found] if reader == "uuid" else found
            problems += differences("pyarrow", name, column.get("type"), want, found)
    return problems


def main():
    files, problems = 0, []
    for case in json.load(open(sys.argv[1], encoding="utf-8")):
        columns = case["columns"]
        for file in case["files"]:
            files += 1
            guarded = file["guarded"] and ".csv" in file["path"]
            for problem in texts(columns, file["path"], guarded) or typed(columns, file["path"], guarded):
                problems.append(f"table {case['table']}, {file['path']}: {problem}")
    print("\n".join(problems[:20]) or f"equal: {files} files")
    sys.exit(bool(problems))


main()
