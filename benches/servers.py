"""What the benches share: a private PostgreSQL and an S3 server, exports through them, and what processes cost.

The program itself, in another process, gives both (`serve --local`). Each export is a process of its own:
`data-exporter export`, through policy, COPY, Parquet with zstd, SHA-256 and upload. CPU and peak memory are that
process's as the operating system counts them; its wall time is the job's own, from the start of its planning to its end.
"""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

DAY = 86400


class Cost:
    """What one run took: wall seconds, CPU seconds, peak MiB, and the bytes of its files."""

    def __init__(self, wall, cpu, peak, size=0, files=0):
        self.wall, self.cpu, self.peak, self.size, self.files = wall, cpu, peak, size, files

    def __repr__(self):
        return f"{self.wall:.2f} s wall, {self.cpu:.2f} s CPU, {self.peak:.0f} MiB"


def median(costs):
    """The medians of each of them."""
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "peak", "size", "files")))


def run(command, environment):
    """What a process costs, and what it wrote to standard output where it was asked for JSON."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE if "--json" in command else subprocess.DEVNULL)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {output.decode()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), output


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def clean_environment():
    """Ours without what somebody has set for another exporter."""
    ours = ("EXPORTER_", "AWS_", "DATABASE_URL")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours) or key == "EXPORTER_PG_BIN"}


class Servers:
    """A private PostgreSQL and an S3 server, in a process of their own that runs no export."""

    def __init__(self, program, folder=None):
        self.program = program
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="data-exporter-bench-", dir="/var/tmp"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)

    def __enter__(self):
        self.bind = f"127.0.0.1:{free_port()}"
        environment = clean_environment() | {
            "EXPORTER_DATA_DIR": str(self.folder), "EXPORTER_BIND": self.bind, "EXPORTER_LOG": "warn", "EXPORTER_ROLES": "api"}
        self.server = subprocess.Popen([self.program, "serve", "--local"], env=environment)
        self.await_ready(self.bind)
        self.password = (self.folder / "postgres/password").read_text().strip()
        self.port = (self.folder / "postgres/cluster/postmaster.pid").read_text().splitlines()[3].strip()
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()

    def await_ready(self, bind):
        """Waits for a process of ours that listens there."""
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://{bind}/readyz", timeout=1)
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"nobody is ready at {bind} after a minute")

    def address(self, database):
        return f"postgres://exporter:{self.password}@127.0.0.1:{self.port}/{database}"

    def psql(self, database, *more):
        """A command and its environment."""
        environment = os.environ | {"PGPASSWORD": self.password}
        command = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", "exporter", "-d", database]
        return [*command, *more], environment

    def sql(self, database, text):
        """Runs statements; gives what they answer."""
        command, environment = self.psql(database)
        return subprocess.run(command, env=environment, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout

    def copy(self, table):
        """The cost of `COPY … (FORMAT binary)` thrown away."""
        return run(*self.psql("warehouse", "-c", f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)"))[0]

    def exporter_environment(self):
        key = self.folder / "bench-pseudonym-key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text("a key for invented data, of 32 bytes or more")
        return clean_environment() | {
            "EXPORTER_PSEUDONYM_KEY_FILE": str(key), "DATABASE_URL": self.address("data_exporter"),
            "EXPORTER_WAREHOUSE_URL": self.address("warehouse"), "EXPORTER_BUCKET": "data-exporter",
            "EXPORTER_S3_PATH_STYLE": "true", "EXPORTER_LOG": "warn",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{(self.folder / 's3-port').read_text().strip()}", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "data-exporter-local", "AWS_SECRET_ACCESS_KEY": (self.folder / "s3-secret").read_text().strip()}

    def export(self, tables, start, rows, **settings):
        """The cost of an export of this day of a table, or of several, under the rules that are loaded, with more settings."""
        tables = [tables] if isinstance(tables, str) else tables
        named = [argument for table in tables for argument in ("--table", table)]
        command = [self.program, "--json", "export", "--start", str(start), "--end", str(start + DAY), *named]
        cost, output = run(command, self.exporter_environment() | settings)
        report = json.loads(output)
        exported = [report["tables"][table] for table in tables]
        if sum(table["rows"] for table in exported) != rows:
            raise SystemExit(f"{[table['rows'] for table in exported]} rows were exported instead of {rows}")
        cost.wall = self.job_seconds(report["requestId"])
        cost.size, cost.files = sum(table["bytes"] for table in exported), sum(len(table["links"]) for table in exported)
        return cost

    def job_seconds(self, job):
        """What a job took from the start of its planning to its end, by its own timestamps."""
        seconds = f"SELECT extract(epoch FROM completed_at - started_at) FROM export_jobs WHERE id = '{job}'"
        return float(self.sql("data_exporter", seconds))

    def empty(self):
        """Deletes what was exported: the files are of no more use, and large."""
        for place in ("data", "objects"):
            for found in (self.folder / "objects" / "data-exporter" / place).iterdir():
                shutil.rmtree(found) if found.is_dir() else found.unlink()

    def exempt(self, table):
        """Rules under which every column of a table leaves as it is, attested exempt from the search for personal data."""
        query = f"SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
        columns = self.sql("warehouse", query).strip()
        return f"""
DELETE FROM column_restrictions WHERE table_name = '{table}';
DELETE FROM data_column_classification WHERE table_name = '{table}';
INSERT INTO export_tables (table_name, time_column) VALUES ('{table}', 'ts') ON CONFLICT DO NOTHING;
INSERT INTO data_column_classification
  (table_name, column_name, classification, pii_exempt_by, pii_exempt_reason, pii_exempt_until)
SELECT '{table}', name, 'nr', 'bench', 'invented data', '2100-01-01' FROM unnest('{{{columns}}}'::text[]) AS name;
"""


def protected(table, restricted):
    """What those rules lack for full protection: every text searched, and these columns restricted, each with its action
    and parameters."""
    names = ", ".join(f"'{column}'" for column, _, _ in restricted)
    rows = ", ".join(f"('{column}', '{action}', '{json.dumps(parameters)}')" for column, action, parameters in restricted)
    return f"""
UPDATE data_column_classification SET pii_exempt_by = NULL, pii_exempt_reason = NULL, pii_exempt_until = NULL
WHERE table_name = '{table}';
UPDATE data_column_classification SET classification = 'hwc' WHERE table_name = '{table}' AND column_name IN ({names});
INSERT INTO column_restrictions (table_name, kind, name, action, params, owner, reason)
SELECT '{table}', 'column', name, action, params::jsonb, 'bench', 'invented data'
FROM (VALUES {rows}) AS r (name, action, params);
"""
