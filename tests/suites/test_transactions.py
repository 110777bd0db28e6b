"""Transactions of real clients on three brokers while everything that can be killed is killed.

Two kinds of programs (tests/clients/README.md): `transform` moves records from one topic to another, offsets and records in one
transaction, and must move each exactly once; `transact` writes transactions over several partitions and tells what became of
each, so that a history can be checked: nothing aborted is ever seen, nothing committed is lost, all of a transaction or nothing.
"""

import collections
import os
import re
import signal
import time

import pytest
from confluent_kafka import Producer

from harness.committed import Tail
from harness.drivers import BY_NAME, until
from harness.histories import PARTITIONS, Moved, Numbers, Writer, judge_history, stable
from harness.tools import Tools

TOOLS = Tools("4.3.1")
CHOSEN = os.environ.get("MILENA_TRANSACTION_CLIENTS", "confluent-kafka,kafka-python,aiokafka,java").split(",")
TRANSFORMERS = [name for name in CHOSEN if "transform" not in BY_NAME[name].lacks and BY_NAME[name].available()]
WRITERS = [name for name in CHOSEN if "transact" not in BY_NAME[name].lacks and BY_NAME[name].available()]
pytestmark = pytest.mark.usefixtures("whole_again")


@pytest.fixture(scope="module")
def moved(cluster):
    """Every client's loop through the same day, by client, for the tests to judge."""
    for driver in TRANSFORMERS:
        cluster.create(f"{driver}-in", PARTITIONS, min_insync_replicas=2)
        cluster.create(f"{driver}-out", PARTITIONS, min_insync_replicas=2)
    numbers = Numbers(cluster, [f"{driver}-in" for driver in TRANSFORMERS])
    loops = [Moved(cluster, driver) for driver in TRANSFORMERS]

    def goes_on(patience=120):
        """Until every loop has moved more. One that stands still is judged at the end and does not hold up the others.

        A loop of kafka-python that has lost a request hangs: 20 s until that is noticed, 16 s until its successor has the
        group and the transactional id, and it may happen again.
        """
        deadline = time.monotonic() + patience
        wanted = {it.driver: len(it.tail.records) + 50 for it in loops if not it.trouble}
        while lag := [it for it in loops if not it.trouble and len(it.tail.records) < wanted[it.driver]]:
            for it in lag:
                it.revive()
                if time.monotonic() > deadline:
                    it.trouble = f"stood still for {patience} s at {len(it.tail.records)} records: {it.words()}"
            time.sleep(0.02)

    try:
        goes_on()
        for it in loops:
            it.loop.kill()
            it.replace()
        goes_on()
        # A leader dies.
        victim = cluster.leader(f"{TRANSFORMERS[0]}-out")
        cluster.brokers[victim].kill()
        goes_on()
        cluster.brokers[victim].start()
        # The coordinator hangs for longer than anybody waits for it.
        victim = cluster.coordinator(f"{TRANSFORMERS[0]}-transform", key_type=1)
        os.kill(cluster.brokers[victim].pid, signal.SIGSTOP)
        goes_on()
        os.kill(cluster.brokers[victim].pid, signal.SIGCONT)
        # Zombies: a loop hangs, another takes its place, and then it wakes up.
        for it in loops:
            it.loop.pause()
            it.replace()
        goes_on()
        for it in loops:
            it.loops[-2].resume()
        goes_on()
        numbers.finish()
        yield {it.driver: it for it in loops}
    finally:
        numbers.stopped.set()
        for it in loops:
            it.tail.stopped.set()
            for loop in it.loops:
                loop.kill()
        cluster.make_whole()


@pytest.mark.parametrize("driver", TRANSFORMERS)
def test_consume_transform_produce_moves_each_record_once(moved, driver):
    it = moved[driver]
    assert it.trouble is None, it.trouble
    it.finish()
    assert any("aborted" in answer for loop in it.loops for answer in loop.answers()), "nothing was aborted on the way"


