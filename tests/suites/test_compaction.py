"""Compacted topics: real clients write, the log cleaner runs, readers from the start see each key's last value, and Apache's
kafka-dump-log finds nothing to object to in what the cleaner left.
"""

import contextlib
import re
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import drivers
from harness.broker import KIND, Broker
from harness.configs import alter
from harness.tools import Tools

SETTINGS = {
    "log.cleaner.backoff.ms": "100",
    "log.retention.check.interval.ms": "300",
    "log.segment.delete.delay.ms": "100",
    "log.initial.task.delay.ms": "100",
    "group.initial.rebalance.delay.ms": "0",
}
# Segments are closed by time: their least size is a megabyte.
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "300", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "500"}
PATIENCE = 40
LATEST = Tools("4.3.1")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("compaction"), SETTINGS) as running:
        yield running
        assert running.alive(), f"the broker died, see {running.log}"


@pytest.fixture
def make(broker):
    """Creates a topic with Kafka's own tool."""

    def create(name, **settings):
        words = [word for pair in {**COMPACTED, **settings}.items() for word in ("--config", f"{pair[0].replace('_', '.')}={pair[1]}")]
        LATEST.run("kafka-topics", "--bootstrap-server", broker.address, "--create", "--topic", name, *words)

    return create


def folder(broker, topic):
    return broker.data / f"{topic}-0"


def closed_segments(broker, topic):
    return sorted(folder(broker, topic).glob("*.log"))[:-1]


def admin(broker):
    return AdminClient({"bootstrap.servers": broker.address})


def produce(broker, topic, rows, **settings):
    sender = Producer({"bootstrap.servers": broker.address, **{key.replace("_", "."): value for key, value in settings.items()}})
    refused = []
    for key, value in rows:
        sender.produce(topic, value, key, on_delivery=lambda error, _: error and refused.append(error))
        sender.poll(0)
    assert sender.flush(30) == 0 and not refused, refused
    return sender


def close_segment(broker, topic):
    """The active segment takes no cleaning: a record whose time is later closes it."""
    time.sleep(0.35)
    produce(broker, topic, [(b"~closing", b"")])


def everything(broker, topic, isolation="read_committed"):
    """All messages from the first offset to the end, whose offsets grow."""
    reader = Consumer({"bootstrap.servers": broker.address, "group.id": "unused", "enable.partition.eof": True, "isolation.level": isolation})
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    got, deadline = [], time.monotonic() + 60
    while time.monotonic() < deadline:
        message = reader.poll(1)
        if message is None:
            continue
        if message.error():
            if message.error().name() == "_PARTITION_EOF":
                break
            raise KafkaException(message.error())
        got.append(message)
    reader.close()
    offsets = [message.offset() for message in got]
    assert offsets == sorted(set(offsets))
    return got


def latest(messages):
    found = {}
    for message in messages:
        if message.value() is None:
            found.pop(message.key(), None)
        else:
            found[message.key()] = message.value()
    found.pop(b"~closing", None)
    return found


def checkpointed(broker, topic, name):
    """What a checkpoint says, in Kafka's format: version, number of lines, topic, partition, offset."""
    path = broker.data / f"{name}-checkpoint"
    if not path.exists():
        return 0
    version, count, *lines = path.read_text().splitlines()
    assert (version, int(count)) == ("0", len(lines))
    offsets = {tuple(line.split(" ")[:2]): int(line.split(" ")[2]) for line in lines}
    return offsets.get((topic, "0"), 0)


def cleaned_to(broker, topic):
    offset = checkpointed(broker, topic, "cleaner-offset")
    # Above the recovery point a gap means, after a loss of power, that batches are lost.
    assert checkpointed(broker, topic, "recovery-point-offset") >= offset
    return offset


def until(condition, what="a condition"):
    drivers.until(condition, PATIENCE, lambda: what)


def wait_cleaned(broker, topic, offset):
    until(lambda: cleaned_to(broker, topic) >= offset, f"{topic} cleaned up to {offset}")


