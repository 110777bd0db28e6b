#!/usr/bin/env python3
"""Measures how long producers of several client libraries are without an acknowledgement when a broker is killed.

    clients.py [--rounds N] [--clients NAME,NAME] [--settle SECONDS]

Three brokers (MILENA_BIN) and one client at a time: an idempotent producer with its library's defaults and acks=all, to three partitions. Each
round kills the leader of one of them and the controller by turns (kill -9), waits until every replica is in sync again, and as long as is said: librdkafka
doubles its wait before it connects to a broker with every failure, up to ten seconds, and forgets that after as many, so kills in quick succession measure its
patience with brokers that came back. At the end each acknowledged record must be in the topic once, in order, at its offset. Needs what `tests/run clients` prepares; its Python is
`<cache>/venv-current/bin/python`.
"""

import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.cluster import Cluster, Load, judged, now_us
from harness.drivers import BY_NAME
from measure import figures

PARTITIONS = 3


def rounds_of(cluster, driver, count, settle_s):
    """Seconds without an acknowledgement, one for each kill."""
    topic = f"killed-{driver.name}"
    cluster.create(topic, PARTITIONS, min_insync_replicas=2)
    load = Load(driver, cluster, topic, PARTITIONS)
    gaps = []
    try:
        load.wait_acked(100)
        for number in range(count):
            victim = cluster.controller() if number % 2 else cluster.leader(topic, number % PARTITIONS)
            at = now_us()
            cluster.brokers[victim].kill()
            load.wait_acked(100)
            gaps.append(load.longest_gap(at))
            cluster.brokers[victim].start()
            cluster.wait_whole(topic, 60)
            load.wait_acked(20)
            time.sleep(settle_s)
        failed = judged(cluster, load)
        assert not failed, failed[:3]
    finally:
        load.kill()
    return gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--clients", default="confluent-kafka,kafka-python,java")
    parser.add_argument("--settle", type=float, default=11)
    arguments = parser.parse_args()
    for name in arguments.clients.split(","):
        with tempfile.TemporaryDirectory() as folder, Cluster(pathlib.Path(folder)) as cluster:
            print(figures(name, rounds_of(cluster, BY_NAME[name], arguments.rounds, arguments.settle)), flush=True)


if __name__ == "__main__":
    main()
