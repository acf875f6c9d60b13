"""Says what a file says of a geometry column, and checks its values by a reader that is not ours.

usage: geometry.py FILE COLUMN. Prints the version, the primary column, the encoding and the reference system of the
GeoParquet metadata, then the Parquet logical type, then the first value as DuckDB would write it by hand.
"""

import json
import struct
import sys

import duckdb
import pyarrow.parquet as pq

path, column = sys.argv[1:3]
file = pq.ParquetFile(path)
said = json.loads(file.metadata.metadata[b"geo"])
about = said["columns"][column]
print(said["version"], said["primary_column"], about["encoding"], json.dumps(about.get("crs", "OGC:CRS84")))
index = [file.schema.column(i).name for i in range(len(file.schema))].index(column)
print(file.schema.column(index).logical_type)
quoted = '"' + column.replace('"', '""') + '"'
connection = duckdb.connect()
kind = connection.execute(f"SELECT typeof({quoted}) FROM read_parquet('{path}') LIMIT 1").fetchone()[0]
print("DuckDB", kind)
for value in file.read(columns=[column])[column].to_pylist():
    if value is not None:
        order, code = struct.unpack_from("<BI", value)
        assert order == 1 and 1 <= code % 1000 <= 7, (order, code)
