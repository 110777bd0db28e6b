"""Programs that people run around Kafka, as they come from Maven Central, on three brokers while things break.

Kafka Streams and Kafka Connect, Apache's verifiable and performance tools. Each leaves behind something that can be counted.
"""

import collections
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from harness.cluster import Cluster, Load, read_all, verdict
from harness.committed import Tail, read
from harness.drivers import BY_NAME, until
from harness.programs import ECOSYSTEM, KAFKA, Program, java
from harness.tools import Tools

TOOLS = Tools("4.3.1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def whole_again(cluster):
    yield
    cluster.make_whole()


class Lines(threading.Thread):
    """Writes lines of two words until it is stopped: fifty words, evenly."""

    def __init__(self, cluster, topic, partitions):
        super().__init__(daemon=True)
        self.topic, self.partitions = topic, partitions
        settings = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "socket.timeout.ms": 5_000}
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, **settings})
        self.number = 0
        self.failed = []
        self.stopped = threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.01):
            self.number += 1
            words = [f"w{self.number % 50}", f"w{self.number * 7 % 50}"]
            self.producer.produce(self.topic, " ".join(words), partition=self.number % self.partitions, on_delivery=self.told)
            self.producer.poll(0)

    def told(self, error, _):
        if error:
            self.failed.append(error.str())

    def finish(self, cluster):
        """How often each word is in the topic."""
        self.stopped.set()
        self.join()
        assert self.producer.flush(60) == 0 and not self.failed, self.failed[:3]
        lines = read(cluster.bootstrap, self.topic, self.partitions, lambda lines: len(lines) >= self.number)
        return collections.Counter(word for line in lines for word in line.value.split(" "))


def word_count(cluster, name, guarantee, state):
    settings = [f"processing.guarantee={guarantee}", "replication.factor=3", "num.stream.threads=2", "commit.interval.ms=100"]
    settings += ["consumer.session.timeout.ms=6000", "consumer.heartbeat.interval.ms=1000"]
    command = [*java("192m", KAFKA, ECOSYSTEM / "libs/*", ECOSYSTEM / "classes"), "WordCount", cluster.bootstrap, name]
    return Program(cluster.directory, f"{name}-{state}", [*command, cluster.directory / f"{name}-state-{state}", f"{name}-in", f"{name}-out", *settings])


@pytest.mark.parametrize("guarantee", ["exactly_once_v2", "at_least_once"])
def test_streams_counts_words_while_it_and_brokers_are_killed(cluster, guarantee):
    """With exactly_once_v2 the counts of a word are 1, 2, 3 ... in the output, whatever was killed; at_least_once may repeat."""
    name = f"words-{guarantee}".replace("_", "-")
    exact = guarantee == "exactly_once_v2"
    isolation = "read_committed" if exact else "read_uncommitted"
    cluster.create(f"{name}-in", 2, min_insync_replicas=2)
    cluster.create(f"{name}-out", 2, min_insync_replicas=2)
    lines = Lines(cluster, f"{name}-in", 2)
    tail = Tail(cluster.bootstrap, f"{name}-out", 2, isolation)
    app = word_count(cluster, name, guarantee, "a").start()
    try:
        def goes_on():
            tail.wait_more(200, 90, app.last_words)

        goes_on()
        # A broker and the application die in the same moment; the application comes back first.
        victim = cluster.brokers[cluster.leader(f"{name}-out")]
        victim.kill()
        app.kill()
        app.start()
        goes_on()
        victim.start()
        if exact:
            # Elsewhere, with nothing on its disk: all state comes out of the changelog, and nobody fences the old one's transaction.
            app.kill()
            app = word_count(cluster, name, guarantee, "b").start()
            goes_on()
        written = lines.finish(cluster)

        def complete(records):
            counts = {it.key: int(it.value) for it in records}
            return counts == written if exact else all(counts.get(word, 0) >= count for word, count in written.items())

        records = tail.finish(cluster.bootstrap, complete, 90)
        if exact:
            for word, count in written.items():
                got = [int(it.value) for it in records if it.key == word]
                assert got == list(range(1, count + 1)), f"{word}: {count} were written, counted were {got}"
        assert app.stop() in (0, 143)
    finally:
        lines.stopped.set()
        tail.stopped.set()
        app.kill()


