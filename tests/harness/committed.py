"""What an application that reads committed records sees of a topic."""

import collections
import itertools
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from harness.drivers import until

Record = collections.namedtuple("Record", "partition offset key value")


def consumer_from_the_start(bootstrap, topic, partitions, isolation):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            # A position that is not there any more is a loss, not a reason to go on elsewhere.
            "auto.offset.reset": "error",
            # A broker that hangs is left after this long.
            "socket.timeout.ms": 5_000,
            # Or its threads may wait for each other when all brokers were away at once (docs/operations.md).
            "metadata.recovery.strategy": "none",
        }
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    return consumer


def record_of(message):
    key = message.key()
    return Record(message.partition(), message.offset(), key and key.decode(), message.value().decode())


def read(bootstrap, topic, partitions, enough, patience=60, isolation="read_committed"):
    """Every record from the start, in the order of each partition, until `enough(records)` holds and all partitions are at
    their end, so that a record too many is seen as well. For a topic to which nobody writes any more.
    """
    consumer = consumer_from_the_start(bootstrap, topic, partitions, isolation)
    records, at_end = [], set()
    deadline = time.monotonic() + patience
    try:
        while True:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                at_end.discard(message.partition())
                records.append(record_of(message))
            elif message is not None and message.error().code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition())
            elif message is not None and not message.error().retriable():
                raise KafkaException(message.error())
            if len(at_end) == partitions and enough(records):
                return records
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(records)} records of {topic} within {patience} s are not enough, at the end of {sorted(at_end)}")
    finally:
        consumer.close()


class Tail(threading.Thread):
    """Reads a topic along while it is written: what it sees, it sees for good."""

    def __init__(self, bootstrap, topic, partitions, isolation="read_committed"):
        super().__init__(daemon=True)
        self.bootstrap, self.topic, self.partitions, self.isolation = bootstrap, topic, partitions, isolation
        self.records = []
        self.lost = None
        self.stopped = threading.Event()
        self.start()

    def run(self):
        consumer = consumer_from_the_start(self.bootstrap, self.topic, self.partitions, self.isolation)
        while not self.stopped.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.records.append(record_of(message))
            elif message is not None and message.error().code() == KafkaError._AUTO_OFFSET_RESET:
                self.lost = f"{message.topic()}-{message.partition()}: {message.error().str()}"
        consumer.close()

    def wait_more(self, count, patience, what):
        """Until `count` records more than now have been read."""
        wanted = len(self.records) + count
        until(lambda: len(self.records) >= wanted, patience, lambda: f"{len(self.records)} of {wanted} records of {self.topic}: {what()}")

    def finish(self, bootstrap, enough, patience=60):
        """Stops, reads the topic anew, which must have ended, and returns its records; they begin with what was seen before."""
        self.stopped.set()
        # librdkafka's close may wait for ever for a broker that Metadata did not name for a while.
        self.join(10)
        assert self.lost is None, self.lost
        final = read(bootstrap, self.topic, self.partitions, enough, patience, self.isolation)
        for partition in range(self.partitions):
            seen = [it for it in self.records if it.partition == partition]
            now = [it for it in final if it.partition == partition]
            apart = next((pair for pair in itertools.zip_longest(seen, now) if pair[0] != pair[1] and pair[0]), None)
            assert apart is None, f"{self.topic}-{partition}: what was read before is not what is read now, first: {apart}"
        return final
