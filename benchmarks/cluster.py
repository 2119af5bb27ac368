"""Compare a cluster of processes on this machine with joblib alone and pandas alone, side by side.

    .venv/bin/python -m benchmarks.cluster [--rounds 3] [--days 5000000]

Sets up a project with dask, and in its environment runs its search for a model and its summary of a table:
with joblib's own processes, with pandas, and on 1, 2 and 4 workers of dask with one thread each, in turn. Prints
a Markdown table of the median seconds and of their ratio to one process without dask, and what a task costs
that does nothing, in milliseconds. Starting processes and importing packages do not count.

Exit codes: 0 done, 1 a command failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.project import ROOT, copy

WORKERS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure each")
    parser.add_argument("--days", type=int, default=5_000_000, help="rows of the table")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        python = "{}.{}".format(*sys.version_info)
        try:
            command = copy(["cluster=dask", f"python_version={python}"], project)
            subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
            subprocess.run(
                ["make", "setup"], cwd=project, check=True, capture_output=True, text=True
            )
            inside = [project / ".venv/bin/python", "-W", "ignore", "-m", "benchmarks.cluster"]
            inside += ["--inside", str(args.rounds), str(args.days), folder]
            pipe = {"stdout": subprocess.PIPE, "text": True}
            quiet = os.environ | {"DASK_LOGGING__DISTRIBUTED": "critical"}
            measured = subprocess.run(inside, check=True, cwd=ROOT, env=quiet, **pipe)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"benchmark stopped: {error}\n{getattr(error, 'stderr', '') or ''}")
    report(json.loads(measured.stdout.splitlines()[-1]), args)


def report(seconds: dict[str, dict[str, float]], args: argparse.Namespace) -> None:
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores; load {load:.1f}; median of {args.rounds}; {args.days} rows.\n")
    print("| | search, s | ratio | table, s | ratio | a task, ms |\n|---|--:|--:|--:|--:|--:|")
    alone = seconds["one process"]
    for name, found in seconds.items():
        cells = [name]
        for what in ("search", "table"):
            cells += (
                [f"{found[what]:.2f}", f"{found[what] / alone[what]:.2f}"]
                if what in found
                else ["", ""]
            )
        cells.append(f"{found['task']:.2f}" if "task" in found else "")
        print(f"| {' | '.join(cells)} |")


def measure(rounds: int, days: int, folder: str) -> dict[str, dict[str, float]]:
    """Measure all in turn, inside the environment of the project, and return the medians."""
    from dask.distributed import Client, wait
    from my_ai_project import cluster, seasons

    readings, tables = seasons.simulate(days=1461), Path(folder, "tables")
    with Client(processes=False, dashboard_address=None):
        cluster.write(tables, stations=20, days=days // 20)
    found: dict[str, dict[str, list[float]]] = {"one process": {}}

    def clock(name: str, what: str, function) -> None:
        begin = time.perf_counter()
        function()
        found.setdefault(name, {}).setdefault(what, []).append(time.perf_counter() - begin)

    for _ in range(rounds):
        clock("one process", "search", lambda: search_alone(readings, 1))
        clock("one process", "table", lambda: table_alone(tables))
        for count in WORKERS[1:]:
            search_alone(readings, count)
            clock(f"joblib, {count} processes", "search", lambda n=count: search_alone(readings, n))
        for count in WORKERS:
            name = f"dask, {count} worker{'s' * (count > 1)}"
            with Client(n_workers=count, threads_per_worker=1, dashboard_address=None) as client:

                def search(client=client) -> None:
                    client.gather(cluster.search(client, readings))

                def table(client=client) -> None:
                    client.compute(cluster.summary(tables)).result()

                # The first tasks of a worker import its packages.
                client.run(cluster.error, cluster.candidates()[0], readings)
                table()
                clock(name, "search", search)
                clock(name, "table", table)
                # A thousand tasks take as many seconds as one takes milliseconds.
                clock(name, "task", lambda c=client: wait(c.map(abs, range(1000), pure=False)))
    return {n: {w: statistics.median(t) for w, t in one.items()} for n, one in found.items()}


def search_alone(readings, jobs: int) -> None:
    """Try all models of the project with joblib's own processes."""
    import joblib
    from my_ai_project import cluster

    work = (joblib.delayed(cluster.error)(model, readings) for model in cluster.candidates())
    joblib.Parallel(n_jobs=jobs)(work)


def table_alone(tables: Path) -> None:
    """Summarise the whole table with pandas."""
    import pandas as pd

    table = pd.concat([pd.read_parquet(path) for path in sorted(tables.glob("*.parquet"))])
    table.groupby("station")["celsius"].agg(["mean", "min", "max"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(measure(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
    else:
        main()
