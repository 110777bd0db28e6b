"""What a client on this machine does to brokers in containers."""

import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

PATIENCE = 60


def until(what, condition, patience=PATIENCE):
    """Asks again and again until the condition holds; its answer."""
    deadline = time.monotonic() + patience
    while True:
        answer, trouble = None, None
        try:
            answer = condition()
        except (RuntimeError, OSError, KafkaException) as error:
            trouble = error
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience} s ({trouble or answer!r})")
        time.sleep(0.1)


class Load:
    """An idempotent producer with acks=all that remembers which values were acknowledged."""

    def __init__(self, brokers, topic):
        self.topic = topic
        self.acknowledged, self.failed, self.sent = [], [], 0
        settings = {"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 1, "delivery.timeout.ms": 60_000, "log_level": 1}
        self.producer = Producer({**settings, "topic.metadata.refresh.interval.ms": 1_000})

    def send(self, count):
        for _ in range(count):
            value = f"{self.sent}"
            self.producer.produce(self.topic, key=value, value=value, on_delivery=self._delivered)
            self.sent += 1
            self.producer.poll(0)

    def send_for(self, seconds):
        """Sends steadily, some hundred records a second."""
        until_then = time.monotonic() + seconds
        while time.monotonic() < until_then:
            self.send(10)
            self.producer.poll(0.02)

    def finish(self):
        assert self.producer.flush(PATIENCE) == 0, "every record has an outcome"
        assert not self.failed, f"{len(self.failed)} records failed: {self.failed[:3]}"

    def _delivered(self, error, message):
        if error:
            self.failed.append(str(error))
        else:
            self.acknowledged.append(message.value())


def read_all(brokers, topic):
    """Every value of the topic up to its end now."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "auto.offset.reset": "earliest", "enable.auto.commit": False, "log_level": 1})
    try:
        partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
        ends = {it: consumer.get_watermark_offsets(TopicPartition(topic, it), PATIENCE)[1] for it in partitions}
        consumer.assign([TopicPartition(topic, it, 0) for it in partitions])
        values, at, deadline = [], dict.fromkeys(partitions, 0), time.monotonic() + PATIENCE
        while any(at[it] < ends[it] for it in partitions):
            assert time.monotonic() < deadline, f"read up to {at} of {ends}"
            message = consumer.poll(1)
            if message is None or message.error():
                continue
            values.append(message.value())
            at[message.partition()] = message.offset() + 1
        return values
    finally:
        consumer.close()


def metadata(brokers):
    return AdminClient({"bootstrap.servers": brokers}).list_topics(timeout=10)


def round_trip(brokers, topic, count=100):
    """Writes and reads back."""
    load = Load(brokers, topic)
    load.send(count)
    load.finish()
    assert sorted(read_all(brokers, topic)) == sorted(load.acknowledged)
