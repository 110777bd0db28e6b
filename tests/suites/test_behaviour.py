"""What applications lean on beyond produce and consume: odd records, limits, static and cooperative members, re-made topics, retention.

Played by librdkafka through confluent-kafka, one of the stricter clients; rarer requests go over the raw protocol.
"""

import contextlib
import threading
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import wire
from harness.broker import Broker
from harness.drivers import until
from harness.wire import Peer, batch, create_topic, fetch

SETTINGS = {
    "group.initial.rebalance.delay.ms": "200",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "100",
    "log.initial.task.delay.ms": "500",
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("broker"), SETTINGS) as running:
        yield running


@pytest.fixture
def make(broker):
    admin = AdminClient({"bootstrap.servers": broker.address})

    def create(name, partitions=1, **configs):
        config = {key.replace("_", "."): str(value) for key, value in configs.items()}
        for future in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
            future.result(20)

    create.admin = admin
    return create


def producer(broker, **settings):
    return Producer({"bootstrap.servers": broker.address, **{key.replace("_", "."): value for key, value in settings.items()}})


def consumer(broker, group="unused", **settings):
    defaults = {"bootstrap.servers": broker.address, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    return Consumer({**defaults, **{key.replace("_", "."): value for key, value in settings.items()}})


def read(reader, count, patience=30, passing=()):
    """`count` messages, or those that came in time; errors raise, but for those whose codes are `passing`."""
    got = []
    deadline = time.monotonic() + patience
    while len(got) < count and time.monotonic() < deadline:
        for message in reader.consume(count - len(got), 0.2):
            if not message.error():
                got.append(message)
            elif message.error().code() not in passing:
                raise KafkaException(message.error())
    return got


def assigned(broker, topic, partition=0, offset=OFFSET_BEGINNING, **settings):
    reader = consumer(broker, **settings)
    reader.assign([TopicPartition(topic, partition, offset)])
    return reader


def test_records_without_key_value_or_header_content(broker, make, topic):
    make(topic)
    sender = producer(broker)
    rows = [
        (None, None, None),
        (b"", b"", []),
        (b"tombstone", None, [("empty", b""), ("null", None), ("twice", b"1"), ("twice", b"2")]),
        (None, b"\x00\xff" * 10, [("ключ", "значение".encode())]),
        (b"k" * 1000, b"v", [(f"h{i}", bytes([i])) for i in range(100)]),
    ]
    for key, value, headers in rows:
        sender.produce(topic, value, key, headers=headers)
    assert sender.flush(20) == 0
    got = [(m.key(), m.value(), m.headers()) for m in read(assigned(broker, topic), len(rows))]
    assert got == [(key, value, headers or None) for key, value, headers in rows]


def test_a_record_as_large_as_the_topic_allows(broker, make, topic):
    make(topic, max_message_bytes=12_000_000)
    sender = producer(broker, message_max_bytes=11_000_000)
    value = bytes(range(256)) * 40_000
    told = []
    sender.produce(topic, value, on_delivery=lambda error, _: told.append(error))
    assert sender.flush(30) == 0 and told == [None], told
    # The consumer's own limit is 1 MiB per partition: the first batch comes whole all the same.
    (message,) = read(assigned(broker, topic), 1)
    assert message.value() == value


def test_too_large_for_the_topic_is_told_to_the_producer(broker, make, topic):
    make(topic, max_message_bytes=1000)
    sender = producer(broker)
    told = []
    sender.produce(topic, b"x" * 2000, on_delivery=lambda error, _: told.append(error and error.code()))
    sender.produce(topic, b"fits", on_delivery=lambda error, _: told.append(error and error.code()))
    sender.flush(20)
    assert KafkaError.MSG_SIZE_TOO_LARGE in told, told


def test_append_time(broker, make, topic):
    make(topic, message_timestamp_type="LogAppendTime")
    sender = producer(broker)
    sender.produce(topic, b"x", timestamp=1000)
    sender.flush(20)
    (message,) = read(assigned(broker, topic), 1)
    kind, when = message.timestamp()
    assert kind == 2 and abs(when - time.time() * 1000) < 60_000, (kind, when)


def test_positions_outside_the_log(broker, make, topic):
    make(topic)
    sender = producer(broker)
    for i in range(10):
        sender.produce(topic, b"%d" % i)
    sender.flush(20)
    assert [m.offset() for m in read(assigned(broker, topic, offset=500), 10)] == list(range(10)), "reset to earliest"
    stuck = assigned(broker, topic, offset=500, auto_offset_reset="error")
    with pytest.raises(KafkaException) as refusal:
        read(stuck, 1)
    assert refusal.value.args[0].code() == KafkaError._AUTO_OFFSET_RESET
    ended = assigned(broker, topic, offset=4, enable_partition_eof=True)
    codes = []
    deadline = time.monotonic() + 30
    while KafkaError._PARTITION_EOF not in codes and time.monotonic() < deadline:
        message = ended.poll(0.5)
        if message is not None:
            codes.append(message.error().code() if message.error() else message.offset())
    assert codes == [4, 5, 6, 7, 8, 9, KafkaError._PARTITION_EOF]
    assert ended.get_watermark_offsets(TopicPartition(topic, 0), 10) == (0, 10)


def owned(members):
    return sorted(sorted(p.partition for p in member.assignment()) for member in members)


def drive(members, condition, what, patience=30):
    """Polls all members until `condition()`; returns what they read."""
    got = []
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience} s: {what()}"
        for member in members:
            message = member.poll(0.05)
            if message is not None and not message.error():
                got.append((message.partition(), message.offset()))
    return got


