"""Exactly once: what transactions cost beside none, and how fast they are read, restarted and cleaned up after."""

import statistics
import time

import single
from harness.broker import Broker
from harness.wire import Peer, batch, create_topic, produce
from host import back_memory, cpu_seconds, memory_mib
from table import TARGETS

PARTITIONS = 4
GIB = float(1 << 30)
# Seconds of one measure: there are a dozen of them, on two sides.
LONGEST = 5
# Records of a run of ready-made batches, at most.
MOST = 1_600_000

# What the load does, and what its row is called. The first is what the others are held against.
LOADS = {
    "neither idempotent nor transactional": {"every": 0, "idempotence": "false"},
    "idempotent": {"every": 0},
    "transactions of 100 ms": {"every": 100},
    "transactions of 10 ms": {"every": 10},
}
ONE_RECORD = {"every": 1000, "records": 1}

# One librdkafka producer is what an application sees; batches made beforehand show the brokers, if there are enough of them
# that a broker is never left waiting for its clients.
LIBRDKAFKA = "1 librdkafka producer"
READY_MADE = (1, 8)


def loads():
    """Word for `--only`, command of the driver, client, load, its options."""
    for name, options in LOADS.items():
        linger = {} if options["every"] in (0, 100) else {"linger": 0}
        yield "transactions", "transactions", LIBRDKAFKA, name, {**options, **linger}
    yield "transactions", "transactions", LIBRDKAFKA, "transactions of one record", {**ONE_RECORD, "linger": 0}
    for producers in READY_MADE:
        for name, options in LOADS.items():
            yield "ready-made", "ready-made-transactions", ready_made(producers), name, {**options, "producers": producers}
    for producers in (1, 8, 64):
        options = {**ONE_RECORD, "producers": producers}
        yield "ready-made", "ready-made-transactions", ready_made(producers), "transactions of one record", options


def ready_made(producers):
    return f"ready-made batches of {producers} producer{'s' if producers > 1 else ''}"


def run(bench, folder):
    settings = {
        "log.cleaner.backoff.ms": 200,
        "log.retention.check.interval.ms": 1000,
        # What one measure wrote is gone from the disk soon after it.
        "log.segment.delete.delay.ms": 1000,
    }
    sides = [Broker(folder / f"transactions-{kind}", settings=settings, kind=kind) for kind in ("apache", "milena")]
    with sides[0], sides[1]:
        single.warm_up(bench, sides)
        load(bench, sides)
        if bench.wanted("transactions read"):
            read(bench, sides)
        if bench.wanted("cleaner"):
            clean(bench, sides)
    if bench.wanted("producer ids"):
        start_with_producer_ids(bench, folder)


def load(bench, sides, replicas=1, kinds=("transactions", "ready-made")):
    """Throughput, the latency of commits, and how much is left of the throughput without any guarantee."""
    without = {}
    for kind, command, client, name, options in loads():
        if kind not in kinds:
            continue
        word = f"{kind} {name}"
        if not bench.wanted(word):
            continue
        figures = measure_load(bench, sides, replicas, f"{word}, {client}", command, options)
        rate = per_second(figures, "records", 1000)
        target = TARGETS["transactions"] if options["every"] else None
        if options.get("records") == 1:
            bench.add(f"{client}: {name}", "1/s", per_second(figures, "transactions"), True, target)
        else:
            bench.add(f"{client}: {name}", "k rec/s", rate, True, target)
            if options["every"]:
                bench.add("  transactions", "1/s", per_second(figures, "transactions"), True)
        if options["every"]:
            bench.add("  commit p50", "ms", figures["commit_p50_ms"])
            bench.add("  commit p99", "ms", figures["commit_p99_ms"])
        if without.setdefault(client, rate) is not rate and options.get("records") != 1:
            bench.add("  of the throughput without", "%", {side: share(rate[side], without[client][side]) for side in rate}, True)
        if options.get("records") != 1:
            bench.add("  broker CPU for it", "s/GiB", per_gibibyte(figures))
        bench.add("  cores busy, broker", "cores", per_second(figures, "CPU"))
        bench.add("  cores busy, client", "cores", per_second(figures, "client_cpu_seconds"))


def measure_load(bench, sides, replicas, what, command, options):
    # Long enough for many transactions of 100 ms, and less than what the kernel begins to write out.
    bounded = {"count": MOST} if command == "ready-made-transactions" else {}

    seconds = min(bench.seconds, LONGEST)

    def measure(side):
        topic = bench.fresh_topic(side, PARTITIONS, replicas)
        bench.drive(command, side, topic, seconds=1, **options, **(bounded and {"count": 100_000}))
        # Each side anew: what it costs to touch memory for the first time would be most of what the faster side is measured by.
        back_memory(MOST * 1024 * replicas)
        before = cpu_seconds(side)
        done = bench.drive(command, side, topic, seconds=seconds, **options, **bounded)
        done["CPU"] = cpu_seconds(side) - before
        bench.forget_topic(side, topic)
        return {key: value for key, value in done.items() if value is not None}

    return bench.alternate(what, sides, measure)


def per_second(figures, what, unit=1):
    return {side: [n / s / unit for n, s in zip(figures[what][side], figures["seconds"][side])] for side in figures[what]}


def per_gibibyte(figures):
    """CPU seconds of the broker for a GiB of records of 1 KiB."""
    return {side: [cpu / (n * 1024 / GIB) for cpu, n in zip(figures["CPU"][side], figures["records"][side])] for side in figures["CPU"]}


