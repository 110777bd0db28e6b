"""A broker's disk fills up, fails, or has rotted, below a client that writes on: nothing acknowledged is lost.

Three brokers, each on a file system of its own where this needs one: a small tmpfs that can be filled, an ext4 image whose
mount is aborted, as the kernel does after an error of the device, and a plain directory in which a segment is damaged. The
first two need the right to mount.
"""

import os
import re
import shutil
import struct
import subprocess
import time
import urllib.request

import pytest

from harness import wire
from harness.broker import KIND, Broker, free_port
from harness.cluster import Cluster, Load, judged
from harness.drivers import BY_NAME, until
from harness.wire import Peer

pytestmark = pytest.mark.skipif(KIND == "apache", reason="Apache Kafka ends on a full disk")

FULL, FAILING, ROTTEN = 1, 2, 3
REQUEST_TIMED_OUT, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, KAFKA_STORAGE_ERROR = 7, 14, 15, 56
LEVEL = "milena_disk_level"


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, timeout=60)


def mounted(directory, *words):
    """Why `words` cannot be mounted at `directory`, or nothing: containers mostly may not."""
    try:
        run("mount", *words, directory)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"cannot mount: {(getattr(error, 'stderr', '') or str(error)).strip()}"
    return None


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """The cluster, and why a disk of it is only a directory."""
    root = tmp_path_factory.mktemp("disks")
    cluster = Cluster(root)
    for broker in cluster.brokers.values():
        broker.http = f"127.0.0.1:{free_port(1)}"
        broker.settings["milena.http.listener"] = broker.http
        broker.data.mkdir()
    image = root / "image"
    image.touch()
    os.truncate(image, 96 << 20)
    missing = {FULL: mounted(cluster.brokers[FULL].data, "-t", "tmpfs", "-o", "size=96m", "none")}
    try:
        run("mkfs.ext4", "-q", "-F", image)
        missing[FAILING] = mounted(cluster.brokers[FAILING].data, "-o", "loop", image)
    except (OSError, subprocess.CalledProcessError) as error:
        missing[FAILING] = f"no ext4 image: {error}"
    cluster.image = image
    try:
        with cluster:
            yield cluster, missing
    finally:
        for id, why in missing.items():
            if not why:
                run("umount", "--lazy", cluster.brokers[id].data)


def metric(broker, name):
    with urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=10) as page:
        found = re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)
    return float(found[1])


def said(broker, words):
    return words.encode() in broker.log.read_bytes()[broker.log_end :]


def begin(cluster, topic, leader):
    """A client that writes to three partitions; one of them is led by `leader`, which has room and works yet."""
    order = [leader, *(i for i in cluster.brokers if i != leader)]
    turns = [order[turn:] + order[:turn] for turn in range(3)]
    cluster.create(topic, assignment=turns, min_insync_replicas=2)
    load = Load(BY_NAME["confluent-kafka"], cluster, topic, 3, every_ms=5)
    load.wait_acked(50)
    return load


