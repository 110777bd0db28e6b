"""Kafka Connect and MirrorMaker 2, as they come from Maven Central, on three brokers while workers and brokers are killed."""

import contextlib
import json
import threading
import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from harness.broker import Broker
from harness.committed import read
from harness.drivers import until
from harness.programs import Mirror, Worker

FILE_SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
FILE_SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"
pytestmark = pytest.mark.usefixtures("whole_again")


class Pipe:
    """Lines appended to a file, carried by a source connector to a topic and by a sink to another file."""

    def __init__(self, cluster, name, worker, **source):
        self.cluster, self.name, self.worker = cluster, name, worker
        self.topic = f"{name}-lines"
        self.source, self.sink = cluster.directory / f"{name}-source.txt", cluster.directory / f"{name}-sink.txt"
        self.source_settings = {"connector_class": FILE_SOURCE, "tasks_max": 1, "file": self.source, "topic": self.topic, **source}
        self.written = []
        cluster.create(self.topic, 1, min_insync_replicas=2)

    def open(self):
        self.worker.put(f"{self.name}-source", **self.source_settings)
        self.worker.put(f"{self.name}-sink", connector_class=FILE_SINK, tasks_max=1, file=self.sink, topics=self.topic)

    def write(self, count):
        lines = [f"line {number}" for number in range(len(self.written), len(self.written) + count)]
        with self.source.open("a") as file:
            file.write("".join(line + "\n" for line in lines))
        self.written.extend(lines)

    def carried(self):
        def arrived():
            time.sleep(0.1)
            return self.sink.exists() and set(self.sink.read_text().splitlines()) >= set(self.written)

        until(arrived, 150, lambda: f"{self.name}: {len(self.written)} lines written, not all arrived: {self.worker.last_words()}")

    def in_topic(self, enough):
        return [it.value for it in read(self.cluster.bootstrap, self.topic, 1, enough)]


def test_connect_carries_files_through_topics_to_files_while_worker_and_broker_are_killed(cluster):
    """Two groups of workers side by side: one exactly once into the topic, with a second worker that takes over; one at least once."""
    bootstrap, exactly = cluster.bootstrap, {"exactly_once_source_support": "enabled"}
    first = Worker(cluster.directory, "once", bootstrap, name="once-1", **exactly).start()
    single = Worker(cluster.directory, "least", bootstrap).start()
    once = Pipe(cluster, "once", first, exactly_once_support="required")
    least = Pipe(cluster, "least", single)
    second = Worker(cluster.directory, "once", bootstrap, name="once-2", **exactly)
    pipes = (once, least)

    def write():
        for pipe in pipes:
            pipe.write(200)

    def carried():
        for pipe in pipes:
            pipe.carried()

    try:
        write()
        for pipe in pipes:
            pipe.open()
        carried()
        second.start()
        # The worker with the source dies in the middle of its transactions, and with it the coordinator of its group.
        write()
        first.kill()
        single.kill()
        write()
        victim = cluster.brokers[cluster.coordinator("once")]
        victim.kill()
        once.worker = second
        single.start()
        write()
        carried()
        victim.start()
        first.start()
        write()
        carried()
        written = set(once.written)
        got = once.in_topic(lambda records: {it.value for it in records} >= written)
        assert got == once.written, "lines are missing, repeated or out of order in the topic"

        # Its offsets forgotten, the source begins anew: everything is in the topic a second time, and nothing a third.
        second.insist("PUT", "/connectors/once-source/stop")
        until(lambda: second.state("once-source") == ("STOPPED", {}), 60, lambda: str(second.state("once-source")))
        second.insist("DELETE", "/connectors/once-source/offsets")
        second.insist("PUT", "/connectors/once-source/resume")
        got = once.in_topic(lambda records: len(records) >= 2 * len(once.written))
        assert got == once.written * 2
        second.insist("DELETE", "/connectors/once-source")
    finally:
        for worker in (first, second, single):
            worker.kill()


