"""One broker beside one broker, acks=1."""

import os
import subprocess
import time

import measures
from harness.broker import CACHE, REPO, Broker
from harness.wire import Peer, Refused, batch, create_topic, produce
from host import cpu_seconds, memory_mib
from table import TARGETS


def run(bench, folder):
    if bench.wanted("start"):
        start(bench, folder)
    if bench.only and "start".startswith(bench.only):
        return
    with Broker(folder / "apache", kind="apache") as kafka, Broker(folder / "milena", kind="milena") as milena:
        brokers = (kafka, milena)
        if bench.wanted("idle"):
            idle(bench, brokers)
        if bench.only and "idle".startswith(bench.only):
            return
        warm_up(bench, brokers)
        for size in (1024, 100):
            for codec in ("none", "lz4", "zstd"):
                if bench.wanted(f"produce {size} {codec}"):
                    throughput(bench, brokers, size, codec)
        if bench.wanted("latency"):
            measures.paced(bench, brokers, "latency", "produce latency")
        if bench.wanted("end to end"):
            measures.paced(bench, brokers, "end-to-end", "end to end")
        if bench.wanted("commits"):
            measures.offset_commits(bench, brokers)
        if bench.wanted("flush"):
            measures.send_and_flush(bench, brokers)
        bench.add("resident memory, highest", "MiB", {broker.kind: [memory_mib(broker, "VmHWM")] for broker in brokers})


def start(bench, folder):
    bench.say("start to first acknowledged record")
    figures = {kind: [first_acknowledged(Broker(folder / f"first-{kind}-{n}", kind=kind)) for n in range(bench.rounds)] for kind in ("apache", "milena")}
    bench.add("start to first acknowledged record", "s", figures, target=TARGETS["start to first acknowledged record"])


def idle(bench, brokers):
    bench.say("idle")
    time.sleep(5)
    before = {broker.kind: cpu_seconds(broker) for broker in brokers}
    time.sleep(5)
    figures = {broker.kind: [(cpu_seconds(broker) - before[broker.kind]) / 5 * 100] for broker in brokers}
    memory = {broker.kind: [memory_mib(broker, "VmRSS")] for broker in brokers}
    bench.add("resident memory, idle", "MiB", memory, target=TARGETS["resident memory, idle"])
    bench.add("CPU, idle", "% core", figures)


def warm_up(bench, sides, replicas=1):
    """The virtual machine compiles what is hot; it gets its chance before anything counts."""
    for side in sides:
        bench.say(f"warming up: {side.kind}")
        topic = bench.fresh_topic(side, 4, replicas)
        for codec in ("none", "lz4", "zstd"):
            bench.drive("produce", side, topic, count=20_000 if bench.rounds == 1 else 200_000, codec=codec, producers=2)
        bench.drive("consume", side, topic, count=20_000)
        bench.forget_topic(side, topic)


def throughput(bench, brokers, size, codec):
    """As one application sees it; as several do; and as the broker can, when the client costs nothing."""
    each = measures.produce_as_much_as_goes
    each(bench, brokers, size, codec, command="produce", label="1 producer", partitions=1, also_consume=True)
    each(bench, brokers, size, codec, command="produce", label="4 producers", partitions=4, producers=4)
    each(bench, brokers, size, codec, command="ready-made", label="ready-made requests", partitions=4)


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
