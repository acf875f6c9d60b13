"""Reads the files of a folder with Apache Spark and Apache DataFusion and compares every value.

usage: compare_lake.py FOLDER, with NAME.parquet and NAME.json for each file, as compare_types.py has them; the names of
files of the type profile `native` begin with "native". What a reader must hold of the others it must hold whole. Of those
it is printed what a reader refuses or sees otherwise, and anything but what REFUSED says of it is an error too, so
that docs/types.md stays true.
"""

import decimal
import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext, col
from pyspark.sql import types as T

from lake import spark_session
from values import bits, by_pyarrow, differences, nested

# Columns of `native` files that a reader does not take, by their logical type in Parquet.
REFUSED = {"Spark": ("Time(", "UUID"), "DataFusion": ()}
EXACT = decimal.Context(prec=80, traps=[decimal.Inexact])


def said(expression, kind, depth=0):
    """The expression with its moments and days as numbers: Python's own have no place for the years at the ends."""
    item = f"x{depth}"
    if isinstance(kind, (T.TimestampType, T.TimestampNTZType)):
        return f"CAST(unix_micros(CAST({expression} AS TIMESTAMP)) AS STRING)"
    if isinstance(kind, T.DateType):
        return f"CAST(unix_date({expression}) AS STRING)"
    if isinstance(kind, T.ArrayType):
        return f"transform({expression}, {item} -> {said(item, kind.elementType, depth + 1)})"
    if isinstance(kind, T.StructType):
        quote = "`{}`".format
        parts = [f"'{part.name}', {said(f'{expression}.{quote(part.name)}', part.dataType, depth)}" for part in kind.fields]
        return f"CASE WHEN {expression} IS NOT NULL THEN named_struct({', '.join(parts)}) END"
    return expression


def plain(value):
    if isinstance(value, T.Row):
        return value.asDict(True)
    return [plain(item) for item in value] if isinstance(value, list) else value


def spark_values(frame, field):
    rows = frame.selectExpr("id", f"{said(f'`{field.name}`', field.dataType)} AS v").collect()
    values = [row["v"] for row in sorted(rows, key=lambda row: row["id"])]
    if isinstance(field.dataType, (T.FloatType, T.DoubleType)):
        return [bits(value, isinstance(field.dataType, T.DoubleType)) for value in values]
    if isinstance(field.dataType, T.DecimalType):
        # On the way to Python a number of 38 places gets one more.
        place = decimal.Decimal(1).scaleb(-field.dataType.scale)
        return [None if value is None else format(value.quantize(place, context=EXACT), "f") for value in values]
    return [nested(plain(value), isinstance(field.dataType, T.MapType)) for value in values]


def reason(error):
    return str(error).split("\n")[0][:160]


def with_spark(spark, path, expected):
    """What differs, and what Spark refuses to read, by column."""
    differing, refused = [], {}
    try:
        frame = spark.read.parquet(str(path))
        whole = None
    except Exception as error:  # Spark refuses the whole file for one column: ask for the columns one by one.
        whole = reason(error)
    for column in expected["columns"]:
        name = column["name"]
        try:
            if whole is not None:
                single = path.parent / "single.parquet"
                columns = ["id"] if name == "id" else ["id", name]
                pq.write_table(pq.read_table(path, columns=columns), single, store_schema=False)
                frame = spark.read.parquet(str(single))
            field = frame.schema[name]
            differing += differences("Spark", name, field.dataType.simpleString(), column["values"], spark_values(frame, field))
        except Exception as error:
            refused[name] = reason(error)
    return differing, refused


def with_datafusion(path, expected):
    differing, refused = [], {}
    context = SessionContext()
    for column in expected["columns"]:
        name = column["name"]
        try:
            frame = context.read_parquet(str(path)).sort(col('"id"').sort())
            frame = frame if name == "id" else frame.select(col(f'"{name}"'))
            table = pa.Table.from_batches(frame.collect())
            differing += differences("DataFusion", name, table[name].type, column["values"], by_pyarrow(table[name]))
        except Exception as error:
            refused[name] = reason(error)
    return differing, refused


def main():
    folder, failed = pathlib.Path(sys.argv[1]), False
    spark = spark_session()
    files = sorted(folder.glob("*.json"))
    for expected_path in files:
        expected, path = json.load(open(expected_path, encoding="utf-8")), expected_path.with_suffix(".parquet")
        schema = pq.ParquetFile(path).schema
        logical = {schema.column(at).path.split(".")[0]: str(schema.column(at).logical_type) for at in range(len(schema))}
        for reader, (differing, refused) in (
            ("Spark", with_spark(spark, path, expected)),
            ("DataFusion", with_datafusion(path, expected)),
        ):
            known = REFUSED[reader] if path.name.startswith("native") else ()
            taken = {name for name in logical if logical[name].startswith(known or "-")} - set(refused)
            new = {name: why for name, why in refused.items() if not logical[name].startswith(known or "-")}
            failed |= bool(differing or new or taken)
            kinds = sorted({logical[name].split("(")[0] for name in refused})
            total = len(expected["columns"])
            print(f"{reader}, {path.name}: {total - len(refused) - len(differing)} of {total} columns equal", flush=True)
            if kinds:
                print(f"  refused: {', '.join(kinds)}")
            for line in [*differing, *(f"{name} is refused: {why}" for name, why in new.items())]:
                print(f"  {line}")
            if taken:
                print(f"  no longer refused: {', '.join(sorted(taken))}; say so in docs/types.md")
    if not files:
        print("no files to read")
        failed = True
    spark.stop()
    sys.exit(failed)


main()
