"""An export of one table beside `COPY … TO STDOUT (FORMAT binary)` thrown away, in one run.

export.py PROGRAM [--rows 5000000] [--runs 3] [--data-dir D]

The program itself, in another process, gives a private PostgreSQL and an S3 server (`serve --local`). Each run of the
exporter is a process of its own: `data-exporter export`, through policy, COPY, Parquet with zstd, SHA-256 and upload.
CPU and peak memory are that process's as the operating system counts them; its wall time is the job's own, from the
start of its planning to its end. Each run exports twice: with every column attested exempt from the search for personal
data, and with every text column searched and actions on four columns (`--exempt-only` leaves that out). Medians of the
runs; ratios are to COPY, and of the protected export's CPU to the exempt one's.
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

arguments = argparse.ArgumentParser()
arguments.add_argument("program")
arguments.add_argument("--rows", type=int, default=5_000_000)
arguments.add_argument("--runs", type=int, default=3)
arguments.add_argument("--data-dir", default=None)
arguments.add_argument("--exempt-only", action="store_true")
arguments = arguments.parse_args()

folder = pathlib.Path(arguments.data_dir or tempfile.mkdtemp(prefix="data-exporter-bench-", dir="/var/tmp"))
folder.mkdir(parents=True, exist_ok=True)
folder.chmod(0o755)
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
EXEMPT = """
DELETE FROM column_restrictions WHERE table_name = 'probe';
DELETE FROM data_column_classification WHERE table_name = 'probe';
INSERT INTO export_tables (table_name, time_column) VALUES ('probe', 'ts') ON CONFLICT DO NOTHING;
INSERT INTO data_column_classification (table_name, column_name, classification, pii_exempt_by, pii_exempt_reason, pii_exempt_until)
SELECT 'probe', name, 'nr', 'bench', 'invented data', '2100-01-01'
FROM unnest('{id,ts,way_id,source,speed,heading,lon,lat,length,device,note}'::text[]) AS name;
"""
PROTECTED = EXEMPT + """
UPDATE data_column_classification SET pii_exempt_by = NULL, pii_exempt_reason = NULL, pii_exempt_until = NULL
WHERE table_name = 'probe';
UPDATE data_column_classification SET classification = 'hwc'
WHERE table_name = 'probe' AND column_name IN ('ts', 'lon', 'lat', 'device');
INSERT INTO column_restrictions (table_name, kind, name, action, params, owner, reason)
SELECT 'probe', 'column', name, action, params::jsonb, 'bench', 'invented data'
FROM (VALUES ('ts', 'generalise', '{"date_trunc": "minute"}'), ('lon', 'generalise', '{"round": 3}'),
             ('lat', 'generalise', '{"round": 3}'), ('device', 'pseudonym', '{"domain": "device"}')) AS r (name, action, params);
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def clean_environment():
    ours = ("EXPORTER_", "AWS_", "DATABASE_URL")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours) or key == "EXPORTER_PG_BIN"}


class Platform:
    """A private PostgreSQL and an S3 server, in a process of their own that runs no export."""

    def __enter__(self):
        bind = f"127.0.0.1:{free_port()}"
        environment = clean_environment() | {
            "EXPORTER_DATA_DIR": str(folder), "EXPORTER_BIND": bind, "EXPORTER_LOG": "warn", "EXPORTER_ROLES": "api"}
        self.server = subprocess.Popen([arguments.program, "serve", "--local"], env=environment)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://{bind}/readyz", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        self.password = (folder / "postgres/password").read_text().strip()
        self.port = (folder / "postgres/cluster/postmaster.pid").read_text().splitlines()[3].strip()
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()

    def psql(self, database, *more):
        environment = os.environ | {"PGPASSWORD": self.password}
        command = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", "exporter", "-d", database]
        return [*command, *more], environment

    def sql(self, database, text):
        command, environment = self.psql(database)
        subprocess.run(command, env=environment, input=text, text=True, check=True)

    def exporter_environment(self):
        key = folder / "bench-pseudonym-key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text("a key for invented data, of 32 bytes or more")
        address = f"postgres://exporter:{self.password}@127.0.0.1:{self.port}"
        return clean_environment() | {
            "EXPORTER_PSEUDONYM_KEY_FILE": str(key), "DATABASE_URL": f"{address}/data_exporter", "EXPORTER_WAREHOUSE_URL": f"{address}/warehouse",
            "EXPORTER_BUCKET": "data-exporter", "EXPORTER_S3_PATH_STYLE": "true", "EXPORTER_LOG": "warn",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{(folder / 's3-port').read_text().strip()}", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "data-exporter-local", "AWS_SECRET_ACCESS_KEY": (folder / "s3-secret").read_text().strip()}


def run(command, environment):
    """Wall seconds, CPU seconds, peak MiB, and what it wrote to standard output."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE if "--json" in command else subprocess.DEVNULL)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {output.decode()}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]


def export(platform, rules):
    """Wall, CPU, peak MiB, files and bytes of one export under these rules."""
    platform.sql("data_exporter", rules)
    command = [arguments.program, "--json", "export", "--start", str(START), "--end", str(START + 86400), "--table", "probe"]
    _, cpu, peak, output = run(command, platform.exporter_environment())
    report = json.loads(output)
    table = report["tables"]["probe"]
    if table["rows"] != arguments.rows:
        raise SystemExit(f"{table['rows']} rows were exported instead of {arguments.rows}")
    seconds = f"SELECT extract(epoch FROM completed_at - started_at) FROM export_jobs WHERE id = '{report['requestId']}'"
    command, environment = platform.psql("data_exporter", "-c", seconds)
    wall = float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    return wall, cpu, peak, len(table["links"]), table["bytes"]


with Platform() as platform:
    print(f"{arguments.rows:,} rows, {arguments.runs} runs, {os.cpu_count()} cores", file=sys.stderr)
    platform.sql("postgres", "DROP DATABASE IF EXISTS warehouse")
    platform.sql("postgres", "CREATE DATABASE warehouse")
    platform.sql("warehouse", TABLE)
    copied, exempt, protected = [], [], []
    for _ in range(arguments.runs):
        copy, environment = platform.psql("warehouse", "-c", "COPY (SELECT * FROM probe) TO STDOUT (FORMAT binary)")
        copied.append(run(copy, environment)[:3])
        exempt.append(export(platform, EXEMPT))
        if not arguments.exempt_only:
            protected.append(export(platform, PROTECTED))

copied, exempt = medians(copied), medians(exempt)
results = [("COPY BINARY thrown away (psql)", copied), ("data-exporter export", exempt)]
if protected:
    protected = medians(protected)
    results.append(("the same, texts searched, four columns restricted", protected))
print("| | wall s | rows a second | client CPU s | peak MiB |")
print("|---|---|---|---|---|")
for name, (wall, cpu, peak, *_) in results:
    print(f"| {name} | {wall:.2f} | {arguments.rows / wall:,.0f} | {cpu:.2f} | {peak:.0f} |")
print(f"| ratio of export to COPY | {exempt[0] / copied[0]:.2f} | | {exempt[1] / copied[1]:.2f} | |")
if protected:
    print(f"| ratio of protected to exempt | {protected[0] / exempt[0]:.2f} | | {protected[1] / exempt[1]:.2f} | |")
print(f"\n{exempt[3]:.0f} files, {exempt[4] / 2**20:.1f} MiB")