def test_connect_puts_what_it_cannot_read_into_a_dead_letter_queue(cluster):
    cluster.create("letters", 2, min_insync_replicas=2)
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for number in range(200):
        producer.produce("letters", json.dumps({"number": number}) if number % 4 else f"{{broken {number}", partition=number % 2)
    assert producer.flush(30) == 0
    worker = Worker(cluster.directory, "letters", cluster.bootstrap).start()
    sink = cluster.directory / "letters.txt"
    try:
        worker.put(
            "letters", connector_class=FILE_SINK, tasks_max=2, file=sink, topics="letters", value_converter="org.apache.kafka.connect.json.JsonConverter",
            value_converter_schemas_enable="false", errors_tolerance="all", errors_deadletterqueue_topic_name="dead-letters",
            errors_deadletterqueue_topic_replication_factor=3, errors_deadletterqueue_context_headers_enable="true",
        )  # fmt: skip
        until(lambda: sink.exists() and len(sink.read_text().splitlines()) >= 150, 120, worker.last_words)
        dead = read(cluster.bootstrap, "dead-letters", 1, lambda records: len(records) >= 50)
        assert sorted(it.value for it in dead) == sorted(f"{{broken {number}" for number in range(0, 200, 4))
        assert len(sink.read_text().splitlines()) == 150
    finally:
        worker.kill()


class Numbers(threading.Thread):
    """Writes numbers to a topic of two partitions until it is stopped."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
        self.topic, self.number, self.stopped = topic, 0, threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.005):
            self.producer.produce(self.topic, str(self.number), partition=self.number % 2)
            self.producer.poll(0)
            self.number += 1

    def finish(self):
        """How many there are."""
        self.stopped.set()
        self.join()
        assert self.producer.flush(60) == 0
        return self.number


def length(cluster, topic):
    """How many offsets the two partitions of a topic have, markers among them; 0 while a leader changes."""
    asking = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "unused"})
    try:
        return sum(asking.get_watermark_offsets(TopicPartition(topic, p), timeout=15)[1] for p in (0, 1))
    except KafkaException:
        return 0
    finally:
        asking.close()


def test_mirror_maker_copies_exactly_once_while_it_and_a_broker_are_killed(cluster):
    """The copy has each record once and in order, and a group that moves over goes on where it stood, or a little before."""
    with Broker(cluster.directory / "source", {"group.initial.rebalance.delay.ms": "0", "num.partitions": "2"}) as source:
        numbers = Numbers(source.address, "shop-orders")
        mirror = Mirror(cluster.directory, source.address, cluster.bootstrap, "shop-.*", 3)
        try:
            until(lambda: numbers.number > 100, 30, lambda: "nothing was written")
            mirror.start()
            copy = "source.shop-orders"

            def copied(count):
                return read(cluster.bootstrap, copy, 2, lambda records: len(records) >= count)

            # Asked for by its name, it would be made.
            until(lambda: copy in [it["name"] for it in cluster.metadata(None)["topics"]], 120, mirror.last_words)
            cluster.wait_whole(copy)
            until(lambda: length(cluster, copy) > 100, 60, mirror.last_words)
            victim = cluster.brokers[cluster.leader(copy)]
            victim.kill()
            mirror.kill()
            mirror.start()
            group = Consumer({"bootstrap.servers": source.address, "group.id": "shop", "auto.offset.reset": "earliest", "enable.auto.commit": False})
            group.subscribe(["shop-orders"])
            seen = group.consume(numbers.number, 20)
            assert seen and not [it for it in seen if it.error()]
            group.commit(asynchronous=False)
            committed = {it.partition: it.offset for it in group.committed([TopicPartition("shop-orders", p) for p in (0, 1)])}
            group.close()
            until(lambda: length(cluster, copy), 30, mirror.last_words)
            before = length(cluster, copy)
            until(lambda: length(cluster, copy) > before, 90, mirror.last_words)
            victim.start()
            count = numbers.finish()
            records = copied(count)
            for partition in (0, 1):
                got = [int(it.value) for it in records if it.partition == partition]
                assert got == list(range(partition, count, 2)), f"partition {partition}: lost, repeated or out of order"
            assert cluster.partitions(copy).keys() == {0, 1}

            # Offsets differ here, because of markers; the group's were translated.
            there = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "shop"})
            values = {(it.partition, it.offset): int(it.value) for it in records}

            places = {}

            def moved():
                with contextlib.suppress(KafkaException):
                    places.update({it.partition: it.offset for it in there.committed([TopicPartition(copy, p) for p in (0, 1)], timeout=10)})
                return places and all(offset > 0 for offset in places.values())

            until(moved, 120, mirror.last_words)
            for partition, offset in places.items():
                due = min([value for (p, at), value in values.items() if p == partition and at >= offset], default=count + partition)
                assert due <= partition + 2 * committed[partition], f"partition {partition}: {due} would come first, {committed} was committed"
            there.close()
        finally:
            numbers.stopped.set()
            mirror.kill()
