"""Prints what stands in files, one line of JSON a file: columns, the cells' texts, and what the file says of itself.

cells.py FILE…

Parquet is read by pyarrow, CSV by pyarrow and JSONL by Python's own module; compressed ones too.
"""
import json
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq


def text(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    return str(value)


def raw(file):
    compression = {".gz": "gzip", "zst": "zstd"}.get(file[-3:])
    return pa.input_stream(file, compression=compression).read()


def parquet(file):
    table = pq.read_table(file)
    rows = zip(*(column.to_pylist() for column in table.columns))
    said = [part.decode("utf-8", "replace") for pair in (pq.ParquetFile(file).metadata.metadata or {}).items() for part in pair]
    # The smallest and largest values of a column stand beside it.
    for group in range(pq.ParquetFile(file).num_row_groups):
        for column in range(table.num_columns):
            statistics = pq.ParquetFile(file).metadata.row_group(group).column(column).statistics
            if statistics is not None and statistics.has_min_max:
                said += [str(statistics.min), str(statistics.max)]
    return table.column_names, rows, said


def lines_of_csv(file):
    content = raw(file)
    names = pyarrow.csv.read_csv(pa.py_buffer(content)).column_names
    options = pyarrow.csv.ConvertOptions(
        column_types={name: pa.string() for name in names}, strings_can_be_null=True,
        quoted_strings_can_be_null=False, null_values=[""])
    table = pyarrow.csv.read_csv(
        pa.py_buffer(content), convert_options=options,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    return names, zip(*(column.to_pylist() for column in table.columns)), []


def lines_of_json(file):
    rows = [json.loads(line) for line in raw(file).decode("utf-8").split("\n") if line]
    names = list(rows[0]) if rows else []
    return names, [[json.dumps(v) if isinstance(v, (dict, list)) else v for v in row.values()] for row in rows], []


for file in sys.argv[1:]:
    reader = parquet if ".parquet" in file else lines_of_csv if ".csv" in file else lines_of_json
    columns, rows, metadata = reader(file)
    rows = [[text(value) for value in row] for row in rows]
    print(json.dumps({"columns": columns, "rows": rows, "metadata": metadata}))
