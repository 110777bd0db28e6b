"""Three brokers beside three brokers, replication factor 3, min.insync.replicas 2, acks=all."""

import time
from concurrent.futures import ThreadPoolExecutor

import measures
import transactions
from harness.broker import Broker
from harness.wire import Peer, Refused
from host import cpu_seconds, memory_mib
from single import warm_up

PARTITIONS = 6


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
        for codec in ("none", "lz4"):
            if bench.wanted(f"produce 1024 {codec}"):
                throughput(bench, sides, codec)
        if bench.wanted("latency"):
            measures.paced(bench, sides, "latency", "produce latency", PARTITIONS, 3, "all")
        if bench.wanted("end to end"):
            measures.paced(bench, sides, "end-to-end", "end to end", PARTITIONS, 3, "all")
        if bench.wanted("commits"):
            measures.offset_commits(bench, sides)
        transactions.load(bench, sides, replicas=3)
        bench.add("resident memory, highest, sum of three", "MiB", {side.kind: [memory_mib(side, "VmHWM")] for side in sides})


def throughput(bench, sides, codec):
    common = {"partitions": PARTITIONS, "replicas": 3, "acks": "all"}
    each = measures.produce_as_much_as_goes
    each(bench, sides, 1024, codec, command="produce", label="2 producers", producers=2, **common)
    each(bench, sides, 1024, codec, command="ready-made", label="ready-made requests", **common)


def idle(bench, sides):
    bench.say("idle")
    time.sleep(5)
    before = {side.kind: cpu_seconds(side) for side in sides}
    time.sleep(5)
    bench.add("resident memory, idle, sum of three", "MiB", {side.kind: [memory_mib(side, "VmRSS")] for side in sides})
    bench.add("CPU, idle, sum of three", "% core", {side.kind: [(cpu_seconds(side) - before[side.kind]) / 5 * 100] for side in sides})
