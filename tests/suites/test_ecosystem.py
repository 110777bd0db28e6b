"""Programs that people run around Kafka, as they come from Maven Central, on three brokers while things break.

Kafka Streams and Kafka Connect, Apache's verifiable and performance tools. Each leaves behind something that can be counted.
"""

import collections
import json
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from harness.cluster import Load, judged
from harness.committed import Tail, read
from harness.drivers import BY_NAME, until
from harness.programs import ECOSYSTEM, KAFKA, Program, java
from harness.tools import Tools

TOOLS = Tools("4.3.1")
pytestmark = pytest.mark.usefixtures("whole_again")


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


def test_streams_counts_words_while_it_and_brokers_are_killed(cluster):
    """With exactly_once_v2 the counts of a word are 1, 2, 3 ... in the output, whatever was killed; at_least_once may repeat."""
    names = {"exactly_once_v2": "words-once", "at_least_once": "words-least"}
    for name in names.values():
        cluster.create(f"{name}-in", 2, min_insync_replicas=2)
        cluster.create(f"{name}-out", 2, min_insync_replicas=2)
    lines = [Lines(cluster, f"{name}-in", 2) for name in names.values()]
    once, least = (Tail(cluster.bootstrap, f"{names[it]}-out", 2, isolation) for it, isolation in zip(names, ("read_committed", "read_uncommitted")))
    apps = [word_count(cluster, name, guarantee, "a").start() for guarantee, name in names.items()]
    try:
        def go_on():
            for tail, app in zip((once, least), apps):
                tail.wait_more(200, 150, app.last_words)

        go_on()
        # A broker and the applications die in the same moment; the applications come back first.
        victim = cluster.brokers[cluster.leader("words-once-out")]
        victim.kill()
        for app in apps:
            app.kill()
            app.start()
        go_on()
        victim.start()
        # Elsewhere, with nothing on its disk: all state comes out of the changelog, and nobody fences the old one's transaction.
        apps[0].kill()
        apps[0] = word_count(cluster, "words-once", "exactly_once_v2", "b").start()
        go_on()
        written = [it.finish(cluster) for it in lines]

        def last_counts(records):
            return {it.key: int(it.value) for it in records}

        records = once.finish(cluster.bootstrap, lambda records: last_counts(records) == written[0], 90)
        for word, count in written[0].items():
            got = [int(it.value) for it in records if it.key == word]
            assert got == list(range(1, count + 1)), f"{word}: {count} were written, counted were {got}"

        def at_least(records):
            counts = last_counts(records)
            return all(counts.get(word, 0) >= count for word, count in written[1].items())

        least.finish(cluster.bootstrap, at_least, 90)
        assert all(app.stop() in (0, 143) for app in apps)
    finally:
        for it in (*lines, once, least):
            it.stopped.set()
        for app in apps:
            app.kill()