def test_static_member_comes_back_without_a_rebalance(broker, make, topic):
    make(topic, 2)
    rebalances = []

    def static(instance):
        member = consumer(broker, f"static-{topic}", group_instance_id=instance, session_timeout_ms=20_000, heartbeat_interval_ms=500)
        member.subscribe([topic], on_assign=lambda _, parts: rebalances.append((instance, sorted(p.partition for p in parts))))
        return member

    first, second = static("one"), static("two")
    drive([first, second], lambda: owned([first, second]) == [[0], [1]], lambda: owned([first, second]))
    mine = [p.partition for p in second.assignment()]
    rebalances.clear()
    second.close()  # a static member says no goodbye
    back = static("two")
    drive([first, back], lambda: [p.partition for p in back.assignment()] == mine, lambda: f"{owned([first, back])}, wanted {mine}")
    drive([first, back], lambda: True, lambda: "")
    assert [who for who, _ in rebalances] == ["two"], f"the other member was disturbed: {rebalances}"
    first.close()
    back.close()


def test_cooperative_members_keep_what_they_keep(broker, make, topic):
    make(topic, 4)
    revoked = []

    def cooperative(name):
        member = consumer(broker, f"coop-{topic}", partition_assignment_strategy="cooperative-sticky", session_timeout_ms=6_000, heartbeat_interval_ms=300)
        member.subscribe([topic], on_revoke=lambda _, parts: revoked.append((name, [p.partition for p in parts])))
        return member

    first = cooperative("first")
    drive([first], lambda: owned([first]) == [[0, 1, 2, 3]], lambda: owned([first]))
    second = cooperative("second")
    both = [first, second]
    drive(both, lambda: [len(each) for each in owned(both)] == [2, 2] and sum(owned(both), []) and set(sum(owned(both), [])) == {0, 1, 2, 3}, lambda: owned(both))
    assert [(who, len(parts)) for who, parts in revoked] == [("first", 2)], revoked
    second.close()
    drive([first], lambda: owned([first]) == [[0, 1, 2, 3]], lambda: owned([first]))
    first.close()


def test_pattern_subscription_finds_new_topics(broker, make, topic):
    reader = consumer(broker, f"pattern-{topic}", topic_metadata_refresh_interval_ms=500, metadata_max_age_ms=1000)
    reader.subscribe([f"^{topic}-.*"])
    make(f"{topic}-a")
    drive([reader], lambda: {p.topic for p in reader.assignment()} == {f"{topic}-a"}, lambda: reader.assignment())
    make(f"{topic}-b")
    drive([reader], lambda: {p.topic for p in reader.assignment()} == {f"{topic}-a", f"{topic}-b"}, lambda: reader.assignment())
    reader.close()


def test_topic_made_again_is_another_topic(broker, make, topic):
    make(topic)
    sender = producer(broker, topic_metadata_refresh_interval_ms=300)
    for i in range(30):
        sender.produce(topic, b"old")
    sender.flush(20)
    reader = assigned(broker, topic, topic_metadata_refresh_interval_ms=300)
    assert len(read(reader, 30)) == 30
    for future in make.admin.delete_topics([topic]).values():
        future.result(20)
    with Peer(broker.address) as peer:
        until(lambda: create_topic(peer, topic)["error_code"] == 0, 20, lambda: "the name is not free again")
    fresh = producer(broker)
    for i in range(5):
        fresh.produce(topic, b"new %d" % i)
    assert fresh.flush(20) == 0
    # Its position, 30, is beyond the new end: reset, and everything new is read. If it asked while there was no topic it says so.
    gone = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
    assert [m.value() for m in read(reader, 5, patience=60, passing=gone)] == [b"new %d" % i for i in range(5)]


def test_group_offsets_of_a_deleted_topic_are_gone(broker, make, topic):
    make(topic)
    reader = consumer(broker, f"gone-{topic}")
    reader.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    assert reader.committed([TopicPartition(topic, 0)], 10)[0].offset == 7
    for future in make.admin.delete_topics([topic]).values():
        future.result(20)
    with Peer(broker.address) as peer:
        until(lambda: create_topic(peer, topic)["error_code"] == 0, 20, lambda: "the name is not free again")
    until(lambda: reader.committed([TopicPartition(topic, 0)], 10)[0].offset < 0, 20, lambda: "a topic made again has the old one's offsets")