def files(broker, topic, *suffixes):
    """Path and identity of each file: the cleaner puts others in their places."""
    found = []
    for path in sorted(path for suffix in suffixes for path in folder(broker, topic).glob(f"*.{suffix}")):
        with contextlib.suppress(FileNotFoundError):
            found.append((str(path), path.stat().st_ino))
    return found


def dump(broker, topic, *options):
    """kafka-dump-log over every file of the partition; fails if it objects to anything. Again, if the cleaner went on meanwhile."""
    before = None
    while before != (before := (files(broker, topic, "log"), files(broker, topic, "index", "timeindex", "txnindex"))):
        logs, indexes = (",".join(path for path, _ in each) for each in before)
        words = [("--deep-iteration", "--files", logs, *options), ("--files", indexes), ("--index-sanity-check", "--files", indexes)]
        answers = [LATEST.attempt("kafka-dump-log", *each) for each in words]
    assert [code for code, _, _ in answers] == [0, 0, 0], answers
    (_, out, _), *checked = answers
    for text in (out, *(each[1] for each in checked)):
        assert not re.search(r"mismatch|corrupt|invalid|not valid|exception|out.of.order", text, re.IGNORECASE), text
    return out


def test_a_reader_from_the_start_sees_each_keys_last_value(broker, make, topic):
    # Nothing is cleaned before it was measured.
    make(topic, min_compaction_lag_ms=3_600_000)
    expected = {}
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        rows = [(b"k%d" % (number % 50), b"%s %d" % (codec.encode(), number)) for number in range(1000)]
        produce(broker, topic, rows, compression_type=codec, linger_ms=20)
        expected.update(rows)
        close_segment(broker, topic)
    before = sum(path.stat().st_size for path in closed_segments(broker, topic))
    alter(admin(broker), topic, min_compaction_lag_ms=0)
    wait_cleaned(broker, topic, 5000)
    got = everything(broker, topic)
    assert latest(got) == expected
    assert len(got) < 300
    assert sum(path.stat().st_size for path in closed_segments(broker, topic)) < before / 5
    assert "compresscodec: zstd" in dump(broker, topic)


def test_deleted_keys_stay_as_tombstones_for_a_while_and_then_go(broker, make, topic):
    make(topic, delete_retention_ms=3000)
    produce(broker, topic, [(b"kept", b"1"), (b"deleted", b"1"), (b"deleted", None)])
    close_segment(broker, topic)
    wait_cleaned(broker, topic, 3)
    assert [(m.key(), m.value()) for m in everything(broker, topic)][:2] == [(b"kept", b"1"), (b"deleted", None)]
    assert re.search(r"deleteHorizonMs: OptionalLong\[\d+\]", dump(broker, topic))
    deadline = time.monotonic() + PATIENCE
    while (b"deleted", None) in [(m.key(), m.value()) for m in everything(broker, topic)]:
        assert time.monotonic() < deadline
        close_segment(broker, topic)
    assert latest(everything(broker, topic)) == {b"kept": b"1"}


def test_transactions_are_cleaned_by_their_markers(broker, make, topic):
    make(topic)
    sender = Producer({"bootstrap.servers": broker.address, "transactional.id": topic})
    try:
        sender.init_transactions(30)
    except KafkaException as error:
        pytest.skip(f"no transactions: {error}")
    for number in range(6):
        sender.begin_transaction()
        for key in range(3):
            sender.produce(topic, b"%d" % number, b"k%d" % key)
        if number % 2:
            sender.flush(30)
            sender.abort_transaction(30)
        else:
            sender.commit_transaction(30)
        close_segment(broker, topic)
    wait_cleaned(broker, topic, 20)
    expected = {b"k0": b"4", b"k1": b"4", b"k2": b"4"}
    assert latest(everything(broker, topic)) == expected
    dump(broker, topic)
    # Whoever reads everything finds no aborted record either, once it is cleaned.
    close_segment(broker, topic)
    until(lambda: latest(everything(broker, topic, "read_uncommitted")) == expected)
    broker.kill()
    broker.start()
    assert latest(everything(broker, topic)) == expected
    sender = Producer({"bootstrap.servers": broker.address, "transactional.id": topic})
    sender.init_transactions(30)
    sender.begin_transaction()
    sender.produce(topic, b"after", b"k0")
    sender.commit_transaction(30)
    assert latest(everything(broker, topic))[b"k0"] == b"after"


