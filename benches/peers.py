"""The exporter beside others that write a PostgreSQL table into Parquet, in one run.

peers.py PROGRAM PYTHON [--table lineitem|probe] [--runs 3] [--scale 1] [--rows 5000000] [--only NAME] [--data-dir D]

PYTHON has what peers.requirements.txt names. Two tables of one day, spread over it by `ts`: TPC-H's lineitem, and `probe`,
which has texts, UUIDs, JSON and well-known text. In turn: `COPY … (FORMAT binary)` thrown away by psql, the exporter as
servers.py describes it, with every column attested exempt, and the others as peer.py uses them. The others write one file
to memory; the exporter also hashes, uploads to S3, reads back and publishes. Everything is zstd at level 1. CPU, peak
memory and, but for the exporter's, wall time are the process's from its start to its end. Medians, and the exporter's
ratio to each.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from servers import Servers, median, run

arguments = argparse.ArgumentParser()
arguments.add_argument("program")
arguments.add_argument("python")
arguments.add_argument("--table", choices=["lineitem", "probe"], action="append")
arguments.add_argument("--runs", type=int, default=3)
arguments.add_argument("--scale", type=float, default=1)
arguments.add_argument("--rows", type=int, default=5_000_000)
arguments.add_argument("--only", action="append", help="a peer; all of them if none is named")
arguments.add_argument("--data-dir", default=None)
arguments = arguments.parse_args()

START = 1709251200  # 2024-03-01T00:00:00Z
OURS = "data-exporter"
# Name as printed, name for peer.py, what it makes of numeric.
PEERS = [
    ("DuckDB, 1 thread", "duckdb 1", "exact"),
    ("DuckDB, 2 threads", "duckdb 2", "exact"),
    ("ADBC and pyarrow", "adbc", "text"),
    ("connectorx, 2 partitions, and pyarrow", "connectorx", "widened"),
]
KEYS = {"lineitem": "l_orderkey", "probe": "id"}

LINEITEM = f"""
CREATE TABLE loaded (
  l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int, l_quantity numeric(15,2),
  l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag char(1), l_linestatus char(1),
  l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44));
\\copy loaded FROM 'FILE' WITH (FORMAT csv, HEADER true)
CREATE TABLE lineitem AS
SELECT *, to_timestamp({START}) + row_number() OVER () * (interval '86000 s' / (SELECT count(*) FROM loaded)) AS ts FROM loaded;
DROP TABLE loaded;
CREATE INDEX ON lineitem (ts);
VACUUM (FREEZE, ANALYZE) lineitem;
"""
PROBE = f"""
SELECT setseed(0.5);
CREATE TABLE probe (
  id bigint NOT NULL, ts timestamptz NOT NULL, way_id bigint NOT NULL, source text NOT NULL, speed double precision,
  heading real, lon double precision, lat double precision, device_id uuid, driver_email text, note text, attrs jsonb,
  geom_wkt text);
INSERT INTO probe
SELECT g, to_timestamp({START}) + g * (interval '86000 s' / {arguments.rows}), 100000000 + (random() * 2e6)::bigint,
       (ARRAY['FUSION', 'HERE', 'TOMTOM'])[1 + (g % 3)], CASE WHEN g % 97 <> 0 THEN random() * 130 END,
       (random() * 360)::real, x, y, md5((g % 20000)::text)::uuid,
       format('driver%s@fleet%s.example.com', g % 20000, g % 50), CASE WHEN g % 10 = 0 THEN 'manual check ' || md5(g::text) END,
       jsonb_build_object('lanes', 1 + g % 4, 'quality', round((random() * 100)::numeric, 1),
                          'road', (ARRAY['primary', 'secondary', 'residential', 'motorway'])[1 + g % 4]),
       format('LINESTRING(%s %s, %s %s, %s %s)', round(x::numeric, 7), round(y::numeric, 7), round((x + 0.0011)::numeric, 7),
              round((y + 0.0007)::numeric, 7), round((x + 0.0023)::numeric, 7), round((y + 0.0016)::numeric, 7))
FROM (SELECT g, -10 + random() * 40 AS x, 35 + random() * 25 AS y FROM generate_series(1::bigint, {arguments.rows}) AS g) AS s;
CREATE INDEX ON probe (ts);
VACUUM (FREEZE, ANALYZE) probe;
"""


def load(servers, table):
    """Makes a table unless it is there."""
    if servers.sql("warehouse", f"SELECT to_regclass('{table}') IS NOT NULL").strip() != "t":
        print(f"making {table}", file=sys.stderr)
        statements = PROBE
        if table == "lineitem":
            tool = pathlib.Path(arguments.python).with_name("tpchgen-cli")
            command = [tool, "csv", "-s", f"{arguments.scale:g}", "--tables", "lineitem", "--output-dir", servers.folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            statements = LINEITEM.replace("FILE", str(servers.folder / "lineitem.csv"))
        servers.sql("warehouse", statements)
        (servers.folder / "lineitem.csv").unlink(missing_ok=True)
    return int(servers.sql("warehouse", f"SELECT count(*) FROM {table}"))


def peer(servers, name, table):
    """What a peer's export costs. Its file is in memory, and gone afterwards."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="data-exporter-bench-", dir=folder) as scratch:
        file = pathlib.Path(scratch) / "table.parquet"
        script = pathlib.Path(__file__).with_name("peer.py")
        environment = os.environ | {"WAREHOUSE": servers.address("warehouse").replace("postgres://", "postgresql://")}
        cost, _ = run([arguments.python, script, name, table, KEYS[table], file], environment)
        cost.size, cost.files = file.stat().st_size, 1
        return cost


def measure(servers, table):
    rows = load(servers, table)
    servers.sql("data_exporter", servers.exempt(table))
    peers = [known for known in PEERS if not arguments.only or known[1] in arguments.only]
    costs = {}
    for turn in range(arguments.runs):
        costs.setdefault("COPY", []).append(servers.copy(table))
        costs.setdefault(OURS, []).append(servers.export(table, START, rows))
        for _, name, _ in peers:
            # A peer that cannot be run is left out, and said so: it must not keep the others from being measured.
            try:
                costs.setdefault(name, []).append(peer(servers, name, table))
            except SystemExit as ended:
                print(f"{name}: {ended}", file=sys.stderr)
        print(f"run {turn + 1}: " + "; ".join(f"{name} {runs[-1]}" for name, runs in costs.items() if runs), file=sys.stderr)
    ours, copy = median(costs[OURS]), median(costs["COPY"])
    print(f"\n{table}, {rows:,} rows, {arguments.runs} runs, {os.cpu_count()} cores\n")
    print("| | client CPU s | wall s | peak MiB | files MiB | our CPU to its | our wall to its | numeric |")
    print("|---|---|---|---|---|---|---|---|")
    known = [("COPY BINARY thrown away (psql)", copy, ""), (OURS, ours, "exact")]
    known += [(shown, median(costs[name]), values) for shown, name, values in peers if costs[name]]
    for name, cost, values in known:
        size = f"{cost.size / 2**20:.0f}" if cost.size else ""
        ratios = "| " if cost is ours else f"{ours.cpu / cost.cpu:.2f} | {ours.wall / cost.wall:.2f}"
        print(f"| {name} | {cost.cpu:.2f} | {cost.wall:.2f} | {cost.peak:.0f} | {size} | {ratios} | {values} |")


with Servers(arguments.program, arguments.data_dir) as servers:
    if servers.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'warehouse'").strip() == "0":
        servers.sql("postgres", "CREATE DATABASE warehouse")
    for table in arguments.table or ["lineitem", "probe"]:
        measure(servers, table)
