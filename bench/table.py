"""Runs the load of bench/driver, keeps the rounds, prints a row per measure."""

import json
import statistics
import subprocess
import sys
import time

from harness.wire import Peer, create_topic

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
    "transactions": 2,
}

# What three brokers of Milena are to reach by themselves: three Kafka brokers and their load starve on a small machine.
AIMS = {
    "produce, 1 KiB, no codec, k rec/s": 200,
    "broker CPU produced, s/GiB": 6,
    "compressed beside uncompressed, %": 100,
    "produce latency p50": 0.5,
    "produce latency p99": 10,
    "commits, k/s": 50,
}


class Bench:
    def __init__(self, driver, arguments):
        self.driver = driver
        self.rounds = 1 if arguments.quick else 3
        self.megabytes = 50 if arguments.quick else 400
        self.seconds = 3 if arguments.quick else 10
        self.only = arguments.only
        self.rows = []
        self.topics = 0

    def wanted(self, word):
        """Whether the measures called `word`, or some of them, are to be taken."""
        return not self.only or word.startswith(self.only) or self.only.startswith(word)

    def head(self):
        print(f"{'':<72} {'unit':>9} {'Kafka 4.3.1':>12} {'Milena':>12} {'better':>8}  target", flush=True)

    def say(self, what):
        """Tells a person what takes so long; the table is on standard output."""
        print(f"... {what}", file=sys.stderr, flush=True)

    def drive(self, command, broker, topic, **options):
        words = [self.driver, command, broker.address, topic, *(f"{key.replace('_', '-')}={value}" for key, value in options.items())]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"{broker.kind}: driver {' '.join(words[1:])}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def add(self, what, unit, figures, larger_is_better=False, target=None, aim=None):
        """`figures` holds the rounds of each side, by its kind. `target` is a ratio, `aim` what Milena's own figure is to reach."""
        kafka, milena = (statistics.median(figures[kind]) for kind in ("apache", "milena"))
        ratio = (milena / kafka if larger_is_better else kafka / milena) if kafka and milena else None
        if aim is not None:
            sign, reached, wanted = (">=", milena >= aim, aim) if larger_is_better else ("<=", milena <= aim, aim)
        else:
            # Less than the clock's smallest step is less than any figure.
            too_small = kafka > 0 and milena == 0 and not larger_is_better
            sign, reached, wanted = ">=", target is not None and (too_small or (ratio or 0) >= target), f"{target}x"
        verdict = f"{sign} {wanted} {'reached' if reached else 'missed'}" if (target, aim) != (None, None) else ""
        row = {"what": what, "unit": unit, "kafka": kafka, "milena": milena, "times_better": ratio, "target": target, "aim": aim, "verdict": verdict, "rounds": figures}
        self.rows.append(row)
        shown = f"{ratio:.1f}x" if ratio else "-"
        print(f"{what:<72} {unit:>9} {kafka:>12,.2f} {milena:>12,.2f} {shown:>8}  {verdict}", flush=True)

    def alternate(self, what, sides, measure):
        """`measure(side)` returns a dictionary of figures; the result maps each to its rounds by kind."""
        figures = {}
        for round in range(self.rounds):
            for side in sides:
                self.say(f"{what}: {side.kind}, round {round + 1} of {self.rounds}")
                for name, value in measure(side).items():
                    figures.setdefault(name, {"apache": [], "milena": []})[side.kind].append(value)
        return figures

    def fresh_topic(self, broker, partitions=1, replicas=1):
        """A topic all of whose partitions have a leader and every replica in sync."""
        self.topics += 1
        name = f"bench-{self.topics}"
        addresses = broker.address.split(",")
        with Peer(addresses[0], patience=30) as peer:
            answer = create_topic(peer, name, partitions, replicas)
            assert answer["error_code"] == 0, answer
            deadline = time.monotonic() + 30
            # Of several brokers each would have to be asked whether it knows that it leads.
            while not all_in_sync(peer, name, partitions, replicas) or (len(addresses) == 1 and not all_led_here(peer, name, partitions)):
                assert time.monotonic() < deadline, f"{name} has no leaders, or not every replica in sync, after 30 s"
                time.sleep(0.01)
        return name

    def forget_topic(self, broker, name):
        with Peer(broker.address.split(",")[0], patience=60) as peer:
            peer.ask("DeleteTopics", 4, topic_names=[name], timeout_ms=30_000)


def all_in_sync(peer, name, partitions, replicas):
    (topic,) = peer.ask("Metadata", 7, topics=[{"name": name}], allow_auto_topic_creation=False)["topics"]
    ready = [it for it in topic["partitions"] if it["leader_id"] >= 0 and not it["error_code"] and len(it["isr_nodes"]) == replicas]
    return not topic["error_code"] and len(ready) == partitions


def all_led_here(peer, name, partitions):
    """Metadata may name a leader that does not know yet."""
    asked = [{"partition_index": index, "current_leader_epoch": -1, "timestamp": -1} for index in range(partitions)]
    answer = peer.ask("ListOffsets", 6, replica_id=-1, isolation_level=0, topics=[{"name": name, "partitions": asked}])
    return all(it["error_code"] == 0 for it in answer["topics"][0]["partitions"])
