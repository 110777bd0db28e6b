"""Settings of a topic that show on disk: each is changed on a topic that exists, without a restart, and then does what it says."""

import contextlib
import re
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from harness import drivers
from harness.broker import KIND, Broker
from harness.configs import alter
from harness.tools import Tools

SETTINGS = {
    "log.retention.check.interval.ms": "200",
    "log.initial.task.delay.ms": "100",
    "log.cleaner.backoff.ms": "100",
    "replica.high.watermark.checkpoint.interval.ms": "200",
    "log.flush.offset.checkpoint.interval.ms": "200",
}
LATEST = Tools("4.3.1")
PATIENCE = 40


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("settings"), SETTINGS) as running:
        yield running
        assert running.alive(), f"the broker died, see {running.log}"


@pytest.fixture
def admin(broker, topic):
    client = AdminClient({"bootstrap.servers": broker.address})
    for future in client.create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(20)
    return client


def produce(broker, topic, rows, **settings):
    """Error names of what was refused; rows are (key, value) or (key, value, time)."""
    sender = Producer({"bootstrap.servers": broker.address, "message.max.bytes": 10_000_000, **{key.replace("_", "."): value for key, value in settings.items()}})
    refused = []
    for key, value, *when in rows:
        sender.produce(topic, value, key, timestamp=when[0] if when else 0, on_delivery=lambda error, _: refused.append(error and error.name()))
        sender.poll(0)
    assert sender.flush(30) == 0
    return [error for error in refused if error]


def folder(broker, topic):
    return broker.data / f"{topic}-0"


def segments(broker, topic):
    return sorted(folder(broker, topic).glob("*.log"))


def until(condition, what):
    drivers.until(condition, PATIENCE, lambda: what)


def recovery_point(broker, topic):
    path = broker.data / "recovery-point-offset-checkpoint"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [int(line.split(" ")[2]) for line in lines if line.startswith(f"{topic} 0 ")]
    return found[0] if found else 0


def codecs(broker, topic):
    out = LATEST.run("kafka-dump-log", "--files", ",".join(map(str, segments(broker, topic))))
    return re.findall(r"compresscodec: (\w+)", out)


