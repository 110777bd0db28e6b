"""Transactions of the clients that test_transactions.py leaves out, all side by side through one bad day of three brokers.

franz-go, sarama, kafkajs, the `rdkafka` crate, aiokafka's writer, and Apache's clients from before KIP-447 (2.8.0) and KIP-890
(3.7.2). The day: coordinator and leaders are killed, hang for less time than a session, are restarted one after the other,
and each program meets its successor. Nobody may stand still, and what they told must be what is there.
"""

import collections
import os
import signal
import time

import pytest

from harness.cluster import Cluster
from harness.committed import Tail
from harness.drivers import BY_NAME, until
from harness.histories import PARTITIONS, Moved, Numbers, Writer, judge_history, stable

NAMES = "franz-go,sarama,kafkajs,rdkafka,aiokafka,java-2.8.0,java-3.7.2"
CHOSEN = [name for name in os.environ.get("MILENA_TRANSACTION_CLIENTS", NAMES).split(",") if BY_NAME[name].available()]
# aiokafka's loop is in test_transactions.py.
TRANSFORMERS = [name for name in CHOSEN if name != "aiokafka"]
TOPIC = "history"
PATIENCE = 120


class Day:
    """The programs of all clients, and how long each needed to go on after what was done to them."""

    def __init__(self, cluster):
        self.cluster = cluster
        for name in TRANSFORMERS:
            cluster.create(f"{name}-in", PARTITIONS, min_insync_replicas=2)
            cluster.create(f"{name}-out", PARTITIONS, min_insync_replicas=2)
        cluster.create(TOPIC, PARTITIONS, min_insync_replicas=2)
        self.numbers = Numbers(cluster, [f"{name}-in" for name in TRANSFORMERS], every_s=0.15)
        self.tail = Tail(cluster.bootstrap, TOPIC, PARTITIONS)
        self.loops = [Moved(cluster, name) for name in TRANSFORMERS]
        self.writers = [Writer(cluster, name, name, TOPIC, every_ms=50) for name in CHOSEN]
        self.trouble = collections.defaultdict(list)

    def goes_on(self, after):
        """Waits until every program has done more. One that stands still is judged at the end and does not hold up the others."""
        began = time.monotonic()
        wanted = {it: len(it.tail.records) + 20 for it in self.loops} | {it: it.committed() + 5 for it in self.writers}

        def done(it):
            return len(it.tail.records) if isinstance(it, Moved) else it.committed()

        while wanted and time.monotonic() < began + PATIENCE:
            for it in list(wanted):
                it.revive()
                if done(it) >= wanted[it]:
                    del wanted[it]
            time.sleep(0.02)
        for it in wanted:
            self.trouble[it.driver].append(f"stood still for {PATIENCE} s {after}: {it.words()}")
        print(f"{time.monotonic() - began:.1f} s until all went on {after}")

    def lives(self):
        cluster, first = self.cluster, self.loops[0]
        self.goes_on("at the start")
        victim = cluster.brokers[cluster.coordinator(first.driver, key_type=1)]
        victim.kill()
        self.goes_on("after the death of the coordinator")
        victim.start()
        victim = cluster.brokers[cluster.leader(f"{first.driver}-out")]
        os.kill(victim.pid, signal.SIGSTOP)
        time.sleep(3)
        os.kill(victim.pid, signal.SIGCONT)
        self.goes_on("after a leader hung for three seconds")
        for it in self.loops:
            it.loop.pause()
            it.replace()
        for it in self.writers:
            it.replace()
        self.goes_on("with successors")
        for it in self.loops:
            it.loops[-2].resume()
        for broker in cluster.brokers.values():
            broker.stop()
            broker.start()
            cluster.wait_all_alive()
        self.goes_on("after a rolling restart")
        self.numbers.finish()
        for it in self.writers:
            it.kill()
        # The last transaction of each writer is nobody's: it ends by its time-out.
        until(lambda: stable(cluster, TOPIC), 60, lambda: "a transaction stays open")
        self.records = self.tail.finish(cluster.bootstrap, lambda _: True)

    def over(self):
        self.numbers.stopped.set()
        self.tail.stopped.set()
        for it in self.loops:
            it.tail.stopped.set()
            for loop in it.loops:
                loop.kill()
        for it in self.writers:
            it.kill()


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        day = Day(cluster)
        try:
            day.lives()
            yield day
        finally:
            day.over()


@pytest.mark.parametrize("driver", TRANSFORMERS)
def test_consume_transform_produce_moves_each_record_once(day, driver):
    (it,) = [it for it in day.loops if it.driver == driver]
    assert not day.trouble[driver], day.trouble[driver]
    it.finish()
    assert any("aborted" in answer for loop in it.loops for answer in loop.answers()), "nothing was aborted on the way"


@pytest.mark.parametrize("driver", CHOSEN)
def test_history_of_transactions_has_no_anomaly(day, driver):
    (it,) = [it for it in day.writers if it.driver == driver]
    assert not day.trouble[driver], day.trouble[driver]
    anomalies = judge_history([it], [record for record in day.records if record.value.startswith(f"{it.id}/")])
    assert not anomalies, "\n".join(anomalies[:20])
    outcomes = collections.Counter(told["outcome"] for told in it.told().values())
    assert outcomes["committed"] > 25 and outcomes["aborted"] > 5, outcomes
