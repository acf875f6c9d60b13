"""An export of one table beside `COPY … TO STDOUT (FORMAT binary)` thrown away, and what protection costs, in one run.

export.py PROGRAM [--rows 5000000] [--runs 3] [--data-dir D] [--exempt-only]

See servers.py for what runs and how it is measured. Each run copies once and exports three times: with every column
attested exempt from the search for personal data; with every text column searched and actions on four columns, the last
gate's own search all but switched off by EXPORTER_GATE_SAMPLE; and the same with that search, as it is by default. The
gate reads, hashes and counts every file in all three. Medians of the runs.
"""
import argparse
import os
import sys

from servers import Servers, median, protected

arguments = argparse.ArgumentParser()
arguments.add_argument("program")
arguments.add_argument("--rows", type=int, default=5_000_000)
arguments.add_argument("--runs", type=int, default=3)
arguments.add_argument("--data-dir", default=None)
arguments.add_argument("--exempt-only", action="store_true")
arguments = arguments.parse_args()

START = 1772323200  # 2026-03-01T00:00:00Z

TABLE = f"""
DROP TABLE IF EXISTS probe;
CREATE TABLE probe (
  id bigint NOT NULL, ts timestamptz NOT NULL, way_id bigint NOT NULL, source text NOT NULL, speed double precision,
  heading real, lon double precision, lat double precision, length numeric(10,2), device uuid, note text);
INSERT INTO probe
SELECT g, to_timestamp({START}) + g * (interval '86000 s' / {arguments.rows}), 100000000 + (g * 7919) % 2000003,
       'FUSION', CASE WHEN g % 97 <> 0 THEN (g * 31 % 130000) / 1000.0 END, ((g * 17) % 3600) / 10.0,
       -10 + (g * 13 % 4000000) / 100000.0, 35 + (g * 11 % 2500000) / 100000.0, (g * 37 % 1000000) / 100.0,
       md5((g % 20000)::text)::uuid, CASE WHEN g % 10 = 0 THEN 'manual check ' || md5(g::text) END
FROM generate_series(1::bigint, {arguments.rows}) AS g;
CREATE INDEX ON probe (ts);
VACUUM (FREEZE, ANALYZE) probe;
"""
RESTRICTED = [("ts", "generalise", {"date_trunc": "minute"}), ("lon", "generalise", {"round": 3}),
              ("lat", "generalise", {"round": 3}), ("device", "pseudonym", {"domain": "device"})]


def export(servers, rules, **settings):
    servers.sql("data_exporter", rules)
    return servers.export("probe", START, arguments.rows, **settings)


with Servers(arguments.program, arguments.data_dir) as servers:
    print(f"{arguments.rows:,} rows, {arguments.runs} runs, {os.cpu_count()} cores", file=sys.stderr)
    servers.sql("postgres", "DROP DATABASE IF EXISTS warehouse")
    servers.sql("postgres", "CREATE DATABASE warehouse")
    servers.sql("warehouse", TABLE)
    exempt_rules = servers.exempt("probe")
    protected_rules = exempt_rules + protected("probe", RESTRICTED)
    copied, exempt, ungated, gated = [], [], [], []
    for _ in range(arguments.runs):
        copied.append(servers.copy("probe"))
        exempt.append(export(servers, exempt_rules))
        if not arguments.exempt_only:
            ungated.append(export(servers, protected_rules, EXPORTER_GATE_SAMPLE="0.000001"))
            gated.append(export(servers, protected_rules))
        print("; ".join(str(runs[-1]) for runs in (copied, exempt, ungated, gated) if runs), file=sys.stderr)

copied, exempt = median(copied), median(exempt)
results = [("COPY BINARY thrown away (psql)", copied), ("data-exporter export, texts attested exempt", exempt)]
ratios = [("the exempt export to COPY", exempt.wall / copied.wall, exempt.cpu / copied.cpu)]
if ungated:
    ungated, gated = median(ungated), median(gated)
    results.append(("the same, every text searched, actions on four columns", ungated))
    results.append(("and the last gate's search", gated))
    ratios.append(("the protected export to the exempt one", ungated.wall / exempt.wall, ungated.cpu / exempt.cpu))
    ratios.append(("with the last gate's search", gated.wall / exempt.wall, gated.cpu / exempt.cpu))
    ratios.append(("that search alone to the exempt export", (gated.wall - ungated.wall) / exempt.wall, (gated.cpu - ungated.cpu) / exempt.cpu))
print("| | wall s | rows a second | client CPU s | peak MiB |")
print("|---|---|---|---|---|")
for name, cost in results:
    print(f"| {name} | {cost.wall:.2f} | {arguments.rows / cost.wall:,.0f} | {cost.cpu:.2f} | {cost.peak:.0f} |")
for name, wall, cpu in ratios:
    print(f"| ratio of {name} | {wall:.2f} | | {cpu:.2f} | |")
print(f"\n{exempt.files:.0f} files, {exempt.size / 2**20:.1f} MiB")
