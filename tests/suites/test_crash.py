"""kill -9 and restart: what was acknowledged is there, once and in order; a clean restart is quick.

The producers are idempotent and keep their promise list on disk of their own: each remembers what it was told. MILENA_KILLS
sets the number of kills (default 5).
"""

import os
import pathlib
import random
import resource
import threading
import time

import pytest

from harness import wire
from harness.broker import KIND, Broker
from harness.drivers import NEUTRAL, until
from harness.wire import Peer, Refused, batch, create_topic, fetch

KILLS = int(os.environ.get("MILENA_KILLS", "5"))
CODECS = ("none", "lz4", "zstd")


class Sender:
    """An idempotent producer that never gives up: it repeats the batch that was not answered, as clients do."""

    def __init__(self, address, topic, partition):
        self.address, self.topic, self.partition = address, topic, partition
        self.acknowledged = {}
        self.sequence = 0
        self.number = 0
        self.stopped = threading.Event()
        self.problems = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        producer = None
        while not self.stopped.is_set():
            try:
                with Peer(self.address, patience=5) as peer:
                    if producer is None:
                        answer = peer.ask("InitProducerId", 4, transactional_id=None, transaction_timeout_ms=60_000)
                        if answer["error_code"]:
                            time.sleep(0.05)
                            continue
                        producer = (answer["producer_id"], answer["producer_epoch"])
                    while not self.stopped.is_set():
                        self.send(peer, producer)
            except (Refused, OSError):
                time.sleep(0.01)

    def send(self, peer, producer):
        count = 1 + self.number % 7
        records = [(b"%d" % self.partition, b"%d" % (self.number + i)) for i in range(count)]
        content = batch(records, codec=CODECS[self.number % 3], producer=(*producer, self.sequence))
        answer = wire.produce(peer, self.topic, content, partition=self.partition)
        code = answer["error_code"]
        if code == 0:
            for i in range(count):
                self.acknowledged[answer["base_offset"] + i] = b"%d" % (self.number + i)
            self.sequence += count
            self.number += count
        elif code in (3, 5, 6, 7, 19, 20, 56):
            time.sleep(0.02)  # retriable: what a client does after a restart
        else:
            self.problems.append(answer)
            self.stopped.set()


def read_all(address, topic, partition):
    """Every record of a partition as (offset, value), read with a client that checks CRCs."""
    answers = []
    with Peer(address) as peer:
        asked = [{"partition_index": partition, "current_leader_epoch": -1, "timestamp": -1}]
        listed = peer.ask("ListOffsets", 7, replica_id=-1, isolation_level=0, topics=[{"name": topic, "partitions": asked}])
        end = listed["topics"][0]["partitions"][0]["offset"]
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "enable.auto.commit": False, "check.crcs": True})
    consumer.assign([TopicPartition(topic, partition, 0)])
    deadline = time.monotonic() + 120
    while (not answers or answers[-1][0] < end - 1) and end and time.monotonic() < deadline:
        for message in consumer.consume(1000, 1):
            assert not message.error(), message.error()
            answers.append((message.offset(), message.value()))
    consumer.close()
    return answers, end


@pytest.mark.parametrize("flush", [None, "1"], ids=["page-cache", "fsync-each-batch"])
def test_acknowledged_records_survive_kill(tmp_path, flush):
    settings = {"log.flush.interval.messages": flush} if flush else {}
    broker = Broker(tmp_path, settings)
    broker.start()
    chance = random.Random(os.environ.get("MILENA_SEED", "7"))
    partitions = 4
    with Peer(broker.address) as peer:
        # Small segments: rolls, indexes and snapshots are in play at the moment of the kill.
        create_topic(peer, "survives", partitions, configs={"segment.bytes": "1048576"})
    senders = [Sender(broker.address, "survives", p) for p in range(partitions)]
    try:
        for kill in range(KILLS if flush is None else 1):
            time.sleep(chance.uniform(0.3, 2.0))
            before = sum(sender.number for sender in senders)
            broker.kill()
            seconds = broker.start()
            print(f"kill {kill + 1}: {before} records, ready again after {seconds:.2f} s")
            until(lambda: all(s.problems or s.number for s in senders), 30, lambda: "a producer never got through")
            until(lambda: any(s.problems for s in senders) or sum(s.number for s in senders) > before, 30, lambda: "nothing was accepted after the restart")
        time.sleep(0.5)
    finally:
        for sender in senders:
            sender.stopped.set()
        for sender in senders:
            sender.thread.join(30)
    assert [s.problems for s in senders if s.problems] == []
    for sender in senders:
        records, end = read_all(broker.address, "survives", sender.partition)
        assert sender.number > 0
        assert [offset for offset, _ in records] == list(range(end)), f"partition {sender.partition}: offsets have holes"
        # Once and in order: the values count upwards by one; at most one batch was accepted without its answer arriving.
        values = [int(value) for _, value in records]
        assert values == list(range(len(values))), f"partition {sender.partition}: lost, repeated or out of order"
        assert sender.number <= len(values) <= sender.number + 7, f"{sender.number} acknowledged, {len(values)} stored"
        by_offset = dict(records)
        wrong = {offset: value for offset, value in sender.acknowledged.items() if by_offset.get(offset) != value}
        assert not wrong, f"partition {sender.partition}: {len(wrong)} records are not where the answer said: {list(wrong)[:3]}"
    broker.stop()


