"""Driver of confluent-kafka, the Python binding of librdkafka."""

import functools
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from common import main, now, pace, record, say, say_record, transactions


def wait_all(futures):
    for future in futures.values():
        future.result(20)


@functools.cache
def admin(bootstrap):
    """One client for the life of the process: answers are lost when it is collected before its futures."""
    return AdminClient({"bootstrap.servers": bootstrap})


def create(bootstrap, topic, partitions, *configs):
    new = NewTopic(topic, int(partitions), 1, config=dict(pair.split("=", 1) for pair in configs))
    wait_all(admin(bootstrap).create_topics([new]))
    say(created=topic)


def produce(bootstrap, topic, codec, acks, idempotent, count, base_ms):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "acks": acks,
            "enable.idempotence": idempotent == "1",
            "linger.ms": 5,
            # A batch wider than the records of one flight would hide faults in the order of batches.
            "batch.num.messages": 50,
        }
    )
    sent = {}

    def delivered(i):
        def report(error, message):
            if error:
                raise KafkaException(error)
            sent[i] = (message.partition(), message.offset())

        return report

    for i in range(int(count)):
        key, value, headers, timestamp = record(i, int(base_ms))
        producer.produce(topic, value, key, on_delivery=delivered(i), timestamp=timestamp, headers=headers)
        producer.poll(0)
    if producer.flush(30):
        raise TimeoutError("not all records were delivered within 30 s")
    for i in range(int(count)):
        say(i=i, partition=sent[i][0], offset=sent[i][1])


def load(bootstrap, topic, partitions, every_ms):
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0})

    def send(partition, value):
        began = now()

        def report(error, message):
            outcome = {"failed": error.name()} if error else {"offset": message.offset()}
            say(partition=partition, value=value, began=began, ended=now(), **outcome)

        producer.produce(topic, b"%d" % value, b"load", partition=partition, on_delivery=report)
        producer.poll(0)

    # Reports are given out when they come, not when the next record is sent.
    threading.Thread(target=lambda: [producer.poll(0.1) for _ in iter(int, 1)], daemon=True).start()
    pace(partitions, every_ms, send)
    producer.flush(60)


def partitions_of(client, topic):
    found = client.list_topics(topic, 20).topics[topic]
    if found.error:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def consume(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions_of(consumer, topic)])
    left = int(count)
    deadline = time.monotonic() + 20
    while left and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        say_record(
            message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers()
        )
        left -= 1
    consumer.close()


def member(bootstrap, topic, group):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 500,
        }
    )
    consumer.subscribe([topic], on_assign=lambda _, assigned: say(assigned=sorted(p.partition for p in assigned)))
    while True:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        say(partition=message.partition(), offset=message.offset(), key=message.key().decode(), value=message.value().decode())
        try:
            consumer.commit(message=message, asynchronous=False)
        except KafkaException as failure:
            if failure.args[0].code() not in (KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS):
                raise
            continue  # a rebalance overtook us: the new owner reads the record again
        say(committed=message.offset() + 1, partition=message.partition())


def transactional(bootstrap, transactional_id):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 10_000,
            "socket.timeout.ms": 10_000,
            # Or sending offsets waits without bound for a coordinator that is gone (docs/delivery.md).
            "connections.max.idle.ms": 3_000,
            "linger.ms": 0,
        }
    )
    patiently(producer.init_transactions, 30)
    return producer


def patiently(ask, *arguments):
    """Again while librdkafka says that this is safe: it gives up after a socket's time-out, not after the producer's."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask(*arguments)
        except KafkaException as failure:
            if not failure.args[0].retriable() or time.monotonic() > deadline:
                raise


def transform(bootstrap, source, sink, group, transactional_id, abort_every):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "socket.timeout.ms": 10_000,
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 500,
            # Or its threads may wait for each other when all brokers were away at once (docs/operations.md).
            "metadata.recovery.strategy": "none",
        }
    )
    producer = transactional(bootstrap, transactional_id)
    consumer.subscribe([source])
    number = 0
    while True:
        messages = [message for message in consumer.consume(50, 0.2) if not message.error()]
        if not messages:
            continue
        number += 1
        first, following = {}, {}
        for message in messages:
            first.setdefault(message.partition(), message.offset())
            following[message.partition()] = message.offset() + 1
        producer.begin_transaction()
        try:
            for message in messages:
                producer.produce(sink, message.value(), partition=message.partition())
                producer.poll(0)
            positions = [TopicPartition(source, p, offset) for p, offset in following.items()]
            patiently(producer.send_offsets_to_transaction, positions, consumer.consumer_group_metadata(), 30)
            if number % int(abort_every):
                patiently(producer.commit_transaction, 30)
                say(committed=len(messages))
                continue
            producer.flush(30)
        except KafkaException as failure:
            if not failure.args[0].txn_requires_abort():
                raise
            say(trouble=str(failure))
        patiently(producer.abort_transaction, 30)
        say(aborted=len(messages))
        for p, offset in first.items():
            try:
                consumer.seek(TopicPartition(source, p, offset))
            except KafkaException:
                pass  # taken away by a rebalance: the new owner begins at the committed offset


def transact(bootstrap, topic, partitions, transactional_id, first, every_ms, abort_every):
    producer = transactional(bootstrap, transactional_id)

    def send(number, chosen):
        producer.begin_transaction()
        for partition in chosen:
            producer.produce(topic, b"%s/%d" % (transactional_id.encode(), number), partition=partition)
        producer.flush(30)

    def abort():
        patiently(producer.abort_transaction, 30)

    def commit():
        patiently(producer.commit_transaction, 30)

    def abortable(failure):
        return isinstance(failure, KafkaException) and failure.args[0].txn_requires_abort()

    transactions(partitions, first, every_ms, abort_every, send, commit, abort, abortable)


def offsets(bootstrap, topic, timestamp):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    asked = [TopicPartition(topic, p, int(timestamp)) for p in partitions_of(consumer, topic)]
    for hit in consumer.offsets_for_times(asked, 20):
        say(partition=hit.partition, offset=hit.offset)


def resource(topic, **entries):
    return ConfigResource(ConfigResource.Type.TOPIC, topic, **entries)


def configs(bootstrap, topic):
    (future,) = admin(bootstrap).describe_configs([resource(topic)]).values()
    say(configs={key: entry.value for key, entry in future.result(20).items()})


def alter(bootstrap, topic, setting):
    key, value = setting.split("=", 1)
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    wait_all(admin(bootstrap).incremental_alter_configs([resource(topic, incremental_configs=[entry])]))
    say(altered=key)


def delete(bootstrap, topic):
    wait_all(admin(bootstrap).delete_topics([topic]))
    say(deleted=topic)


if __name__ == "__main__":
    main({f.__name__: f for f in (create, produce, load, consume, member, transform, transact, offsets, configs, alter, delete)})