class Orders(threading.Thread):
    """Feeds the application of tests/ecosystem/Orders.java: two topics of orders, and the payment of each."""

    CUSTOMERS, ITEMS, EVERY_MS = 10, 7, 100

    def __init__(self, cluster, prefix):
        super().__init__(daemon=True)
        for name in ("orders-a", "orders-b", "payments"):
            cluster.create(f"{prefix}-{name}", 2, min_insync_replicas=2)
        for name in ("customers", "prices"):
            cluster.create(f"{prefix}-{name}", 2, min_insync_replicas=2, cleanup_policy="compact")
        settings = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "socket.timeout.ms": 5_000}
        # The join by foreign key expects records where Java would put them.
        settings["partitioner"] = "murmur2"
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, **settings})
        self.prefix = prefix
        # Windows of ten seconds begin at full ones; nothing is in the future.
        self.epoch = int(time.time()) // 10 * 10_000 - 3 * 3_600_000
        self.placed = []
        self.failed = []
        self.stopped = threading.Event()
        for customer in range(self.CUSTOMERS):
            self.put("customers", f"c{customer}", f"region-{customer % 3}", self.epoch)
        for item in range(self.ITEMS):
            self.put("prices", f"i{item}", str(item * 10), self.epoch)
        assert self.producer.flush(30) == 0
        self.start()

    def put(self, topic, key, value, timestamp):
        self.producer.produce(f"{self.prefix}-{topic}", value, key, timestamp=timestamp, on_delivery=self.told)
        self.producer.poll(0)

    def told(self, error, _):
        if error:
            self.failed.append(error.str())

    def order(self, number, timestamp):
        customer, item = number % self.CUSTOMERS, number % self.ITEMS
        self.put(f"orders-{'ab'[number % 2]}", str(number), f"c{customer},i{item}", timestamp)
        return customer, item

    def run(self):
        while not self.stopped.wait(0.01):
            number = len(self.placed)
            timestamp = self.epoch + number * self.EVERY_MS
            self.put("payments", str(number), f"payment-{number}", timestamp + 50)
            self.placed.append((timestamp, *self.order(number, timestamp)))

    def finish(self):
        self.stopped.set()
        self.join()
        assert self.producer.flush(60) == 0 and not self.failed, self.failed[:3]

    def joined(self):
        """What the joins must come to: key and value, each once."""
        for number, (_, customer, item) in enumerate(self.placed):
            yield f"priced:{number}", f"c{customer},{item * 10}"
            yield f"paid:{number}", f"payment-{number}"
            yield f"placed:{number}", f"c{customer},region-{customer % 3}"

    def counted(self):
        """What the windows must come to, when later orders have closed them."""
        counts = collections.Counter((customer, at // 10_000 * 10_000) for at, customer, _ in self.placed)
        return {f"counted:c{customer}@{start}": str(count) for (customer, start), count in counts.items()}

    def close_windows(self):
        """An order of each customer, two hours later: more than the grace of all windows."""
        last = len(self.placed)
        for number in range(last, last + self.CUSTOMERS):
            self.order(number, self.epoch + 7_200_000)
        assert self.producer.flush(60) == 0 and not self.failed


def orders(cluster, prefix, output, instance, *settings):
    """An instance of the application: one thread, and copies of the other's state."""
    fixed = ["processing.guarantee=exactly_once_v2", "num.standby.replicas=1", "replication.factor=3", "commit.interval.ms=100"]
    fixed += ["consumer.session.timeout.ms=6000", "consumer.heartbeat.interval.ms=1000", "acceptable.recovery.lag=100"]
    command = [*java("192m", KAFKA, ECOSYSTEM / "libs/*", ECOSYSTEM / "classes"), "Orders", cluster.bootstrap, prefix]
    state = cluster.directory / f"{prefix}-{instance}"
    return Program(cluster.directory, f"{prefix}-{instance}", [*command, state, prefix, output, *fixed, *settings])


def test_streams_joins_and_windows_are_exact_with_an_instance_and_a_broker_killed(cluster):
    """Every order is joined once with a global table, a stream and a table by foreign key, and counted in one window; then the
    application is reset, runs again, and comes to the same.
    """
    feed = None
    cluster.create("shop-out", 2, min_insync_replicas=2)
    cluster.create("shop-again", 2, min_insync_replicas=2)
    apps = []
    try:
        feed = Orders(cluster, "shop")
        tail = Tail(cluster.bootstrap, "shop-out", 2)
        apps = [orders(cluster, "shop", "shop-out", instance).start() for instance in "ab"]
        tail.wait_more(300, 150, apps[0].last_words)
        victim = cluster.brokers[cluster.leader("shop-out")]
        victim.kill()
        apps[0].kill()
        tail.wait_more(300, 150, apps[1].last_words)
        victim.start()
        apps[0].start()
        tail.wait_more(300, 150, apps[1].last_words)
        feed.finish()
        expected = dict(feed.joined())
        until(lambda: len(tail.records) >= len(expected), 150, lambda: f"{len(tail.records)} of {len(expected)}: {apps[1].last_words()}")
        feed.close_windows()
        windows = feed.counted()
        expected |= windows
        records = tail.finish(cluster.bootstrap, lambda records: sum(it.key in windows for it in records) >= len(windows), 90)
        exactly(records, expected)
        assert [app.stop() for app in apps] == [143, 143]

        # Nothing of the application is left but its topics for input, which are read from the start.
        inputs = "shop-orders-a,shop-orders-b,shop-payments,shop-customers"
        at = ["--bootstrap-server", cluster.bootstrap, "--application-id", "shop"]
        TOOLS.run("kafka-streams-application-reset", *at, "--input-topics", inputs, "--force")
        left = [it["name"] for it in cluster.metadata(None)["topics"] if it["name"].startswith("shop-")]
        assert not [name for name in left if name.endswith(("-changelog", "-repartition", "-topic"))], left
        again = orders(cluster, "shop", "shop-again", "c").start()
        apps.append(again)
        # Read at once, the orders that close windows may pass others: only the joins are the same whatever comes first.
        joined = dict(feed.joined())
        records = read(cluster.bootstrap, "shop-again", 2, lambda records: sum(it.key in joined for it in records) >= len(joined), 120)
        exactly(records, joined)
    finally:
        if feed:
            feed.stopped.set()
        for app in apps:
            app.kill()


def exactly(records, expected):
    """Each key once and with its value; but for the orders that only close windows."""
    got = collections.defaultdict(list)
    for it in records:
        got[it.key].append(it.value)
    wrong = {key: got[key] for key in expected if got[key] != [expected[key]]}
    assert not wrong, f"{len(wrong)} of {len(expected)}: {list(wrong.items())[:5]}"


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
        until(lambda: sum(it["name"] == "record_data" for it in consumer.answers()) > 200, 120, consumer.last_words)
        cluster.brokers[cluster.leader(topic)].kill()
        assert producer.process.wait(120) == 0, producer.last_words()
        sent = [it for it in producer.answers() if it["name"] == "producer_send_success"]
        assert len(sent) == count and not [it for it in producer.answers() if it["name"] == "producer_send_error"]
        assert consumer.process.wait(120) == 0, consumer.last_words()
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
            assert judged(cluster, load) == []
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


def test_partitions_are_moved_with_a_throttle_and_it_is_taken_away(cluster):
    """kafka-reassign-partitions, as Cruise Control does it too: the plan, the throttles, the end, and nothing left behind."""
    cluster.create("moved", assignment=[[1, 2], [2, 3]])
    at = ["--bootstrap-server", cluster.bootstrap]
    plan = cluster.directory / "plan.json"
    wanted = {0: [3, 1], 1: [1, 2, 3]}
    moves = [{"topic": "moved", "partition": p, "replicas": replicas} for p, replicas in wanted.items()]
    plan.write_text(json.dumps({"version": 1, "partitions": moves}))
    out = TOOLS.run("kafka-reassign-partitions", *at, "--execute", "--reassignment-json-file", plan, "--throttle", "1000000")
    assert "Successfully started partition reassignments for moved-0,moved-1" in out, out
    until(lambda: {p: it["replica_nodes"] for p, it in cluster.partitions("moved").items()} == wanted, 30, lambda: str(cluster.partitions("moved")))
    out = TOOLS.run("kafka-reassign-partitions", *at, "--verify", "--reassignment-json-file", plan)
    assert "Reassignment of partition moved-0 is completed." in out and "Reassignment of partition moved-1 is completed." in out, out
    assert "Clearing broker-level throttles on brokers 1,2,3" in out and "Clearing topic-level throttles on topic moved" in out, out
    left = TOOLS.run("kafka-configs", *at, "--describe", "--topic", "moved") + TOOLS.run("kafka-configs", *at, "--describe", "--broker", "1")
    assert "throttled" not in left, left


def test_groups_and_access_rules_are_asked_of_every_broker(cluster):
    """Tools ask all brokers for their groups, and one that coordinates none says so; MirrorMaker asks for rules, and knows the refusal."""
    cluster.create("listed", 1)
    group = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "listed"})
    group.commit(offsets=[TopicPartition("listed", 0, 0)], asynchronous=False)
    group.close()

    def listing():
        answers = {i: cluster.ask("ListGroups", 4, to=i, states_filter=[]) for i in cluster.brokers}
        assert [answer["error_code"] for answer in answers.values()] == [0, 0, 0]
        return [i for i, answer in answers.items() if "listed" in [it["group_id"] for it in answer["groups"]]]

    # The coordinator may change while they are asked.
    until(lambda: listing() == [cluster.coordinator("listed")], 20, lambda: f"{listing()}, {cluster.coordinator('listed')} coordinates")
    assert "listed" in TOOLS.run("kafka-groups", "--bootstrap-server", cluster.bootstrap, "--list")
    code, out, error = TOOLS.attempt("kafka-acls", "--bootstrap-server", cluster.bootstrap, "--list")
    assert "SecurityDisabledException" in out + error, out + error
