"""Runs the load of bench/driver against both brokers in turn, reads their CPU time and memory, prints the table.

Each measure is taken `ROUNDS` times, the brokers taking turns, and the median is shown: on a shared machine the neighbours'
load is part of every figure, so trust the ratio more than either side of it.
"""

import argparse
import json
import mmap
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

from harness.broker import CACHE, REPO, Broker  # noqa: E402
from harness.wire import Peer, Refused, batch, create_topic, produce  # noqa: E402

GIB = float(1 << 30)
# Kafka / Milena for what should be small, Milena / Kafka for what should be large; from the targets of the project.
TARGETS = {
    "start to first acknowledged record": 20,
    "resident memory, idle": 10,
    "produce": 2,
    "broker CPU produced": 3,
    "broker CPU consumed": 2,
    "produce latency p99": 3,
    "produce latency p99.9": 3,
    "send and flush": 2,
}


class Bench:
    def __init__(self, driver, arguments):
        self.driver = driver
        self.rounds = 1 if arguments.quick else 3
        self.megabytes = 100 if arguments.quick else 400
        self.seconds = 3 if arguments.quick else 10
        self.only = arguments.only
        self.rows = []
        self.topics = 0

    def wanted(self, word):
        return not self.only or word.startswith(self.only)

    def drive(self, *words):
        done = subprocess.run([self.driver, *(str(word) for word in words)], capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"driver {words}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def add(self, what, unit, figures, larger_is_better=False, target=None):
        """`figures` holds the rounds of each broker, by its kind."""
        kafka, milena = (statistics.median(figures[kind]) for kind in ("apache", "milena"))
        ratio = (milena / kafka if larger_is_better else kafka / milena) if kafka and milena else None
        row = {"what": what, "unit": unit, "kafka": kafka, "milena": milena, "times_better": ratio, "target": target, "rounds": figures}
        self.rows.append(row)
        shown = f"{ratio:.1f}x" if ratio else "-"
        print(f"{what:<58} {unit:>9} {kafka:>12,.2f} {milena:>12,.2f} {shown:>8} {f'>= {target}x' if target else '':>8}", flush=True)

    def fresh_topic(self, broker, partitions=1):
        self.topics += 1
        name = f"bench-{self.topics}"
        with Peer(broker.address) as peer:
            answer = create_topic(peer, name, partitions)
            assert answer["error_code"] == 0, answer
            deadline = time.monotonic() + 20
            while produce(peer, name, batch())["error_code"] and time.monotonic() < deadline:
                time.sleep(0.01)
        return name

    def forget_topic(self, broker, name):
        with Peer(broker.address, patience=60) as peer:
            peer.ask("DeleteTopics", 4, topic_names=[name], timeout_ms=30_000)

    def alternate(self, brokers, measure):
        """`measure(broker)` returns a dictionary of figures; the result maps each to its rounds by kind."""
        figures = {}
        for _ in range(self.rounds):
            for broker in brokers:
                for name, value in measure(broker).items():
                    figures.setdefault(name, {"apache": [], "milena": []})[broker.kind].append(value)
        return figures


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def first_acknowledged(broker):
    """Seconds from the start of a fresh broker's process until a record is acknowledged (acks=1, topic made on demand)."""
    environment = dict(os.environ)
    if broker.kind == "apache":
        # Formatted and stopped beforehand: the storage tool is not part of a start.
        broker.start()
        broker.stop()
        libs = f"{CACHE}/kafka-4.3.1/libs/*"
        logging = f"-Dlog4j2.configurationFile={REPO}/tests/java/log4j2.xml"
        command = ["java", *os.environ["KAFKA_JVM"].split(), logging, "-cp", libs, "kafka.Kafka", str(broker.directory / "server.properties")]
    else:
        command = broker.milena_command()
    began = time.monotonic()
    with open(broker.directory / "first.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        while time.monotonic() - began < 60:
            try:
                with Peer(broker.address, patience=5) as peer:
                    if create_topic(peer, "first")["error_code"] not in (0, 36):
                        continue
                    while time.monotonic() - began < 60:
                        if produce(peer, "first", batch(), acks=1)["error_code"] == 0:
                            return time.monotonic() - began
            except (OSError, Refused):
                time.sleep(0.001)
        raise RuntimeError(f"no record was acknowledged within 60 s, see {broker.directory}/first.log")
    finally:
        process.terminate()
        process.wait(60)


def back_memory(share=0.75):
    """Touches most of the free memory and gives it back, so that the host has given it before anything is measured.

    On a virtual machine the first touch of a page can cost more than all else that a broker does for it: for the same broker
    2.5 CPU seconds per GiB were measured without this and 0.4 with it, nearly all of it under the copy into the page cache.
    """
    free = memory_free_bytes()
    step = 64 << 20
    with mmap.mmap(-1, max(int(free * share) // step, 1) * step) as memory:
        for offset in range(0, len(memory), step):
            memory[offset : offset + step] = b"\1" * step


def memory_free_bytes():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemFree:"):
            return int(line.split()[1]) * 1024
    return 0


def throughput(bench, brokers, size, codec):
    count = max(bench.megabytes * 1_000_000 // size, 1)
    if size < 1000:
        count //= 2
    gib = count * size / GIB

    def measure(broker):
        topic = bench.fresh_topic(broker)
        before = cpu_seconds(broker.pid)
        sent = bench.drive("produce", broker.address, topic, size, codec, count)
        produced = cpu_seconds(broker.pid)
        read = bench.drive("consume", broker.address, topic, count)
        consumed = cpu_seconds(broker.pid)
        bench.forget_topic(broker, topic)
        return {
            "produce": count / sent["seconds"] / 1000,
            "produce client": sent["client_cpu_seconds"] / sent["seconds"],
            "broker CPU produced": (produced - before) / gib,
            "consume": count / read["seconds"] / 1000,
            "consume client": read["client_cpu_seconds"] / read["seconds"],
            "broker CPU consumed": (consumed - produced) / gib,
        }

    back_memory()
    label = f"{size} B, {'no codec' if codec == 'none' else codec}"
    figures = bench.alternate(brokers, measure)
    bench.add(f"produce, {label}", "k rec/s", figures["produce"], True, TARGETS["produce"])
    bench.add(f"  client's CPU while producing, {label}", "cores", figures["produce client"])
    bench.add(f"broker CPU produced, {label}", "s/GiB", figures["broker CPU produced"], target=TARGETS["broker CPU produced"])
    bench.add(f"consume, {label}", "k rec/s", figures["consume"], True)
    bench.add(f"  client's CPU while consuming, {label}", "cores", figures["consume client"])
    bench.add(f"broker CPU consumed, {label}", "s/GiB", figures["broker CPU consumed"], target=TARGETS["broker CPU consumed"])


def paced(bench, brokers, command, label):
    def measure(broker):
        topic = bench.fresh_topic(broker)
        before = cpu_seconds(broker.pid)
        answer = bench.drive(command, broker.address, topic, 1024, 2000, bench.seconds)
        answer["broker CPU"] = (cpu_seconds(broker.pid) - before) / bench.seconds * 100
        bench.forget_topic(broker, topic)
        return answer

    back_memory()
    figures = bench.alternate(brokers, measure)
    for name, shown in (("p50_ms", "p50"), ("p99_ms", "p99"), ("p999_ms", "p99.9")):
        bench.add(f"{label} {shown}, 2,000/s of 1 KiB", "ms", figures[name], target=TARGETS.get(f"{label} {shown}"))
    bench.add(f"  broker CPU at 2,000/s, {label}", "% core", figures["broker CPU"])


def send_and_flush(bench, brokers):
    def measure(broker):
        script = REPO / "tests/quickstart/producer_gzip.py"
        count = 2_000 if bench.rounds == 1 else 10_000
        began, before = time.monotonic(), cpu_seconds(broker.pid)
        environment = {**os.environ, "BOOTSTRAP": broker.address, "COUNT": str(count)}
        subprocess.run([sys.executable, script], env=environment, check=True, timeout=300)
        return {"seconds": time.monotonic() - began, "cpu": cpu_seconds(broker.pid) - before}

    figures = bench.alternate(brokers, measure)
    bench.add("send and flush 10,000 records (kafka-python, gzip, acks=0)", "s", figures["seconds"], target=TARGETS["send and flush"])
    bench.add("  broker CPU of that", "s", figures["cpu"])


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("driver")
    parser.add_argument("--quick", action="store_true", help="one round of each, less data")
    parser.add_argument("--only", help="only measures whose name begins so: start, idle, produce, 'produce 1024 none', latency, end to end, flush")
    parser.add_argument("--out", default=str(REPO / "target/bench.json"))
    arguments = parser.parse_args()
    bench = Bench(arguments.driver, arguments)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="milena-bench-"))
    print(f"{'':<58} {'unit':>9} {'Kafka 4.3.1':>12} {'Milena':>12} {'better':>8} {'target':>8}")
    try:
        if bench.wanted("start"):
            figures = {kind: [first_acknowledged(Broker(folder / f"first-{kind}-{n}", kind=kind)) for n in range(bench.rounds)] for kind in ("apache", "milena")}
            bench.add("start to first acknowledged record", "s", figures, target=TARGETS["start to first acknowledged record"])
        with Broker(folder / "apache", kind="apache") as kafka, Broker(folder / "milena", kind="milena") as milena:
            brokers = (kafka, milena)
            time.sleep(5)
            idle = {broker.kind: [cpu_seconds(broker.pid)] for broker in brokers}
            time.sleep(5)
            idle = {broker.kind: [(cpu_seconds(broker.pid) - idle[broker.kind][0]) / 5 * 100] for broker in brokers}
            if bench.wanted("idle"):
                figures = {broker.kind: [memory_mib(broker.pid, "VmRSS")] for broker in brokers}
                bench.add("resident memory, idle", "MiB", figures, target=TARGETS["resident memory, idle"])
                bench.add("CPU, idle", "% core", idle)
            # The virtual machine compiles what is hot; it gets its chance before anything counts.
            for broker in brokers:
                topic = bench.fresh_topic(broker)
                bench.drive("produce", broker.address, topic, 1024, "none", 20_000 if arguments.quick else 200_000)
                bench.drive("consume", broker.address, topic, 20_000)
                bench.forget_topic(broker, topic)
            if not arguments.only or "produce".startswith(arguments.only.split()[0]):
                for size in (1024, 100):
                    for codec in ("none", "lz4", "zstd"):
                        if bench.wanted(f"produce {size} {codec}"):
                            throughput(bench, brokers, size, codec)
            if bench.wanted("latency"):
                paced(bench, brokers, "latency", "produce latency")
            if bench.wanted("end to end"):
                paced(bench, brokers, "end-to-end", "end to end")
            if bench.wanted("flush"):
                send_and_flush(bench, brokers)
            figures = {broker.kind: [memory_mib(broker.pid, "VmHWM")] for broker in brokers}
            bench.add("resident memory, highest", "MiB", figures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out = pathlib.Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "kernel": os.uname().release, "seconds_since_epoch": int(time.time())}
    out.write_text(json.dumps({"machine": machine, "rounds": bench.rounds, "rows": bench.rows}, indent=1))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