def start_and_end(peer, topic):
    partition = fetch(peer, topic, 10**9)["responses"][0]["partitions"][0]
    assert partition["error_code"] == 1, partition
    found = []
    for timestamp in (-2, -1):
        asked = [{"partition_index": 0, "current_leader_epoch": -1, "timestamp": timestamp}]
        answer = peer.ask("ListOffsets", 7, replica_id=-1, isolation_level=0, topics=[{"name": topic, "partitions": asked}])
        found.append(answer["topics"][0]["partitions"][0]["offset"])
    return tuple(found)


def usable(peer, topic):
    until(lambda: fetch(peer, topic, 0)["responses"][0]["partitions"][0]["error_code"] == 0, 30, lambda: f"{topic} is not served")


def test_retention_by_size_and_by_time(broker, topic):
    with Peer(broker.address) as peer:
        sized, timed = f"{topic}-sized", f"{topic}-timed"
        create_topic(peer, sized, configs={"segment.bytes": "1048576", "retention.bytes": "2097152"})
        create_topic(peer, timed, configs={"segment.bytes": "1048576", "retention.ms": "60000"})
        usable(peer, sized), usable(peer, timed)
        old = int(time.time() * 1000) - 3_600_000
        for i in range(40):
            wire.produce(peer, sized, batch([(None, bytes(200_000))]))
            wire.produce(peer, timed, batch([(None, bytes(200_000))], timestamp=old if i < 20 else None))
        # Five records make a segment; whole segments go while at least retention.bytes remain.
        until(lambda: start_and_end(peer, sized)[0] >= 24, 30, lambda: f"retention.bytes: {start_and_end(peer, sized)}")
        until(lambda: start_and_end(peer, timed)[0] >= 14, 30, lambda: f"retention.ms: {start_and_end(peer, timed)}")
        # Nor does the next look take more.
        time.sleep(1)
        start, end = start_and_end(peer, sized)
        assert end == 40 and 24 <= start <= 30, (start, end)
        start, end = start_and_end(peer, timed)
        assert end == 40 and 14 <= start <= 20, (start, end)
        refused = fetch(peer, timed, 0)["responses"][0]["partitions"][0]
        assert refused["error_code"] == 1, refused
        kept = fetch(peer, timed, start)["responses"][0]["partitions"][0]
        assert kept["error_code"] == 0 and kept["log_start_offset"] == start and kept["records"], start


def test_segments_deleted_by_retention_leave_the_disk(broker, topic):
    with Peer(broker.address) as peer:
        create_topic(peer, topic, configs={"segment.bytes": "1048576", "retention.bytes": "1048576"})
        usable(peer, topic)
        for _ in range(60):
            wire.produce(peer, topic, batch([(None, bytes(200_000))]))
        folder = broker.data / f"{topic}-0"

        def stored():
            sizes = []
            for file in folder.glob("*.log*"):
                with contextlib.suppress(FileNotFoundError):
                    sizes.append(file.stat().st_size)
            return sum(sizes)

        until(lambda: stored() < 4 << 20, 40, lambda: sorted(file.name for file in folder.iterdir()))


def test_many_writers_and_readers_at_once(broker, make, topic):
    """Eight producers on eight partitions, three consumers in a group that changes while they write."""
    make(topic, 8)
    each = 5_000

    def write(number):
        sender = producer(broker, enable_idempotence=True, linger_ms=2, compression_type="lz4")
        for i in range(each):
            while True:
                try:
                    sender.produce(topic, b"%d:%d" % (number, i), partition=number)
                    break
                except BufferError:
                    sender.poll(0.1)
            sender.poll(0)
        assert sender.flush(120) == 0

    seen = {number: set() for number in range(8)}
    stop = threading.Event()

    def follow(delay):
        time.sleep(delay)
        member = consumer(broker, f"many-{topic}", session_timeout_ms=6_000, heartbeat_interval_ms=300, enable_auto_commit=True, auto_commit_interval_ms=200)
        member.subscribe([topic])
        while not stop.is_set():
            for message in member.consume(500, 0.1):
                if not message.error():
                    seen[message.partition()].add(message.offset())
        member.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)] + [threading.Thread(target=follow, args=(d,)) for d in (0, 0.5, 2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(len(offsets) == each for offsets in seen.values()), 180, lambda: {n: len(o) for n, o in seen.items()})
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    for number in range(8):
        values = [m.value() for m in read(assigned(broker, topic, number), each, patience=60)]
        assert values == [b"%d:%d" % (number, i) for i in range(each)], f"partition {number}"