def fill(directory):
    """Not a byte is left."""
    with open(directory / "somebody-elses", "wb", buffering=0) as file:
        chunk = bytes(1 << 20)
        while chunk:
            try:
                file.write(chunk)
            except OSError:
                chunk = chunk[: len(chunk) // 2]


def batch_ends(segment):
    """Where each batch of a segment ends."""
    content, ends, at = segment.read_bytes(), [], 0
    while at + 61 < len(content):
        (length,) = struct.unpack_from(">i", content, at + 8)
        at += 12 + length
        ends.append(at)
    return ends


def rot(segment):
    """Flips a bit in a record of the batch in the middle: there are batches behind it, so no torn write did that."""
    ends = batch_ends(segment)
    content = bytearray(segment.read_bytes())
    content[ends[len(ends) // 2] - 1] ^= 1
    segment.write_bytes(content)


def test_full_disk_ends_nothing_and_is_left_when_there_is_room(disks):
    cluster, missing = disks
    if missing[FULL]:
        pytest.skip(missing[FULL])
    broker = cluster.brokers[FULL]
    assert (metric(broker, LEVEL), metric(broker, "milena_disk_ballast_bytes")) == (0, 6 << 20)
    assert metric(broker, "milena_disk_reserve_bytes") == 6 << 20
    load = begin(cluster, "filled", FULL)
    try:
        for _ in range(2):
            fill(broker.data)
            until(lambda: metric(broker, LEVEL) == 3, 20, lambda: f"level {metric(broker, LEVEL)}")
            # Whoever has room leads, and the client finds them.
            load.wait_acked(100)
            # The ballast gives room to the metadata log; that it may be taken, too, is the point of the next round.
            until(lambda: metric(broker, "milena_disk_ballast_bytes") == 0, 20, lambda: "the ballast is kept")
            fill(broker.data)
            load.wait_acked(100)
            assert broker.alive(), "a full disk ended the broker"
            (broker.data / "somebody-elses").unlink()
            until(lambda: metric(broker, LEVEL) == 0, 20, lambda: f"level {metric(broker, LEVEL)}")
            cluster.wait_whole("filled", 60)
        for words in ("producers are refused", "there is room on the disk again"):
            until(lambda: said(broker, words), 10, lambda: f"it does not say: {words}")
        judged(cluster, load)
    finally:
        load.kill()


def test_failed_disk_ends_its_broker_after_it_has_handed_over(disks):
    cluster, missing = disks
    if missing[FAILING]:
        pytest.skip(missing[FAILING])
    broker = cluster.brokers[FAILING]
    load = begin(cluster, "failed", FAILING)
    try:
        # Every write is refused from now on, and what was not synced is gone.
        run("mount", "-o", "remount,abort", broker.data)
        until(lambda: not broker.alive(), 30, lambda: "the broker goes on with a directory that has failed")
        assert broker.process.returncode != 0
        assert said(broker, f"data directory {broker.data} has failed")
        load.wait_acked(100)
        until(lambda: cluster.leader("failed", to=ROTTEN) != FAILING, 10, lambda: "the broker that ended leads")
        broker.log_end = broker.log.stat().st_size
        run("umount", "--lazy", broker.data)
        # Somebody looked after the device.
        subprocess.run(["e2fsck", "-fy", str(cluster.image)], capture_output=True, timeout=60)
        run("mount", "-o", "loop", cluster.image, broker.data)
        broker.start()
        cluster.wait_whole("failed", 60)
        judged(cluster, load)
    finally:
        load.kill()


def test_rotten_segment_is_found_and_copied_anew(disks):
    cluster, _ = disks
    broker = cluster.brokers[ROTTEN]
    load = begin(cluster, "rotten", ROTTEN)
    try:
        segment = broker.data / "rotten-0" / f"{0:020}.log"
        # A client that starts slowly sends all that it has gathered as one batch.
        until(lambda: len(batch_ends(segment)) > 5, 20, lambda: f"batches end at {batch_ends(segment)}")
        broker.kill()
        rot(segment)
        load.wait_acked(100)
        broker.start()
        assert said(broker, "a damaged log is set aside")
        assert metric(broker, "milena_damaged_logs_total") == 1
        (aside,) = broker.data.glob("rotten-0.*-damaged")
        cluster.wait_whole("rotten", 60)
        load.wait_acked(50)
        judged(cluster, load)
        # All replicas are in sync, and a follower may have a batch to fetch all the same.
        sizes = lambda: {(broker.data / "rotten-0" / f"{0:020}.log").stat().st_size for broker in cluster.brokers.values()}
        until(lambda: len(sizes()) == 1, 20, sizes)
        shutil.rmtree(aside)
    finally:
        load.kill()


def test_single_broker_on_a_full_disk_answers_in_time(tmp_path):
    """Its metadata waits for room, and nobody else could go on: clients hear so, and everything goes on when there is room."""
    broker = Broker(tmp_path, {"offsets.commit.timeout.ms": "1000"})
    broker.data.mkdir()
    why = mounted(broker.data, "-t", "tmpfs", "-o", "size=64m", "none")
    if why:
        pytest.skip(why)
    numbers = iter(range(1, 100_000))

    def create(peer, name):
        topic = {"name": name, "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}
        return peer.ask("CreateTopics", 4, topics=[topic], timeout_ms=1_000, validate_only=False)["topics"][0]

    def commit(peer, offset):
        partition = {"partition_index": 0, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": "m" * 4000}
        answer = peer.ask(
            "OffsetCommit", 7, group_id="g", generation_id_or_member_epoch=-1, member_id="", group_instance_id=None,
            topics=[{"name": "kept", "partitions": [partition]}],
        )
        return answer["topics"][0]["partitions"][0]["error_code"]

    def committed(peer):
        answer = peer.ask("OffsetFetch", 5, group_id="g", topics=[{"name": "kept", "partition_indexes": [0]}], require_stable=False)
        return answer["topics"][0]["partitions"][0]["committed_offset"]

    def begin(peer, transactional_id):
        return peer.ask("InitProducerId", 2, transactional_id=transactional_id, transaction_timeout_ms=60_000)["error_code"]

    def in_time(ask):
        """Three seconds are the longest that the broker waits for room; the machine may need some, too."""
        began = time.monotonic()
        answer = ask()
        assert time.monotonic() - began < 10, answer
        return answer

    try:
        with broker:
            with Peer(broker.address) as peer:
                assert create(peer, "kept")["error_code"] == 0
                assert wire.produce(peer, "kept", wire.batch())["error_code"] == 0
                until(lambda: commit(peer, 0) == 0, 20, lambda: "nobody coordinates")
                fill(broker.data)
                until(lambda: said(broker, "producers are refused"), 20, lambda: "the broker does not notice")
                # The ballast is thrown by the first who needs it.
                fill(broker.data)
                # There may be room for the decision, and none for the directory.
                squeezed = in_time(lambda: create(peer, "squeezed"))["error_code"]
                last, code = 0, 0
                while code == 0:
                    fill(broker.data)
                    offset = next(numbers)
                    code = in_time(lambda: commit(peer, offset))
                    last = last if code else offset
                assert code == COORDINATOR_NOT_AVAILABLE
                assert in_time(lambda: wire.produce(peer, "kept", wire.batch()))["error_code"] == KAFKA_STORAGE_ERROR
                refused = in_time(lambda: create(peer, "refused"))
                assert refused["error_code"] == REQUEST_TIMED_OUT and "the disk of this broker is full" in refused["error_message"]
                # Java's idempotent producers cannot look for a coordinator: they would fail for good.
                assert in_time(lambda: begin(peer, None)) == COORDINATOR_LOAD_IN_PROGRESS
                assert in_time(lambda: begin(peer, "t")) == COORDINATOR_NOT_AVAILABLE
                assert in_time(lambda: committed(peer)) == last
                assert in_time(lambda: wire.fetch(peer, "kept", 0))["responses"][0]["partitions"][0]["error_code"] == 0
            until(lambda: said(broker, "no room for metadata, waiting for some"), 10, lambda: "it does not say what it waits for")
            assert broker.alive()
            (broker.data / "somebody-elses").unlink()
            with Peer(broker.address) as peer:
                # What was not answered with success may have happened all the same.
                until(lambda: commit(peer, last + 2) == 0 and committed(peer) == last + 2, 20, lambda: committed(peer))
                until(lambda: wire.produce(peer, "kept", wire.batch())["error_code"] == 0, 20, lambda: "it takes no records")
                until(lambda: begin(peer, None) == 0 and begin(peer, "t") == 0, 20, lambda: "no producer can begin")
                if squeezed == 0:
                    until(lambda: wire.produce(peer, "squeezed", wire.batch())["error_code"] == 0, 20, lambda: "a partition stays offline")
                assert create(peer, "later")["error_code"] == 0
    finally:
        run("umount", "--lazy", broker.data)
