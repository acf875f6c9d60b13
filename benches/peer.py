"""One export of a table into one Parquet file by a program of others, for peers.py: peer.py NAME TABLE KEY FILE.

The warehouse's address is in WAREHOUSE, as a URL. Each is used as its makers describe it for large tables, with zstd.
"""
import os
import sys
import urllib.parse

name, table, key, file = sys.argv[1:5]
url = os.environ["WAREHOUSE"]
ROWS = 1_000_000


def duckdb(threads):
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("postgres_scanner")
    connection = duckdb.connect(config={"threads": threads})
    connection.execute("LOAD postgres_scanner")
    parts = urllib.parse.urlsplit(url)
    address = f"host={parts.hostname} port={parts.port} user={parts.username} password={parts.password} dbname={parts.path[1:]}"
    connection.execute(f"ATTACH '{address}' AS warehouse (TYPE postgres, READ_ONLY)")
    connection.execute(f"COPY (SELECT * FROM warehouse.public.{table}) TO '{file}' "
                       f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {ROWS})")


def adbc():
    import adbc_driver_postgresql.dbapi as driver
    import pyarrow
    import pyarrow.parquet

    def plain(field):
        return field.type.storage_type if isinstance(field.type, pyarrow.BaseExtensionType) else field.type

    with driver.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        reader = cursor.fetch_record_batch()
        schema = pyarrow.schema([(field.name, plain(field)) for field in reader.schema])
        with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd", compression_level=1) as writer:
            waiting, rows = [], 0

            def write():
                writer.write_table(pyarrow.Table.from_batches(waiting, schema=schema), row_group_size=max(rows, 1))

            for batch in reader:
                columns = [column.storage if isinstance(column, pyarrow.ExtensionArray) else column for column in batch.columns]
                waiting.append(pyarrow.RecordBatch.from_arrays(columns, schema=schema))
                rows += batch.num_rows
                if rows >= ROWS:
                    write()
                    waiting, rows = [], 0
            if rows:
                write()


def connectorx():
    import connectorx
    import pyarrow.parquet

    result = connectorx.read_sql(url, f"SELECT * FROM {table}", return_type="arrow", protocol="binary",
                                 partition_on=key, partition_num=2)
    pyarrow.parquet.write_table(result, file, compression="zstd", compression_level=1, row_group_size=ROWS)


{"duckdb 1": lambda: duckdb(1), "duckdb 2": lambda: duckdb(2), "adbc": adbc, "connectorx": connectorx}[name]()
