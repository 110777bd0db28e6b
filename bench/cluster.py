"""Three brokers beside three brokers, replication factor 3, min.insync.replicas 2, acks=all."""

import time
from concurrent.futures import ThreadPoolExecutor

import measures
import transactions
from harness.broker import Broker
from harness.wire import Peer, Refused
from host import back_memory, cpu_seconds, memory_mib
from single import warm_up
from table import AIMS

PARTITIONS = 6
MIB = float(1 << 20)


class Cluster:
    """Three nodes on loopback, each broker and controller; the same settings for both kinds."""

    def __init__(self, folder, kind):
        self.kind = kind
        self.nodes = [Broker(folder / f"{kind}-{n}", kind=kind) for n in (1, 2, 3)]
        self.address = ",".join(node.address for node in self.nodes)
        voters = ",".join(f"{n}@127.0.0.1:{node.port + 1}" for n, node in enumerate(self.nodes, 1))
        for n, node in enumerate(self.nodes, 1):
            node.settings = {
                "process.roles": "broker,controller",
                "node.id": n,
                "controller.quorum.voters": voters,
                "controller.listener.names": "CONTROLLER",
                "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.port + 1}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
                "default.replication.factor": 3,
                "min.insync.replicas": 2,
                "offsets.topic.replication.factor": 3,
                "offsets.topic.num.partitions": 50,
            }

    @property
    def pids(self):
        return [node.pid for node in self.nodes]

    def __enter__(self):
        # A node says that it is ready when it has found the others: all must start at once.
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(Broker.start, self.nodes))
        self.wait_for_all_brokers()
        return self

    def __exit__(self, *_):
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(Broker.stop, self.nodes))

    def wait_for_all_brokers(self):
        deadline = time.monotonic() + 60
        for node in self.nodes:
            while self.brokers_known_to(node) < len(self.nodes):
                assert time.monotonic() < deadline, f"{node.directory} does not know all brokers after 60 s"
                time.sleep(0.05)

    def brokers_known_to(self, node):
        try:
            with Peer(node.address) as peer:
                return len(peer.ask("Metadata", 7, topics=[], allow_auto_topic_creation=False)["brokers"])
        except (OSError, Refused):
            return 0


def run(bench, folder):
    with Cluster(folder, "apache") as kafka, Cluster(folder, "milena") as milena:
        sides = (kafka, milena)
        if bench.wanted("idle"):
            idle(bench, sides)
        warm_up(bench, sides, replicas=3)
        throughput(bench, sides, [codec for codec in ("none", "lz4") if bench.wanted(f"produce 1024 {codec}")])
        if bench.wanted("replication"):
            replication(bench, sides)
        if bench.wanted("latency"):
            measures.paced(bench, sides, "latency", "produce latency", PARTITIONS, 3, "all", aims=("p50", "p99"))
        if bench.wanted("end to end"):
            measures.paced(bench, sides, "end-to-end", "end to end", PARTITIONS, 3, "all")
        if bench.wanted("commits"):
            measures.offset_commits(bench, sides, AIMS["commits, k/s"])
        transactions.load(bench, sides, replicas=3, kinds=("ready-made",))
        bench.add("resident memory, highest, sum of three", "MiB", {side.kind: [memory_mib(side, "VmHWM")] for side in sides})


def throughput(bench, sides, codecs):
    """As applications see it, and as the brokers can; and whether compression costs anything there."""
    common = {"partitions": PARTITIONS, "replicas": 3, "acks": "all"}
    each = measures.produce_as_much_as_goes
    ready_made = {}
    for codec in codecs:
        each(bench, sides, 1024, codec, command="produce", label="2 producers", producers=2, **common)
        aims = (AIMS["produce, 1 KiB, no codec, k rec/s"], AIMS["broker CPU produced, s/GiB"]) if codec == "none" else None
        figures = each(bench, sides, 1024, codec, command="ready-made", label="ready-made requests", aims=aims, **common)
        ready_made[codec] = figures["produce"]
    if {"none", "lz4"} <= ready_made.keys():
        of = {kind: [lz4 / none * 100 for lz4, none in zip(ready_made["lz4"][kind], ready_made["none"][kind])] for kind in ready_made["none"]}
        bench.add("lz4 beside no codec, 1 KiB, ready-made requests", "%", of, True, aim=AIMS["compressed beside uncompressed, %"])


def replication(bench, sides):
    """What replicated bytes cost all brokers together, beside a bare TCP copy of as many.

    The same load goes to as many partitions without and with two followers; the difference is replication: the leaders'
    reading and sending, the followers' receiving and writing. A TCP copy only sends and receives.
    """
    count = max(bench.megabytes, 200) * 1_000

    def spent(side, replicas):
        topic = bench.fresh_topic(side, PARTITIONS, replicas)
        back_memory(count * 1024 * replicas)
        before = cpu_seconds(side)
        sent = bench.drive("ready-made", side, topic, size=1024, count=count, acks="all")
        taken = cpu_seconds(side) - before
        bench.forget_topic(side, topic)
        return taken, sent["records"] * 1024 / MIB

    def measure(side):
        alone, _ = spent(side, 1)
        all_three, megabytes = spent(side, 3)
        copied = bench.drive("copy", side, "-", connections=PARTITIONS, megabytes=max(int(megabytes) // PARTITIONS, 1))
        per_second = 2 * megabytes / max(all_three - alone, 0.01)
        bare = copied["bytes"] / MIB / max(copied["client_cpu_seconds"], 0.01)
        return {"replicated": per_second, "bare": bare, "share": per_second / bare * 100}

    figures = bench.alternate("replication", sides, measure)
    bench.add("replicated, for each CPU second of three brokers", "MiB", figures["replicated"], True)
    bench.add("  a bare TCP copy, for each CPU second", "MiB", figures["bare"], True)
    bench.add("  share of that", "%", figures["share"], True)


def idle(bench, sides):
    bench.say("idle")
    time.sleep(5)
    before = {side.kind: cpu_seconds(side) for side in sides}
    time.sleep(5)
    bench.add("resident memory, idle, sum of three", "MiB", {side.kind: [memory_mib(side, "VmRSS")] for side in sides})
    bench.add("CPU, idle, sum of three", "% core", {side.kind: [(cpu_seconds(side) - before[side.kind]) / 5 * 100] for side in sides})