def test_verifiable_tools_through_the_death_of_a_leader(cluster):
    topic, count = "verifiable", 1500
    cluster.create(topic, 3, min_insync_replicas=2)
    at = ["--bootstrap-server", cluster.bootstrap, "--topic", topic]
    # By itself the tool tries nothing again.
    retries = cluster.directory / "retries.properties"
    retries.write_text("retries=2147483647\n")
    words = [*at, "--max-messages", count, "--throughput", 300, "--acks", "-1", "--command-config", retries]
    producer = Program(cluster.directory, "producer", TOOLS.command("kafka-verifiable-producer", *words))
    consumer = Program(
        cluster.directory,
        "consumer",
        TOOLS.command("kafka-verifiable-consumer", *at, "--group-id", "verifying", "--max-messages", count, "--reset-policy", "earliest", "--verbose"),
    )
    producer.start()
    consumer.start()
    try:
        until(lambda: sum(it["name"] == "record_data" for it in consumer.answers()) > 200, 60, consumer.last_words)
        cluster.brokers[cluster.leader(topic)].kill()
        assert producer.process.wait(60) == 0, producer.last_words()
        sent = [it for it in producer.answers() if it["name"] == "producer_send_success"]
        assert len(sent) == count and not [it for it in producer.answers() if it["name"] == "producer_send_error"]
        assert consumer.process.wait(60) == 0, consumer.last_words()
        got = [it for it in consumer.answers() if it["name"] == "record_data"]
        # A consumer that loses its coordinator may read again what it had not committed, never leave out.
        assert {(it["partition"], it["offset"], it["value"]) for it in got} >= {(it["partition"], it["offset"], it["value"]) for it in sent}
    finally:
        producer.kill()
        consumer.kill()


def test_idempotent_producers_through_a_rolling_restart_send_each_record_once(cluster):
    """librdkafka's and Java's at the same time; no request fails, and the checker finds nothing lost, doubled or out of order."""
    loads = []
    try:
        for name in ("confluent-kafka", "java"):
            cluster.create(f"rolled-{name}", 3, min_insync_replicas=2)
            loads.append(Load(BY_NAME[name], cluster, f"rolled-{name}", 3, every_ms=5))
        for broker in cluster.brokers.values():
            for load in loads:
                load.wait_acked(50)
            broker.stop()
            broker.start()
            for load in loads:
                cluster.wait_whole(load.topic, 60)
        for load in loads:
            load.wait_acked(50)
            load.finish()
            assert not [it for it in load.outcomes() if "failed" in it]
            seen = verdict(load, read_all(cluster.bootstrap, load.topic), cluster.directory)
            assert seen["acked"] == len(load.acked()) > 0
    finally:
        for load in loads:
            load.kill()


def test_performance_tool_in_transactions(cluster):
    cluster.create("performance", 3, min_insync_replicas=2)
    out = TOOLS.run(
        "kafka-producer-perf-test", "--topic", "performance", "--num-records", 5000, "--record-size", 100, "--throughput", 2500,
        "--transactional-id", "performance", "--transaction-duration-ms", 50, "--producer-props", f"bootstrap.servers={cluster.bootstrap}",
    )  # fmt: skip
    assert "5000 records sent" in out, out
    records = read(cluster.bootstrap, "performance", 3, lambda records: len(records) >= 5000)
    assert len(records) == 5000


def test_groups_and_access_rules_are_asked_of_every_broker(cluster):
    """Tools ask all brokers for their groups, and one that coordinates none says so; MirrorMaker asks for rules, and knows the refusal."""
    cluster.create("listed", 1)
    group = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "listed"})
    group.commit(offsets=[TopicPartition("listed", 0, 0)], asynchronous=False)
    group.close()
    answers = {i: cluster.ask("ListGroups", 4, to=i, states_filter=[]) for i in cluster.brokers}
    assert [answer["error_code"] for answer in answers.values()] == [0, 0, 0]
    listing = [i for i, answer in answers.items() if "listed" in [it["group_id"] for it in answer["groups"]]]
    assert listing == [cluster.coordinator("listed")]
    assert "listed" in TOOLS.run("kafka-groups", "--bootstrap-server", cluster.bootstrap, "--list")
    code, out, error = TOOLS.attempt("kafka-acls", "--bootstrap-server", cluster.bootstrap, "--list")
    assert "SecurityDisabledException" in out + error, out + error