@pytest.mark.parametrize("codec", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_compression_type_is_the_codec_at_rest(broker, admin, topic, codec):
    assert produce(broker, topic, [(b"k", b"v" * 1000)], compression_type="zstd") == []
    alter(admin, topic, compression_type=codec)
    assert produce(broker, topic, [(b"k", b"v" * 1000)], compression_type="gzip") == []
    assert codecs(broker, topic) == ["zstd", codec.replace("uncompressed", "none")]


def test_message_timestamp_type_stamps_with_the_brokers_clock(broker, admin, topic):
    hour_ago = int(time.time() * 1000) - 3_600_000
    produce(broker, topic, [(b"k", b"v", hour_ago)])
    alter(admin, topic, message_timestamp_type="LogAppendTime")
    produce(broker, topic, [(b"k", b"v", hour_ago)])
    out = LATEST.run("kafka-dump-log", "--deep-iteration", "--files", str(segments(broker, topic)[0]))
    first, second = re.findall(r"\| offset: \d+ (\w+): (\d+)", out)
    assert first == ("CreateTime", str(hour_ago))
    assert second[0] == "LogAppendTime" and int(second[1]) > hour_ago + 3_000_000


def test_message_timestamp_bounds_refuse_records_from_too_far_away(broker, admin, topic):
    now = int(time.time() * 1000)
    assert produce(broker, topic, [(b"k", b"v", now - 86_400_000)]) == []
    assert produce(broker, topic, [(b"k", b"v", now + 7_200_000)]) == ["INVALID_TIMESTAMP"]
    alter(admin, topic, message_timestamp_before_max_ms=60_000, message_timestamp_after_max_ms=86_400_000)
    assert produce(broker, topic, [(b"k", b"v", now - 86_400_000)]) == ["INVALID_TIMESTAMP"]
    assert produce(broker, topic, [(b"k", b"v", now + 7_200_000)]) == []


def test_max_message_bytes_bounds_a_batch(broker, admin, topic):
    assert produce(broker, topic, [(b"k", b"v" * 2_000_000)]) == ["MSG_SIZE_TOO_LARGE"]
    alter(admin, topic, max_message_bytes=3_000_000)
    assert produce(broker, topic, [(b"k", b"v" * 2_000_000)]) == []
    alter(admin, topic, max_message_bytes=1000)
    assert produce(broker, topic, [(b"k", b"v" * 2000)]) == ["MSG_SIZE_TOO_LARGE"]


def test_segment_ms_closes_segments_by_the_time_of_their_records(broker, admin, topic):
    start = int(time.time() * 1000) - 1_000_000
    rows = [(b"k", b"v", start + 100_000 * number) for number in range(6)]
    for row in rows:
        produce(broker, topic, [row])
    assert len(segments(broker, topic)) == 1
    alter(admin, topic, segment_ms=150_000)
    for row in rows:
        produce(broker, topic, [(b"k", b"v", row[2] + 600_000)])
    names = [int(path.stem) for path in segments(broker, topic)]
    assert names == [0, 6, 8, 10]


def test_segment_jitter_ms_takes_a_random_part_off(broker, admin, topic):
    start = int(time.time() * 1000) - 10_000_000
    alter(admin, topic, segment_ms=500_000, segment_jitter_ms=499_999)
    rows = [(b"k", b"v", start + 100_000 * number) for number in range(100)]
    assert produce(broker, topic, rows, batch_num_messages=1) == []
    names = [int(path.stem) for path in segments(broker, topic)]
    # Six records each without it. With it one to five, each as likely: that all of at least nineteen segments have as many is
    # one chance in 10**12.
    counts = {after - before for before, after in zip(names, names[1:])}
    assert len(counts) > 1, names


def test_retention_ms_and_bytes_delete_whole_segments(broker, admin, topic):
    now = int(time.time() * 1000)
    alter(admin, topic, segment_bytes=1_048_576, file_delete_delay_ms=0)
    for number in range(6):
        produce(broker, topic, [(b"k", b"v" * 900_000, now - 50_000_000)])
    assert len(segments(broker, topic)) == 6
    alter(admin, topic, retention_bytes=2_000_000)
    until(lambda: len(segments(broker, topic)) == 3, "three segments by size")
    alter(admin, topic, retention_ms=1_000_000)
    until(lambda: [int(path.stem) for path in segments(broker, topic)] == [6], "an empty segment")


def test_file_delete_delay_ms_keeps_files_for_a_while(broker, admin, topic):
    now = int(time.time() * 1000)
    alter(admin, topic, file_delete_delay_ms=3000)
    produce(broker, topic, [(b"k", b"v", now - 50_000_000)])
    alter(admin, topic, retention_ms=1_000_000)
    renamed = None

    def seen():
        nonlocal renamed
        with contextlib.suppress(FileNotFoundError):
            for path in folder(broker, topic).glob("*.log.deleted"):
                renamed = path.stat().st_ctime
                return True

    until(seen, "a file that is to be deleted")
    until(lambda: not seen(), "the file unlinked")
    # Since the broker gave it the name, whenever that was looked at.
    assert time.time() - renamed > 2.9


def test_flush_messages_puts_a_batch_on_disk_before_it_is_acknowledged(broker, admin, topic):
    produce(broker, topic, [(b"k", b"v")])
    alter(admin, topic, flush_messages=1)
    produce(broker, topic, [(b"k", b"v")])
    until(lambda: recovery_point(broker, topic) == 2, "a recovery point of 2")


@pytest.mark.skipif(KIND == "apache", reason="Kafka looks for logs to flush at an interval of the broker's own")
@pytest.mark.parametrize("flush_ms", [100, 6000])
def test_flush_ms_puts_records_on_disk_in_time(broker, admin, topic, flush_ms):
    alter(admin, topic, flush_ms=flush_ms)
    produce(broker, topic, [(b"k", b"v")])
    until(lambda: recovery_point(broker, topic) == 1, "a recovery point of 1")


def test_index_interval_bytes_sets_the_density_of_the_index(broker, admin, topic):
    sizes = []
    for interval in (1_000_000, 100):
        alter(admin, topic, index_interval_bytes=interval)
        for number in range(20):
            produce(broker, topic, [(b"k", b"v" * 200)])
        # Indexes are cut to what they hold when their segment is closed.
        alter(admin, topic, segment_ms=1)
        time.sleep(0.02)
        produce(broker, topic, [(b"k", b"v")])
        alter(admin, topic, segment_ms=3_600_000)
        closed = segments(broker, topic)[-2]
        sizes.append(closed.with_suffix(".index").stat().st_size)
    assert sizes[0] == 0 and sizes[1] >= 15 * 8, sizes


def test_preallocate_reserves_a_new_segments_room(broker, admin, topic):
    alter(admin, topic, segment_bytes=8_388_608, segment_ms=1)
    produce(broker, topic, [(b"k", b"v")])
    alter(admin, topic, preallocate="true")
    time.sleep(0.02)
    produce(broker, topic, [(b"k", b"v")])
    reserved = lambda path: path.stat().st_blocks * 512
    first, second = segments(broker, topic)
    assert reserved(first) < 1_000_000 < 8_000_000 < reserved(second)
    time.sleep(0.02)
    produce(broker, topic, [(b"k", b"v")])
    until(lambda: reserved(second) < 1_000_000, "room given back")


def test_min_compaction_lag_ms_keeps_young_records(broker, admin, topic):
    alter(admin, topic, cleanup_policy="compact", segment_ms=50, min_cleanable_dirty_ratio=0.01, min_compaction_lag_ms=3_600_000)
    for number in range(4):
        produce(broker, topic, [(b"k", b"%d" % number)])
        time.sleep(0.1)
    time.sleep(1.5)
    assert len(segments(broker, topic)) == 4
    alter(admin, topic, min_compaction_lag_ms=0)
    until(lambda: len(segments(broker, topic)) < 4, "a cleaning")
