"""Prints the logical type of each leaf of a Parquet file, one a line."""

import sys

import pyarrow.parquet as pq

schema = pq.ParquetFile(sys.argv[1]).schema
for index in range(len(schema)):
    print(schema.column(index).logical_type)
