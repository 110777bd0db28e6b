"""Runs the load of bench/driver against both sides in turn, reads their CPU time and memory, prints the table.

Each measure is taken several times, the two sides taking turns, and the median is shown: on a shared machine the neighbours'
load is part of every figure, so trust the ratio more than either side of it.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

import cluster  # noqa: E402
import single  # noqa: E402
import transactions  # noqa: E402
from harness.broker import REPO  # noqa: E402
from table import Bench  # noqa: E402


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("driver")
    parser.add_argument("--quick", action="store_true", help="one round of each, less data")
    parser.add_argument("--cluster", action="store_true", help="three brokers on each side instead of one, replication factor 3, acks=all")
    parser.add_argument("--transactions", action="store_true", help="one broker on each side: transactions, the cleaner, many producer ids")
    parser.add_argument("--all", action="store_true", help="one broker, then three, then transactions")
    parser.add_argument("--only", help="only measures whose name begins so: start, idle, produce, 'produce 1024 none', latency, end to end, commits, flush; replication; transactions, ready-made, cleaner, producer ids")
    parser.add_argument("--out", default=str(REPO / "target/bench.json"))
    arguments = parser.parse_args()
    bench = Bench(arguments.driver, arguments)
    if arguments.all:
        parts = (single, cluster, transactions)
    else:
        parts = (cluster if arguments.cluster else transactions if arguments.transactions else single,)
    bench.head()
    for part in parts:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="milena-bench-"))
        bench.say(f"{part.__doc__} Load average {os.getloadavg()[0]:.1f}.")
        try:
            part.run(bench, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    out = pathlib.Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"load_average": os.getloadavg(), "cores": os.cpu_count(), "kernel": os.uname().release, "seconds_since_epoch": int(time.time())}
    out.write_text(json.dumps({"machine": machine, "rounds": bench.rounds, "rows": bench.rows}, indent=1))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
