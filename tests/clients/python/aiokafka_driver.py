"""Driver of aiokafka, the asyncio client."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import CommitFailedError, IllegalGenerationError, KafkaError, ProducerFenced, RebalanceInProgressError, for_code

from common import main, record, say, say_record, transactions


def with_admin(bootstrap, ask):
    async def run():
        client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await client.start()
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(run())


def create(bootstrap, topic, partitions, *configs):
    new = NewTopic(topic, int(partitions), 1, topic_configs=dict(pair.split("=", 1) for pair in configs))
    answer = with_admin(bootstrap, lambda client: client.create_topics([new]))
    for _, code, *rest in answer.topic_errors:
        if code:
            raise for_code(code)(*rest[:1])
    say(created=topic)


def produce(bootstrap, topic, codec, acks, idempotent, count, base_ms):
    async def run():
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks=acks if acks == "all" else int(acks),
            compression_type=None if codec == "none" else codec,
            enable_idempotence=idempotent == "1",
            linger_ms=5,
        )
        await producer.start()
        sent = []
        for i in range(int(count)):
            key, value, headers, timestamp = record(i, int(base_ms))
            sent.append(await producer.send(topic, value, key, timestamp_ms=timestamp, headers=headers))
        await producer.flush()
        results = [await future for future in sent]
        await producer.stop()
        return results

    for i, result in enumerate(asyncio.run(run())):
        if result is not None:  # acks=0 tells nothing
            say(i=i, partition=result.partition, offset=result.offset)


async def assigned_consumer(bootstrap, topic):
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, group_id=None)
    await consumer.start()
    await consumer._client._wait_on_metadata(topic)
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    return consumer, partitions


def consume(bootstrap, topic, count):
    async def run():
        consumer, partitions = await assigned_consumer(bootstrap, topic)
        await consumer.seek_to_beginning(*partitions)
        for _ in range(int(count)):
            message = await asyncio.wait_for(consumer.getone(), 20)
            say_record(message.partition, message.offset, message.timestamp, message.key, message.value, message.headers)
        await consumer.stop()

    asyncio.run(run())


class Announce(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        say(assigned=sorted(partition.partition for partition in assigned))


def member(bootstrap, topic, group):
    async def run():
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=500,
        )
        consumer.subscribe([topic], listener=Announce())
        await consumer.start()
        async for message in consumer:
            say(partition=message.partition, offset=message.offset, key=message.key.decode(), value=message.value.decode())
            try:
                await consumer.commit({TopicPartition(topic, message.partition): message.offset + 1})
            except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError):
                continue  # a rebalance overtook us: the new owner reads the record again
            say(committed=message.offset + 1, partition=message.partition)

    asyncio.run(run())


class OnPurpose(Exception):
    """Leaves a transaction so that it is aborted."""


def transform(bootstrap, source, sink, group, transactional_id, abort_every):
    async def run():
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=10_000,
        )
        settings = {"transactional_id": transactional_id, "transaction_timeout_ms": 10_000, "request_timeout_ms": 10_000}
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **settings)
        # First the end of what a predecessor left open, then the offsets: aiokafka does not ask for stable ones. So it must
        # not be a member either: on a rebalance it would go back to what was committed before the transaction under way.
        await producer.start()
        await consumer.start()
        consumer.assign([TopicPartition(source, partition) for partition in await producer.partitions_for(source)])
        number = 0
        while True:
            batches = await consumer.getmany(timeout_ms=200, max_records=50)
            count = sum(len(messages) for messages in batches.values())
            if not count:
                continue
            number += 1
            try:
                async with producer.transaction():
                    for partition, messages in batches.items():
                        for message in messages:
                            await producer.send(sink, message.value, partition=partition.partition)
                    positions = {partition: messages[-1].offset + 1 for partition, messages in batches.items()}
                    await producer.send_offsets_to_transaction(positions, group)
                    if number % int(abort_every) == 0:
                        await producer.flush()
                        raise OnPurpose()
                say(committed=count)
            except (OnPurpose, KafkaError) as failure:
                if isinstance(failure, ProducerFenced):
                    raise
                say(aborted=count, why=f"{type(failure).__name__}: {failure}")
                for partition, messages in batches.items():
                    if partition in consumer.assignment():
                        consumer.seek(partition, messages[0].offset)

    asyncio.run(run())


def transact(bootstrap, topic, partitions, transactional_id, first, every_ms, abort_every):
    """aiokafka is asynchronous, the loop that all Python drivers share is not: each step runs to its end."""
    loop = asyncio.new_event_loop()
    at_once = loop.run_until_complete

    async def made():
        settings = {"transactional_id": transactional_id, "transaction_timeout_ms": 10_000, "request_timeout_ms": 10_000}
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **settings)
        await producer.start()
        return producer

    producer = at_once(made())

    async def write(number, chosen):
        await producer.begin_transaction()
        value = b"%s/%d" % (transactional_id.encode(), number)
        sent = [await producer.send(topic, value, partition=partition) for partition in chosen]
        await asyncio.gather(*sent)

    def send(number, chosen):
        at_once(write(number, chosen))

    def commit():
        at_once(producer.commit_transaction())

    def abort():
        at_once(producer.abort_transaction())

    def abortable(failure):
        return isinstance(failure, KafkaError) and not isinstance(failure, ProducerFenced)

    transactions(partitions, first, every_ms, abort_every, send, commit, abort, abortable)


def offsets(bootstrap, topic, timestamp):
    async def run():
        consumer, partitions = await assigned_consumer(bootstrap, topic)
        found = await consumer.offsets_for_times({partition: int(timestamp) for partition in partitions})
        await consumer.stop()
        return found

    for partition, hit in sorted(asyncio.run(run()).items()):
        say(partition=partition.partition, offset=hit.offset if hit else -1)


def configs(bootstrap, topic):
    answers = with_admin(bootstrap, lambda client: client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
    say(configs={entry[0]: entry[1] for entry in answers[0].resources[0][4]})


def alter(bootstrap, topic, setting):
    key, value = setting.split("=", 1)
    changed = ConfigResource(ConfigResourceType.TOPIC, topic, {key: value})
    answers = with_admin(bootstrap, lambda client: client.alter_configs([changed]))
    code, message = answers[0].resources[0][:2]
    if code:
        raise for_code(code)(message)
    say(altered=key)


def delete(bootstrap, topic):
    answer = with_admin(bootstrap, lambda client: client.delete_topics([topic]))
    for _, code, *_ in answer.topic_error_codes:
        if code:
            raise for_code(code)()
    say(deleted=topic)


if __name__ == "__main__":
    main({f.__name__: f for f in (create, produce, consume, member, transform, transact, offsets, configs, alter, delete)})