def share(rates, of):
    return [rate / statistics.median(of) * 100 for rate in rates]


def read(bench, sides):
    """The same transactional log at both levels of isolation."""
    topics = {}
    for side in sides:
        topic = bench.fresh_topic(side, PARTITIONS)
        # As many records on both sides, whoever is faster.
        count, wanted = 0, bench.megabytes * 1_000
        while count < wanted:
            options = {**LOADS["transactions of 10 ms"], "producers": 4, "count": wanted - count}
            count += bench.drive("ready-made-transactions", side, topic, **options)["records"]
        topics[side.kind] = topic, count

    def measure(side, isolation):
        topic, count = topics[side.kind]
        return {"rate": count / bench.drive("consume", side, topic, count=count, isolation=isolation)["seconds"] / 1000}

    for isolation in ("read_uncommitted", "read_committed"):
        figures = bench.alternate(f"consume, {isolation}", sides, lambda side, isolation=isolation: measure(side, isolation))
        bench.add(f"consume, 1 KiB, transactions of 10 ms, {isolation}", "k rec/s", figures["rate"], True)


def clean(bench, sides):
    """From the moment when the topic is to be compacted until the checkpoint says that all closed segments are.

    The segment that is written to is never cleaned, so there are several, however little data.
    """
    segment_bytes = (bench.megabytes << 20) // 8
    figures = {"rate": {}, "CPU": {}, "left": {}}
    for side in sides:
        bench.say(f"cleaner: {side.kind}")
        topic = f"bench-cleaner-{side.kind}"
        with Peer(side.address, patience=60) as peer:
            assert create_topic(peer, topic, configs={"segment.bytes": str(segment_bytes)})["error_code"] == 0
            bench.drive("produce", side, topic, size=200, count=bench.megabytes * 5_000, keys=bench.megabytes * 500)
            folder = side.data / f"{topic}-0"
            bytes_before = log_bytes(folder)
            last_segment = max(int(path.stem) for path in folder.glob("*.log"))
            assert last_segment > 0, f"{side.kind}: {topic} is one segment"
            before, began = cpu_seconds(side), time.monotonic()
            set_config(peer, topic, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"})
            while cleaned_to(side, topic) < last_segment:
                assert time.monotonic() - began < 240, f"{side.kind}: {topic} is not cleaned after 240 s"
                time.sleep(0.05)
            took = time.monotonic() - began
        figures["rate"][side.kind] = [bytes_before / took / 1e6]
        figures["CPU"][side.kind] = [(cpu_seconds(side) - before) / (bytes_before / GIB)]
    bench.add("cleaner, 200 B, a tenth of the records stays", "MB/s", figures["rate"], True)
    bench.add("  broker CPU of that", "s/GiB", figures["CPU"])


def log_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob("*.log"))


def cleaned_to(side, topic):
    """The first offset that is not cleaned, as the broker's checkpoint says; -1 if it names none."""
    try:
        lines = (side.data / "cleaner-offset-checkpoint").read_text().splitlines()[2:]
    except FileNotFoundError:
        return -1
    found = [int(offset) for name, partition, offset in (line.split() for line in lines) if name == topic]
    return found[0] if found else -1


def set_config(peer, topic, pairs):
    configs = [{"name": name, "config_operation": 0, "value": value} for name, value in pairs.items()]
    answer = peer.ask("IncrementalAlterConfigs", 0, resources=[{"resource_type": 2, "resource_name": topic, "configs": configs}], validate_only=False)
    assert answer["responses"][0]["error_code"] == 0, answer


def start_with_producer_ids(bench, folder):
    """A restart with 100,000 idempotent producers in the state of one partition's log; and what they cost in memory."""
    producers = 10_000 if bench.rounds == 1 else 100_000
    figures = {"clean": {}, "killed": {}, "memory": {}}
    for kind in ("apache", "milena"):
        bench.say(f"producer ids: {kind}")
        broker = Broker(folder / f"producers-{kind}", kind=kind)
        with broker:
            with Peer(broker.address, patience=30) as peer:
                assert create_topic(peer, "producers")["error_code"] == 0
            bench.drive("introduce", broker, "producers", count=producers)
            assert known_producers(broker) == producers
            figures["memory"][kind] = [memory_mib(broker, "VmRSS")]
            broker.stop()
            figures["clean"][kind] = [until_written(broker)]
            assert known_producers(broker) == producers
            broker.kill()
            figures["killed"][kind] = [until_written(broker)]
            assert known_producers(broker) == producers
    what = f"start with {producers:,} producer ids until a record is written"
    bench.add(f"{what}, after an orderly stop", "s", figures["clean"])
    bench.add(f"{what}, after kill -9", "s", figures["killed"])
    bench.add("  resident memory with them", "MiB", figures["memory"])


def known_producers(broker):
    with Peer(broker.address, patience=60) as peer:
        answer = peer.ask("DescribeProducers", 0, topics=[{"name": "producers", "partition_indexes": [0]}])
        return len(answer["topics"][0]["partitions"][0]["active_producers"])


def until_written(broker):
    began = time.monotonic()
    broker.start()
    with Peer(broker.address, patience=60) as peer:
        while produce(peer, "producers", batch())["error_code"] != 0:
            assert time.monotonic() - began < 120
            time.sleep(0.005)
    return time.monotonic() - began