def test_history_of_transactions_has_no_anomaly(cluster):
    topic = "history"
    cluster.create(topic, PARTITIONS, min_insync_replicas=2)
    tail = Tail(cluster.bootstrap, topic, PARTITIONS)
    writers = [Writer(cluster, driver, f"{driver}-{n}", topic) for driver in WRITERS for n in range(1 if driver == "java" else 2)]

    def go_on(patience=120):
        # As long as in the loops above, and for the same reason.
        wanted = {it.id: it.committed() + 10 for it in writers}

        def there():
            for it in writers:
                it.revive()
            return all(it.committed() >= wanted[it.id] for it in writers)

        until(there, patience, lambda: [it.words() for it in writers if it.committed() < wanted[it.id]])

    try:
        go_on()
        for fault in ("kill the leader", "kill the coordinator", "stop the coordinator", "kill the writers", "fence the writers", "kill all brokers"):
            print(fault)
            victims = []
            if fault == "kill the leader":
                victims = [cluster.leader(topic)]
            elif "coordinator" in fault:
                victims = [cluster.coordinator(writers[0].id, key_type=1)]
            elif fault == "kill all brokers":
                victims = list(cluster.brokers)
            for victim in victims:
                if fault == "stop the coordinator":
                    os.kill(cluster.brokers[victim].pid, signal.SIGSTOP)
                else:
                    cluster.brokers[victim].kill()
            if fault == "kill all brokers":
                cluster.make_whole()
            if fault == "kill the writers":
                for it in writers:
                    it.programs[-1].kill()
            if fault == "fence the writers":
                for it in writers:
                    it.replace()
            go_on()
            cluster.make_whole()
            cluster.wait_whole(topic, 60)
        for it in writers:
            it.kill()
        # The last transaction of each is nobody's: it ends by its time-out.
        until(lambda: stable(cluster, topic), 60, lambda: "a transaction stays open")
        records = tail.finish(cluster.bootstrap, lambda records: True)
        anomalies = judge_history(writers, records)
        outcomes = collections.Counter(it["outcome"] for writer in writers for it in writer.told().values())
        print(f"{dict(outcomes)}, {len(records)} records, {len(anomalies)} anomalies")
        assert not anomalies, "\n".join(anomalies[:20])
        assert outcomes["committed"] > 100 and outcomes["aborted"] > 20
    finally:
        tail.stopped.set()
        for it in writers:
            it.kill()


def dumped(files, *arguments):
    return TOOLS.run("kafka-dump-log", *arguments, "--files", ",".join(str(file) for file in sorted(files)))


def aborted_in(dump):
    """Producer id, first and last offset of each transaction that an ABORT marker ends, from a dump of batches and records."""
    opened, aborted = {}, []
    batch = None
    for line in dump.splitlines():
        if line.startswith("baseOffset:"):
            batch = dict(re.findall(r"(\w+): (\S+)", line))
            if batch["isTransactional"] == "true" and batch["isControl"] == "false":
                opened.setdefault(batch["producerId"], int(batch["baseOffset"]))
        marker = re.search(r"endTxnMarker: (\w+)", line)
        if marker:
            first = opened.pop(batch["producerId"], None)
            if marker.group(1) == "ABORT" and first is not None:
                aborted.append((int(batch["producerId"]), first, int(batch["baseOffset"])))
    assert not opened, f"open for ever: {opened}"
    return aborted


def test_dump_log_reads_what_transactions_leave_on_disk(cluster):
    """`.txnindex` holds, on every replica, the transactions that the ABORT markers in `.log` end, and `.snapshot` the producers."""
    topic, ids = "dumped", 3
    cluster.create(topic, 1, segment_bytes=1 << 20)
    producers = [Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": f"dumped-{n}", "linger.ms": 0}) for n in range(ids)]
    for producer in producers:
        producer.init_transactions(30)
    for round_ in range(12):
        for producer in producers:
            producer.begin_transaction()
        for _ in range(2):
            for producer in producers:
                producer.produce(topic, b"x" * 30_000, partition=0)
                producer.flush(30)
        # Ended in another order than begun, so that transactions overlap.
        for n in (1, 2, 0):
            if (round_ + n) % 3:
                producers[n].abort_transaction(30)
            else:
                producers[n].commit_transaction(30)
    until(lambda: stable(cluster, topic, 1), 30, lambda: "a transaction stays open")
    cluster.wait_whole(topic)
    for broker in cluster.brokers.values():
        broker.stop()
        folder = broker.data / f"{topic}-0"
        files = {suffix: list(folder.glob(f"*{suffix}")) for suffix in (".log", ".txnindex", ".snapshot")}
        assert len(files[".log"]) > 1 and all(files.values()), sorted(each.name for each in folder.iterdir())
        aborted = aborted_in(dumped(files[".log"], "--print-data-log"))
        assert len(aborted) == 24, aborted
        # A segment without an aborted transaction need not have an index.
        out = dumped(files[".txnindex"])
        indexed = re.findall(r"producerId: (\d+) firstOffset: (\d+) lastOffset: (\d+) lastStableOffset: (\d+)", out)
        assert [tuple(map(int, row[:3])) for row in indexed] == aborted, out
        for row in indexed:
            assert int(row[3]) <= int(row[2]) + 1
        latest = max(files[".snapshot"])
        out = dumped([latest])
        assert len(re.findall(r"^producerId: \d+ producerEpoch: \d+ coordinatorEpoch: \d+ currentTxnFirstOffset: OptionalLong.empty", out, re.M)) == ids, out
        broker.start()
        cluster.wait_whole(topic, 60)