def test_group_and_topic_state_survives_kill(tmp_path):
    with Broker(tmp_path, {"group.initial.rebalance.delay.ms": "0"}) as broker:
        NEUTRAL.run("create", broker.address, "kept", 3, "retention.ms=12345678")
        NEUTRAL.run("produce", broker.address, "kept", "none", "all", "1", 60, int(time.time() * 1000))
        with Peer(broker.address) as peer:
            if KIND == "apache":
                until(lambda: peer.ask("FindCoordinator", 2, key="keeper", key_type=0)["error_code"] == 0, 20, lambda: "coordinator")
            topic = peer.ask("Metadata", 12, topics=[{"name": "kept", "topic_id": None}])["topics"][0]
            cluster = peer.ask("Metadata", 12, topics=[])["cluster_id"]
            committed = {"partition_index": 1, "committed_offset": 17, "committed_leader_epoch": 0, "committed_metadata": "noted"}
            commit = {"group_id": "keeper", "generation_id_or_member_epoch": -1, "member_id": "", "group_instance_id": None}

            def answer():
                commits = peer.ask("OffsetCommit", 7, **commit, topics=[{"name": "kept", "partitions": [committed]}])
                return commits["topics"][0]["partitions"][0]["error_code"]

            until(lambda: answer() == 0, 20, lambda: "commit")
        broker.kill()
        broker.start()
        (described,) = NEUTRAL.run("configs", broker.address, "kept")
        assert described["configs"]["retention.ms"] == "12345678"
        with Peer(broker.address) as peer:

            def again():
                return peer.ask("Metadata", 12, topics=[{"name": "kept", "topic_id": None}])["topics"][0]

            until(lambda: len(again()["partitions"]) == 3 and all(p["error_code"] == 0 for p in again()["partitions"]), 20, again)
            after = again()
            assert after["topic_id"] == topic["topic_id"] and peer.ask("Metadata", 12, topics=[])["cluster_id"] == cluster
            for was, now in zip(sorted(topic["partitions"], key=lambda p: p["partition_index"]), sorted(after["partitions"], key=lambda p: p["partition_index"])):
                assert now["leader_epoch"] >= was["leader_epoch"], "a leader epoch went back"

            def offsets():
                return peer.ask("OffsetFetch", 5, group_id="keeper", topics=None)

            until(lambda: offsets()["error_code"] == 0, 20, offsets)
            (partition,) = offsets()["topics"][0]["partitions"]
            assert (partition["partition_index"], partition["committed_offset"], partition["metadata"]) == (1, 17, "noted")


def test_clean_restart_with_a_thousand_partitions_is_quick(tmp_path):
    with Broker(tmp_path) as broker:
        with Peer(broker.address, patience=60) as peer:
            for i in range(10):
                assert create_topic(peer, f"many-{i}", 100)["error_code"] == 0
            for i in range(10):
                for partition in range(0, 100, 5):
                    until(lambda: wire.produce(peer, f"many-{i}", batch(), partition=partition)["error_code"] == 0, 20, lambda: "produce")
        broker.stop()
        seconds = broker.start()
        with Peer(broker.address, patience=60) as peer:
            for i in range(10):
                got = fetch(peer, f"many-{i}", 0, partition=95)["responses"][0]["partitions"][0]
                assert got["error_code"] == 0 and got["high_watermark"] == 1, got
        print(f"clean restart with 1,000 partitions: {seconds:.2f} s")
        # The promise is 2 s on a quiet machine, and others may be busy; Apache Kafka is measured, not judged.
        assert KIND == "apache" or seconds < 6, f"{seconds:.2f} s"


@pytest.mark.skipif(KIND == "apache", reason="a JVM does so by itself")
def test_limit_of_open_files_is_raised_to_what_is_allowed(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with Broker(tmp_path / "broker") as broker:
            limits = pathlib.Path(f"/proc/{broker.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    told = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert told.split()[3:5] == [str(hard), str(hard)], told
