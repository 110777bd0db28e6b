"""The measures that one broker and a cluster have in common."""

import os
import subprocess
import sys
import time

from harness.broker import REPO
from host import back_memory, cpu_seconds
from resource import RUSAGE_CHILDREN, getrusage
from table import AIMS, TARGETS

GIB = float(1 << 30)


def produce_as_much_as_goes(bench, sides, size, codec, *, command, label, partitions, replicas=1, also_consume=False, aims=None, **options):
    """Throughput, and the cores that the brokers and the client kept busy meanwhile: who is at the machine's limit is the limit.

    `aims`: what Milena's throughput and CPU are to reach, instead of a ratio. Returns the figures.
    """
    aim, cpu_aim = aims or (None, None)
    target = {} if aims else {"target": TARGETS["produce"]}
    cpu_target = {} if aims else {"target": TARGETS["broker CPU produced"]}
    count = max(bench.megabytes * 1_000_000 // size, 1)
    if size < 1000:
        count //= 2

    def measure(side):
        topic = bench.fresh_topic(side, partitions, replicas)
        back_memory(count * size * replicas)
        before = cpu_seconds(side)
        sent = bench.drive(command, side, topic, size=size, codec=codec, count=count, **options)
        spent = cpu_seconds(side) - before
        figures = {
            "produce": sent["records"] / sent["seconds"] / 1000,
            "client": sent["client_cpu_seconds"] / sent["seconds"],
            "brokers": spent / sent["seconds"],
            "CPU": spent / (sent["records"] * size / GIB),
        }
        if also_consume:
            before = cpu_seconds(side)
            read = bench.drive("consume", side, topic, count=count)
            figures["consume"] = count / read["seconds"] / 1000
            figures["consuming client"] = read["client_cpu_seconds"] / read["seconds"]
            figures["consumed CPU"] = (cpu_seconds(side) - before) / (count * size / GIB)
        bench.forget_topic(side, topic)
        return figures

    what = f"{size} B, {'no codec' if codec == 'none' else codec}, {label}"
    figures = bench.alternate(f"produce, {what}", sides, measure)
    bench.add(f"produce, {what}", "k rec/s", figures["produce"], True, aim=aim, **target)
    bench.add("  cores busy, broker", "cores", figures["brokers"])
    bench.add("  cores busy, client", "cores", figures["client"])
    bench.add(f"broker CPU produced, {what}", "s/GiB", figures["CPU"], aim=cpu_aim, **cpu_target)
    if also_consume:
        what = f"{size} B, {'no codec' if codec == 'none' else codec}"
        bench.add(f"consume, {what}", "k rec/s", figures["consume"], True)
        bench.add("  cores busy, client", "cores", figures["consuming client"])
        bench.add(f"broker CPU consumed, {what}", "s/GiB", figures["consumed CPU"], target=TARGETS["broker CPU consumed"])
    return figures


def paced(bench, sides, command, label, partitions=1, replicas=1, acks="1", aims=()):
    """Latency at a moderate rate. `aims`: what Milena is to reach, by percentile, instead of a ratio."""

    def measure(side):
        topic = bench.fresh_topic(side, partitions, replicas)
        # Connections, and in the virtual machine code, are made by a load that does not count.
        bench.drive(command, side, topic, size=1024, rate=2000, seconds=1, acks=acks)
        back_memory(2000 * 1024 * bench.seconds * replicas)
        before, began = cpu_seconds(side), time.monotonic()
        answer = bench.drive(command, side, topic, size=1024, rate=2000, seconds=bench.seconds, acks=acks)
        # Not the seconds asked for: a side that cannot keep up takes longer.
        answer["broker CPU"] = (cpu_seconds(side) - before) / (time.monotonic() - began) * 100
        bench.forget_topic(side, topic)
        return answer

    figures = bench.alternate(label, sides, measure)
    for name, shown in (("p50_ms", "p50"), ("p99_ms", "p99"), ("p999_ms", "p99.9")):
        aim = AIMS.get(f"{label} {shown}") if shown in aims else None
        target = None if aims else TARGETS.get(f"{label} {shown}")
        bench.add(f"{label} {shown}, 2,000/s of 1 KiB, acks={acks}", "ms", figures[name], target=target, aim=aim)
    bench.add(f"  broker CPU at 2,000/s, {label}", "% core", figures["broker CPU"])


def offset_commits(bench, sides, aim=None):
    """Commits of one partition each, 32 groups with 8 requests under way each."""

    def measure(side):
        topic = bench.fresh_topic(side)
        bench.drive("commits", side, topic, seconds=1)
        before = cpu_seconds(side)
        done = bench.drive("commits", side, topic, seconds=bench.seconds)
        spent = cpu_seconds(side) - before
        bench.forget_topic(side, topic)
        return {
            "commits": done["commits"] / done["seconds"] / 1000,
            "p50": done["p50_ms"],
            "p99": done["p99_ms"],
            "CPU": spent / done["commits"] * 1e6,
            "client": done["client_cpu_seconds"] / done["seconds"],
        }

    figures = bench.alternate("offset commits", sides, measure)
    bench.add("offset commits of one partition, 32 groups, 8 in flight", "k/s", figures["commits"], True, aim=aim)
    bench.add("  p50", "ms", figures["p50"])
    bench.add("  p99", "ms", figures["p99"])
    bench.add("  broker CPU for each", "us", figures["CPU"])
    bench.add("  cores busy, client", "cores", figures["client"])


def send_and_flush(bench, brokers):
    """The loop of the tutorials. The client's CPU time is told, as no broker can make the loop faster than that."""
    count = 2_000 if bench.rounds == 1 else 10_000

    def measure(broker):
        script = REPO / "tests/quickstart/producer_gzip.py"
        began, before, own = time.monotonic(), cpu_seconds(broker), children_cpu_seconds()
        environment = {**os.environ, "BOOTSTRAP": broker.address, "COUNT": str(count)}
        subprocess.run([sys.executable, script], env=environment, check=True, timeout=300)
        took = time.monotonic() - began
        return {"seconds": took, "cpu": cpu_seconds(broker) - before, "client": children_cpu_seconds() - own}

    figures = bench.alternate("send and flush", brokers, measure)
    what = f"send and flush {count:,} records (kafka-python, gzip, acks=0)"
    bench.add(what, "s", figures["seconds"], target=TARGETS["send and flush"])
    bench.add("  broker CPU of that", "s", figures["cpu"])
    bench.add("  client CPU of that", "s", figures["client"])


def children_cpu_seconds():
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