def test_an_idempotent_producer_goes_on_over_a_cleaning_and_a_restart(broker, make, topic):
    make(topic)
    sender = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
    for number in range(20):
        sender.produce(topic, b"%d" % number, b"same")
        assert sender.flush(30) == 0
        if number % 5 == 4:
            close_segment(broker, topic)
    wait_cleaned(broker, topic, 15)
    broker.stop()
    for path in folder(broker, topic).glob("*.snapshot"):
        path.unlink()
    broker.start()
    sender.produce(topic, b"last", b"same")
    assert sender.flush(30) == 0
    assert latest(everything(broker, topic)) == {b"same": b"last"}


def test_settings_change_without_a_restart(broker, make, topic):
    make(topic, cleanup_policy="delete")
    produce(broker, topic, [(None, b"no key"), (b"a", b"1"), (b"a", b"2")])
    close_segment(broker, topic)
    alter(admin(broker), topic, cleanup_policy="compact")
    wait_cleaned(broker, topic, 3)
    assert [(m.key(), m.value()) for m in everything(broker, topic)][:1] == [(b"a", b"2")]
    refused = Producer({"bootstrap.servers": broker.address})
    answers = []
    refused.produce(topic, b"no key", on_delivery=lambda error, _: answers.append(error))
    refused.flush(30)
    assert answers[0] is not None and answers[0].name() == "INVALID_RECORD"


def test_old_segments_of_a_topic_with_both_policies_are_deleted_too(broker, make, topic):
    make(topic, cleanup_policy="compact,delete")
    produce(broker, topic, [(b"old", b"1")])
    close_segment(broker, topic)
    wait_cleaned(broker, topic, 1)
    alter(admin(broker), topic, retention_ms=1500)
    until(lambda: b"old" not in latest(everything(broker, topic)))


def test_a_lag_limit_cleans_a_topic_to_which_nothing_is_written(broker, make, topic):
    make(topic, segment_ms=3_600_000, min_cleanable_dirty_ratio=1, max_compaction_lag_ms=1500)
    produce(broker, topic, [(b"a", b"1"), (b"a", b"2")])
    if KIND == "apache":
        time.sleep(2)
        produce(broker, topic, [(b"b", b"1")])
    wait_cleaned(broker, topic, 2)
    assert [m.value() for m in everything(broker, topic)][:1] == [b"2"]


@pytest.mark.skipif(KIND == "apache", reason="Kafka has no metrics page")
def test_a_partition_that_cannot_be_cleaned_is_set_aside_and_counted(tmp_path, topic):
    settings = {**SETTINGS, "log.cleaner.backoff.ms": "500"}
    with Broker(tmp_path / "damaged", settings) as broker:
        for name in (topic, f"{topic}-good"):
            words = [word for pair in {**COMPACTED, "segment.ms": "3600000"}.items() for word in ("--config", "=".join(pair))]
            LATEST.run("kafka-topics", "--bootstrap-server", broker.address, "--create", "--topic", name, *words)
            produce(broker, name, [(b"a", b"1"), (b"a", b"2")])
        path = folder(broker, topic) / "00000000000000000000.log"
        with path.open("r+b") as file:
            file.seek(65)
            byte = file.read(1)
            file.seek(65)
            file.write(bytes([byte[0] ^ 1]))
        for name in (topic, f"{topic}-good"):
            alter(admin(broker), name, segment_ms=300)
        for name in (topic, f"{topic}-good"):
            close_segment(broker, name)
        wait_cleaned(broker, f"{topic}-good", 2)
        until(lambda: "cannot be cleaned" in broker.log.read_text(errors="replace"))
        assert cleaned_to(broker, topic) == 0
        assert broker.alive()
