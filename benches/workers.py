"""One worker process beside two that share a job, in one run.

workers.py PROGRAM [--rows 5000000] [--runs 3] [--data-dir D]

See servers.py for what runs and how it is measured. A job is requested over GraphQL; one or two processes of their own,
started before, share its partitions, two at once each. Wall is the job's own, CPU and
peak memory those of the workers: together, and of the larger. In turn; medians of the runs.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request

from servers import DAY, Cost, Servers, free_port, median

arguments = argparse.ArgumentParser()
arguments.add_argument("program")
arguments.add_argument("--rows", type=int, default=5_000_000)
arguments.add_argument("--runs", type=int, default=3)
arguments.add_argument("--data-dir", default=None)
arguments = arguments.parse_args()

START = 1772323200  # 2026-03-01T00:00:00Z
TABLE = f"""
DROP TABLE IF EXISTS shared;
CREATE TABLE shared AS
SELECT g AS id, to_timestamp({START}) + g * (interval '86000 s' / {arguments.rows}) AS ts, 100000000 + (g * 7919) % 2000003 AS way_id,
       (g * 31 % 130000) / 1000.0::double precision AS speed, (g * 37 % 1000000 / 100.0)::numeric(10,2) AS length,
       md5((g % 20000)::text)::uuid AS device, CASE WHEN g % 10 = 0 THEN 'manual check ' || md5(g::text) END AS note
FROM generate_series(1::bigint, {arguments.rows}) AS g;
CREATE INDEX ON shared (ts);
VACUUM (FREEZE, ANALYZE) shared;
"""


def request(servers):
    """A job of the table's day; its id."""
    query = f'mutation {{ requestData(startTime: {START}, endTime: {START + DAY}, tables: ["shared"]) }}'
    body = json.dumps({"query": query}).encode()
    asked = urllib.request.Request(f"http://{servers.bind}/graphql", body, {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(asked, timeout=10))
    if "errors" in answer:
        raise SystemExit(f"the endpoint answered {answer['errors']}")
    return answer["data"]["requestData"]


def start(servers):
    """A process that works. It answers too, so that it can be asked whether it is ready."""
    bind = f"127.0.0.1:{free_port()}"
    environment = servers.exporter_environment() | {
        "EXPORTER_ROLES": "api,worker", "EXPORTER_AUTH": "none", "EXPORTER_BIND": bind}
    worker = subprocess.Popen([servers.program, "serve"], env=environment, stdout=subprocess.DEVNULL)
    try:
        servers.await_ready(bind)
    except BaseException:
        worker.kill()
        raise
    return worker


def stop(worker):
    """What it has cost."""
    worker.terminate()
    _, status, usage = os.wait4(worker.pid, 0)
    worker.returncode = os.waitstatus_to_exitcode(status)
    return Cost(0, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def worked(servers, count):
    """What a job costs with so many workers."""
    workers, job, state = [], None, "QUEUED"
    try:
        for _ in range(count):
            workers.append(start(servers))
        job = request(servers)
        while state not in ("COMPLETED", "FAILED", "CANCELLED"):
            time.sleep(0.1)
            state = servers.sql("data_exporter", f"SELECT state FROM export_jobs WHERE id = '{job}'").strip()
    finally:
        costs = [stop(worker) for worker in workers]
    rows = servers.sql("data_exporter", f"SELECT sum(row_count) FROM export_job_partitions WHERE job_id = '{job}'").strip()
    if state != "COMPLETED" or int(rows or 0) != arguments.rows:
        raise SystemExit(f"the job ended {state} with {rows} rows instead of {arguments.rows}")
    return Cost(servers.job_seconds(job), sum(cost.cpu for cost in costs), max(cost.peak for cost in costs))


with Servers(arguments.program, arguments.data_dir) as servers:
    if servers.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'warehouse'").strip() == "0":
        servers.sql("postgres", "CREATE DATABASE warehouse")
    servers.sql("warehouse", TABLE)
    servers.sql("data_exporter", servers.exempt("shared"))
    costs = {1: [], 2: []}
    for turn in range(arguments.runs):
        for count, runs in costs.items():
            runs.append(worked(servers, count))
            servers.empty()
        print(f"run {turn + 1}: " + "; ".join(f"{count}: {runs[-1]}" for count, runs in costs.items()), file=sys.stderr)
    one, two = median(costs[1]), median(costs[2])
    print(f"\n{arguments.rows:,} rows, {arguments.runs} runs, {os.cpu_count()} cores\n")
    print("| worker processes | wall s | rows a second | CPU s of all | peak MiB of the larger |")
    print("|---|---|---|---|---|")
    for name, cost in (("one", one), ("two", two)):
        print(f"| {name} | {cost.wall:.2f} | {arguments.rows / cost.wall:,.0f} | {cost.cpu:.2f} | {cost.peak:.0f} |")
    print(f"| ratio of two to one | {two.wall / one.wall:.2f} | | {two.cpu / one.cpu:.2f} | |")
