"""Driver of kafka-python, for 2.0.2 (what old tutorials install) and for the newest release alike."""

import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.structs import OffsetAndMetadata

from common import main, now, pace, record, say, say_record, transactions

OLD = kafka.__version__.startswith("2.0.")


def admin(bootstrap):
    return KafkaAdminClient(bootstrap_servers=[bootstrap])


def create(bootstrap, topic, partitions, *configs):
    new = NewTopic(topic, int(partitions), 1, topic_configs=dict(pair.split("=", 1) for pair in configs))
    admin(bootstrap).create_topics([new])
    say(created=topic)


def produce(bootstrap, topic, codec, acks, idempotent, count, base_ms):
    settings = {} if OLD else {"enable_idempotence": idempotent == "1"}
    producer = KafkaProducer(
        bootstrap_servers=[bootstrap],
        acks=acks if acks == "all" else int(acks),
        compression_type=None if codec == "none" else codec,
        linger_ms=5,
        **settings,
    )
    futures = []
    for i in range(int(count)):
        key, value, headers, timestamp = record(i, int(base_ms))
        futures.append(producer.send(topic, value, key, headers, timestamp_ms=timestamp))
    producer.flush(30)
    for i, future in enumerate(futures):
        sent = future.get(10)
        say(i=i, partition=sent.partition, offset=sent.offset)
    producer.close()


def load(bootstrap, topic, partitions, every_ms):
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True)

    def send(partition, value):
        began = now()

        def report(**outcome):
            say(partition=partition, value=value, began=began, ended=now(), **outcome)

        future = producer.send(topic, b"%d" % value, b"load", partition=partition)
        future.add_callback(lambda sent: report(offset=sent.offset))
        future.add_errback(lambda error: report(failed=type(error).__name__))

    pace(partitions, every_ms, send)
    producer.flush(60)
    producer.close(10)


def partitions_of(consumer, topic):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = consumer.partitions_for_topic(topic)
        if found:
            return [TopicPartition(topic, p) for p in sorted(found)]
    raise TimeoutError(f"no partitions of {topic}")


def consume(bootstrap, topic, count):
    consumer = KafkaConsumer(bootstrap_servers=[bootstrap], consumer_timeout_ms=20_000, enable_auto_commit=False, group_id=None)
    partitions = partitions_of(consumer, topic)
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left = int(count)
    for message in consumer if left else []:
        say_record(message.partition, message.offset, message.timestamp, message.key, message.value, message.headers)
        left -= 1
        if not left:
            break
    consumer.close()


class Announce(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        say(assigned=sorted(partition.partition for partition in assigned))


def member(bootstrap, topic, group):
    consumer = KafkaConsumer(
        bootstrap_servers=[bootstrap],
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    consumer.subscribe([topic], listener=Announce())
    while True:
        for partition, messages in consumer.poll(500).items():
            for message in messages:
                say(partition=message.partition, offset=message.offset, key=message.key.decode(), value=message.value.decode())
                position = OffsetAndMetadata(message.offset + 1, "")
                try:
                    consumer.commit({partition: position})
                except kafka.errors.CommitFailedError:
                    break  # a rebalance overtook us: the new owner reads the record again
                say(committed=message.offset + 1, partition=message.partition)


# It picks one bootstrap server at random, and if that one hangs, waits for it and no other until this time is over.
IMPATIENT = {"bootstrap_timeout_ms": 5_000}


def transactional(bootstrap, transactional_id):
    settings = {"transactional_id": transactional_id, "transaction_timeout_ms": 10_000, "request_timeout_ms": 4_000, **IMPATIENT}
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), **settings)
    producer.init_transactions()
    return producer


def abortable(failure):
    """Whether the producer may go on after an abort: not after it was fenced, nor when its transaction's state is lost to it."""
    fatal = (kafka.errors.ProducerFencedError, kafka.errors.OutOfOrderSequenceNumberError, kafka.errors.AuthorizationError)
    return isinstance(failure, kafka.errors.KafkaError) and not isinstance(failure, fatal)


def transform(bootstrap, source, sink, group, transactional_id, abort_every):
    consumer = KafkaConsumer(
        source,
        bootstrap_servers=bootstrap.split(","),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        request_timeout_ms=10_000,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
        **IMPATIENT,
    )
    producer = transactional(bootstrap, transactional_id)
    number = 0
    while True:
        batches = consumer.poll(200, max_records=50)
        count = sum(len(messages) for messages in batches.values())
        if not count:
            continue
        number += 1
        producer.begin_transaction()
        try:
            futures = []
            for partition, messages in batches.items():
                futures += [producer.send(sink, message.value, partition=partition.partition) for message in messages]
            positions = {partition: OffsetAndMetadata(messages[-1].offset + 1, "", -1) for partition, messages in batches.items()}
            producer.send_offsets_to_transaction(positions, consumer.group_metadata())
            if number % int(abort_every):
                producer.commit_transaction()
                say(committed=count)
                continue
            producer.flush(30)
            why = "on purpose"
        except kafka.errors.KafkaError as failure:
            if not abortable(failure):
                raise
            why = f"{type(failure).__name__}: {failure}"
        producer.abort_transaction()
        say(aborted=count, why=why)
        for partition, messages in batches.items():
            if partition in consumer.assignment():
                consumer.seek(partition, messages[0].offset)


def transact(bootstrap, topic, partitions, transactional_id, first, every_ms, abort_every):
    producer = transactional(bootstrap, transactional_id)

    def send(number, chosen):
        producer.begin_transaction()
        value = b"%s/%d" % (transactional_id.encode(), number)
        for future in [producer.send(topic, value, partition=partition) for partition in chosen]:
            future.get(30)

    transactions(partitions, first, every_ms, abort_every, send, producer.commit_transaction, producer.abort_transaction, abortable)


def offsets(bootstrap, topic, timestamp):
    consumer = KafkaConsumer(bootstrap_servers=[bootstrap])
    found = consumer.offsets_for_times({p: int(timestamp) for p in partitions_of(consumer, topic)})
    for partition, hit in sorted(found.items()):
        say(partition=partition.partition, offset=hit.offset if hit else -1)


def configs(bootstrap, topic):
    if OLD:
        answers = admin(bootstrap).describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        entries = answers[0].resources[0][4]
        say(configs={entry[0]: entry[1] for entry in entries})
        return
    answer = admin(bootstrap).describe_configs([ConfigResource("topic", topic)], config_filter="all")
    say(configs={key: entry["value"] for key, entry in answer["topic"][topic].items()})


def alter(bootstrap, topic, setting):
    key, value = setting.split("=", 1)
    answer = admin(bootstrap).alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {key: value})])
    if OLD:
        code, message = answer.resources[0][:2]
        refusal = message if code else None
    else:
        refusal = None if answer["topic"][topic] == "OK" else answer["topic"][topic]
    if refusal:
        raise RuntimeError(refusal)
    say(altered=key)


def delete(bootstrap, topic):
    admin(bootstrap).delete_topics([topic])
    say(deleted=topic)


if __name__ == "__main__":
    main({f.__name__: f for f in (create, produce, load, consume, member, transform, transact, offsets, configs, alter, delete)})
