"""Reads a day of the schedule with Apache Spark: each table's folder as a table, and the rules beside them.

usage: day_lake.py FOLDER   with the day in FOLDER/day, and in FOLDER/expected what each table must hold, as compare.py has it

A table's folder is given to Spark as it is: its manifest and what else begins with `_` is Spark's to pass over.
"""

import collections
import json
import os
import sys
import time
from pathlib import Path

from pyspark.sql import types as T

from lake import spark_session
from texts import text

# Spark hands out moments in the time zone of the process.
os.environ["TZ"] = "UTC"
time.tzset()


def rows(frame):
    kinds = ["float" if isinstance(field.dataType, T.FloatType) else "" for field in frame.schema]
    return collections.Counter(tuple(text(value, kind) for value, kind in zip(row, kinds)) for row in frame.collect())


folder, failed = Path(sys.argv[1]), False
spark = spark_session()
expected = sorted((folder / "expected").iterdir())
for file in expected:
    table = file.name.removeprefix("classifications.")
    beside = table != file.name
    path = folder / "day" / (f"classifications/{table}.parquet" if beside else table)
    names, *wanted = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    wanted = collections.Counter(map(tuple, wanted))
    frame = spark.read.parquet(str(path))
    found = rows(frame)
    missing, extra = wanted - found, found - wanted
    same = frame.columns == names and not missing and not extra and frame.count() == wanted.total()
    failed |= not same
    print(f"Spark, {path.relative_to(folder)}: {found.total()} of {wanted.total()} rows {'equal' if same else 'DIFFER'}", flush=True)
    if not same:
        print(f"  columns {frame.columns} for {names}; first missing {next(iter(missing), None)}, first extra {next(iter(extra), None)}")
if not expected:
    print("no day to read")
    failed = True
spark.stop()
sys.exit(failed)
