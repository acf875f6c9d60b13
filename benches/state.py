"""How the endpoint and the queue do with many old jobs, beside the same with none, in one run.

state.py PROGRAM [--jobs 1000000] [--clients 50] [--requests 40] [--pace 0.25] [--data-dir D]

The program itself gives a private PostgreSQL (`serve --local`), and answers as the endpoint alone. Each client is a tenant
with a connection and a key of its own; it asks `--requests` times each, waits for the answer, and pauses for `--pace`
seconds, so that all clients together ask a fixed number of times a second and no queue of our own is measured. Claims are the
statements of the queue, each in a transaction that is rolled back, timed by psql. The database is filled by
tests/it/support/old_jobs.sql and analysed.
"""
import argparse
import asyncio
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

arguments = argparse.ArgumentParser()
arguments.add_argument("program")
arguments.add_argument("--jobs", type=int, default=1_000_000)
arguments.add_argument("--clients", type=int, default=50)
arguments.add_argument("--requests", type=int, default=40)
arguments.add_argument("--pace", type=float, default=0.25)
arguments.add_argument("--data-dir", default=None)
arguments = arguments.parse_args()

root = pathlib.Path(__file__).resolve().parent.parent
CLAIMS = {"claim_job": "gen_random_uuid(), 6, 3, NULL", "claim_partition": "gen_random_uuid(), 6, NULL, 0",
          "claim_table": "gen_random_uuid(), 6, NULL"}


class Installation:
    """A private PostgreSQL and the endpoint over it, in a folder of its own."""

    def __init__(self, name):
        base = arguments.data_dir or "/var/tmp"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"data-exporter-state-{name}-", dir=base))
        self.folder.chmod(0o755)

    def __enter__(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        ours = ("EXPORTER_", "AWS_", "DATABASE_URL")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours) or key == "EXPORTER_PG_BIN"}
        environment = kept | {
            "EXPORTER_DATA_DIR": str(self.folder), "EXPORTER_BIND": f"127.0.0.1:{self.port}", "EXPORTER_LOG": "warn",
            "EXPORTER_ROLES": "api", "EXPORTER_AUTH": "api-key", "EXPORTER_RATE_LIMIT": "0"}
        self.server = subprocess.Popen([arguments.program, "serve", "--local"], env=environment)
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        self.password = (self.folder / "postgres/password").read_text().strip()
        self.pg_port = (self.folder / "postgres/cluster/postmaster.pid").read_text().splitlines()[3].strip()
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, text):
        command = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.pg_port, "-U", "exporter",
                   "-d", "data_exporter"]
        done = subprocess.run(command, env=os.environ | {"PGPASSWORD": self.password}, input=text, text=True,
                              check=True, capture_output=True)
        return done.stdout

    def fill(self, jobs):
        """Old jobs, and a key for each client."""
        self.sql((root / "tests/it/support/old_jobs.sql").read_text().replace(":jobs", str(jobs)))
        keys = []
        rows = []
        for number in range(arguments.clients):
            prefix, secret = secrets.token_hex(6), secrets.token_hex(32)
            key = f"dex_{prefix}_{secret}"
            keys.append(key)
            sha256 = hashlib.sha256(key.encode()).hexdigest()
            rows.append(f"('{uuid.uuid4()}', '{prefix}', '\\x{sha256}', 'client{number}', 'requester', 'bench')")
        self.sql("INSERT INTO api_keys (id, prefix, sha256, tenant, role, name) VALUES " + ", ".join(rows) + """;
            INSERT INTO export_tables (table_name, time_column, tenant_column) VALUES ('way', 'seen_at', 'owner')
            ON CONFLICT (table_name) DO UPDATE SET time_column = 'seen_at', tenant_column = 'owner', enabled = true, on_demand = true;""")
        self.sql("VACUUM ANALYZE")
        return keys


async def ask(reader, writer, key, query):
    """Seconds that an answer takes, and its data."""
    body = json.dumps({"query": query}).encode()
    head = (f"POST /graphql HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    began = time.perf_counter()
    writer.write(head + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", answer).group(1))
    text = await reader.readexactly(length)
    took = time.perf_counter() - began
    data = json.loads(text)
    if "errors" in data:
        raise SystemExit(f"the endpoint answered {data['errors']}")
    return took, data["data"]


async def client(port, key, number, data, status):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(arguments.pace * number / arguments.clients)
    for turn in range(arguments.requests):
        start = 1_772_323_200 + 60 * turn
        took, answer = await ask(reader, writer, key,
                                 f'mutation {{ requestData(startTime: {start}, endTime: {start + 60}, tables: ["way"]) }}')
        if turn > 1:
            data.append(took)
        await asyncio.sleep(arguments.pace)
        took, _ = await ask(reader, writer, key, f'''mutation {{ requestStatus(requestId: "{answer["requestData"]}") {{
            status progress dataRequestDownloadLinks tables {{ name status progress rows }} }} }}''')
        if turn > 1:
            status.append(took)
        await asyncio.sleep(arguments.pace)
    writer.close()


async def endpoint(port, keys):
    data, status = [], []
    await asyncio.gather(*(client(port, key, number, data, status) for number, key in enumerate(keys)))
    return data, status


def claims(installation):
    """Milliseconds of each claim, by statement."""
    found = {}
    for name, values in CLAIMS.items():
        statement = (root / f"src/jobs/sql/{name}.sql").read_text()
        turns = f"BEGIN;\nEXECUTE claim({values});\nROLLBACK;\n" * 300
        out = installation.sql(f"PREPARE claim AS {statement};\n\\o /dev/null\n\\timing on\n{turns}")
        times = [float(ms) for ms in re.findall(r"Time: ([0-9.]+) ms", out)]
        found[name] = times[1::3][10:]
    return found


def at(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def measure(name, jobs):
    with Installation(name) as installation:
        began = time.monotonic()
        keys = installation.fill(jobs)
        print(f"{name}: {jobs:,} old jobs in {time.monotonic() - began:.0f} s", file=sys.stderr)
        claimed = claims(installation)
        data, status = asyncio.run(endpoint(installation.port, keys))
        rows = {"requestData": [1000 * s for s in data], "requestStatus": [1000 * s for s in status]} | claimed
        return {what: (at(times, 0.5), at(times, 0.99), len(times)) for what, times in rows.items()}


empty, full = measure("empty", 0), measure("full", arguments.jobs)
rate = arguments.clients / arguments.pace
print(f"{arguments.clients} clients, {rate:.0f} requests a second offered, {os.cpu_count()} cores\n")
print(f"| ms | empty p50 | empty p99 | {arguments.jobs:,} jobs p50 | p99 | ratio of p50 | ratio of p99 | times |")
print("|---|---|---|---|---|---|---|---|")
for what, (p50, p99, times) in full.items():
    e50, e99, _ = empty[what]
    print(f"| {what} | {e50:.2f} | {e99:.2f} | {p50:.2f} | {p99:.2f} | {p50 / e50:.2f} | {p99 / e99:.2f} | {times} |")
