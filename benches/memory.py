"""The memory of a worker process with two partitions at once, and its rows a second, in one run.

memory.py PROGRAM [--rows 1000000 --rows 10000000 --rows 50000000] [--runs 1] [--data-dir D]

See servers.py for what runs and how it is measured. Each export is of two views at once, a partition each, made by the
server as they are read, so that nothing is stored but the files: eleven columns of numbers and texts at each number of
rows; 200 columns; texts of 100 KB. A table of 200 columns that is stored, with an index on its time, is cut into partitions. Each column is attested exempt from the search for personal data, and once, at the
first number of rows, every text is searched and each column that can be is restricted. Medians of the runs.
"""
import argparse
import os
import sys

from servers import Servers, median, protected

arguments = argparse.ArgumentParser()
arguments.add_argument("program")
arguments.add_argument("--rows", type=int, action="append")
arguments.add_argument("--runs", type=int, default=1)
arguments.add_argument("--data-dir", default=None)
arguments = arguments.parse_args()

START = 1772323200  # 2026-03-01T00:00:00Z
RESTRICTED = [("ts", "generalise", {"date_trunc": "minute"}), ("lon", "generalise", {"round": 3}),
              ("lat", "generalise", {"round": 3}), ("device", "pseudonym", {"domain": "device"})]


def narrow(rows):
    return f"""g AS id, to_timestamp({START} + g * 86000.0 / {rows}) AS ts, 100000000 + (g * 7919) % 2000003 AS way_id,
       'FUSION'::text AS source, CASE WHEN g % 97 <> 0 THEN (g * 31 % 130000) / 1000.0::double precision END AS speed,
       (((g * 17) % 3600) / 10.0)::real AS heading, (-10 + (g * 13 % 4000000) / 100000.0)::double precision AS lon,
       (35 + (g * 11 % 2500000) / 100000.0)::double precision AS lat, ((g * 37 % 1000000) / 100.0)::numeric(10,2) AS length,
       md5((g % 20000)::text)::uuid AS device, CASE WHEN g % 10 = 0 THEN 'manual check ' || md5(g::text) END AS note"""


def wide(rows):
    kinds = ["(g * {n}) % 1000003", "((g * {n}) % 100000) / 7.0::double precision", "'road ' || (g * {n}) % 5000",
             "((g * {n}) % 100000 / 100.0)::numeric(12,2)", "md5((g * {n})::text)"]
    columns = [kinds[n % len(kinds)].format(n=2 * n + 3) + f" AS c{n}" for n in range(198)]
    return f"g AS id, to_timestamp({START} + g * 86000.0 / {rows}) AS ts, " + ", ".join(columns)


def long(rows):
    return f"g AS id, to_timestamp({START} + g * 86000.0 / {rows}) AS ts, repeat(md5(g::text) || md5((g * 7)::text), 1600) AS body"


def views(servers, name, rows, columns):
    """Two views that make so many rows together; a series in the list of columns is not stored by the server."""
    names = [f"{name}_{part}" for part in ("one", "two")]
    for view in names:
        # It costs as much as it has rows, whatever is asked of it: one partition is read, and no slice of it.
        servers.sql("warehouse", f"DROP VIEW IF EXISTS {view}; CREATE VIEW {view} AS "
                    f"SELECT {columns(rows // 2)} FROM (SELECT generate_series(1::bigint, {rows // 2}) AS g) AS s")
    return names


def stored(servers, name, rows, columns):
    """A table of so many rows with an index on their time."""
    servers.sql("warehouse", f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} AS "
                f"SELECT {columns(rows)} FROM (SELECT generate_series(1::bigint, {rows}) AS g) AS s; "
                f"CREATE INDEX ON {name} (ts); ANALYZE {name}")
    return [name]


def measure(servers, name, rows, columns, rules="", source=views):
    tables = source(servers, name, rows, columns)
    servers.sql("data_exporter", "".join(servers.exempt(table) + (protected(table, RESTRICTED) if rules else "") for table in tables))
    costs = []
    for _ in range(arguments.runs):
        costs.append(servers.export(tables, START, rows // 2 * 2))
        servers.empty()
        print(f"{name}, {rows:,} rows: {costs[-1]}", file=sys.stderr)
    return median(costs)


with Servers(arguments.program, arguments.data_dir) as servers:
    if servers.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'warehouse'").strip() == "0":
        servers.sql("postgres", "CREATE DATABASE warehouse")
    counts = arguments.rows or [1_000_000, 10_000_000, 50_000_000]
    results = [(f"{rows:,} rows of 11 columns", rows, measure(servers, "narrow", rows, narrow)) for rows in counts]
    results.append((f"{counts[0]:,} rows of 11 columns, protected", counts[0], measure(servers, "narrow", counts[0], narrow, "protected")))
    results.append(("100,000 rows of 200 columns", 100_000, measure(servers, "wide", 100_000, wide)))
    results.append(("320,000 rows of 200 columns, stored", 320_000, measure(servers, "wide_stored", 320_000, wide, source=stored)))
    results.append(("10,000 rows with a text of 100 KB", 10_000, measure(servers, "long", 10_000, long)))
    print(f"\ntwo partitions at once, {arguments.runs} runs, {os.cpu_count()} cores\n")
    print("| | peak MiB | wall s | rows a second | client CPU s | files MiB |")
    print("|---|---|---|---|---|---|")
    for name, rows, cost in results:
        print(f"| {name} | {cost.peak:.0f} | {cost.wall:.2f} | {rows / cost.wall:,.0f} | {cost.cpu:.2f} | {cost.size / 2**20:.0f} |")
