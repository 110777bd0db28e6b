"""Three brokers by docker-compose.yml, and by what Apache Kafka's own example says."""

import contextlib
import os
import pathlib
import time

from client import Load, metadata, read_all, round_trip, until
from engine import REPO

HERE = pathlib.Path(__file__).resolve().parent
OURS = "localhost:19092,localhost:29092,localhost:39092"
APACHE = "localhost:29092,localhost:39092,localhost:49092"
TOPICS = "/opt/kafka/bin/kafka-topics.sh"
INSIDE = ["--bootstrap-server", "localhost:9092"]


class Cluster:
    """The services kafka-1 to kafka-3 of a compose file."""

    def __init__(self, engine, file):
        self.engine = engine
        os.environ.setdefault("IMAGE", "milena")
        self.base = ["-p", "milena-test", "-f", str(file)]

    def compose(self, *arguments):
        return self.engine.compose(*self.base, *arguments)

    def container(self, number):
        return self.compose("ps", "-q", f"kafka-{number}").split()[0]

    def tool(self, number, *command):
        return self.engine.docker("exec", self.container(number), *command)

    def healthy(self, number, patience=90):
        name = self.container(number)
        until(f"kafka-{number} is healthy", lambda: self.engine.inspect(name, ".State.Health.Status") == "healthy", patience)

    def logs(self):
        print(self.compose("logs", "--no-color", "--tail", "40"))


@contextlib.contextmanager
def started(engine, file, *flags):
    """The cluster of a compose file, healthy; gone afterwards with its volumes."""
    cluster = Cluster(engine, file)
    cluster.compose("down", "-v")
    try:
        began = time.monotonic()
        cluster.compose("up", "-d", *flags)
        for number in (1, 2, 3):
            cluster.healthy(number)
        print(f"       healthy after {time.monotonic() - began:.1f} s")
        yield cluster
    except BaseException:
        cluster.logs()
        raise
    finally:
        cluster.compose("down", "-v")


def isr_sizes(brokers, topic):
    return [len(it.isrs) for it in metadata(brokers).topics[topic].partitions.values()]


def leader_of(brokers, topic):
    return metadata(brokers).topics[topic].partitions[0].leader


def nothing_acknowledged_is_lost_when_a_broker_is_killed(engine):
    with started(engine, REPO / "docker-compose.yml", "--build") as cluster:
        until("all brokers are known", lambda: sorted(metadata(OURS).brokers) == [1, 2, 3])
        created = cluster.tool(1, TOPICS, "--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "3", *INSIDE)
        assert created == "Created topic orders.", created
        until("all replicas are in sync", lambda: isr_sizes(OURS, "orders") == [3, 3, 3])
        load = Load(OURS, "orders")
        load.send_for(2)
        victim = leader_of(OURS, "orders")
        survivors = [number for number in (1, 2, 3) if number != victim]
        # The restart policy must not bring it back by itself.
        cluster.engine.docker("update", "--restart", "no", cluster.container(victim))
        cluster.engine.docker("kill", "-s", "KILL", cluster.container(victim))
        load.send_for(5)
        load.finish()
        described = cluster.tool(survivors[0], TOPICS, "--describe", "--topic", "orders", *INSIDE)
        assert f"Leader: {victim}" not in described, described
        for number in survivors:
            cluster.healthy(number)
        assert sorted(read_all(OURS, "orders")) == sorted(load.acknowledged)
        print(f"       {len(load.acknowledged)} records acknowledged and read, broker {victim} dead")
        began = time.monotonic()
        cluster.engine.docker("start", cluster.container(victim))
        until("all replicas are in sync again", lambda: isr_sizes(OURS, "orders") == [3, 3, 3])
        print(f"       all in sync {time.monotonic() - began:.1f} s after its restart")
        cluster.healthy(victim)
        assert sorted(read_all(OURS, "orders")) == sorted(load.acknowledged)


def each_broker_stops_in_turn_without_a_failed_record(engine):
    with started(engine, REPO / "docker-compose.yml") as cluster:
        until("all brokers are known", lambda: sorted(metadata(OURS).brokers) == [1, 2, 3])
        cluster.tool(1, TOPICS, "--create", "--topic", "rolled", "--partitions", "6", "--replication-factor", "3", *INSIDE)
        load = Load(OURS, "rolled")
        for number in (1, 2, 3):
            load.send_for(1)
            cluster.compose("stop", f"kafka-{number}")
            load.send_for(1)
            cluster.compose("start", f"kafka-{number}")
            until("all replicas are in sync", lambda: set(isr_sizes(OURS, "rolled")) == {3})
            cluster.healthy(number)
        load.finish()
        assert sorted(read_all(OURS, "rolled")) == sorted(load.acknowledged)


def apache_s_own_example_runs_with_the_image_s_name_changed(engine):
    runs_with_the_image_s_name_changed(engine, "apache-combined.yml", [1, 2, 3])


def apache_s_example_of_roles_apart_runs_too(engine):
    runs_with_the_image_s_name_changed(engine, "apache-isolated.yml", [4, 5, 6])


def runs_with_the_image_s_name_changed(engine, file, ids):
    with started(engine, HERE / file) as cluster:
        until("all brokers are known", lambda: sorted(metadata(APACHE).brokers) == ids)
        create = [TOPICS, "--create", "--topic", "t", "--partitions", "3", "--replication-factor", "3"]
        cluster.tool(2, *create, "--bootstrap-server", "kafka-3:19092")
        round_trip(APACHE, "t", 300)


TESTS = [
    nothing_acknowledged_is_lost_when_a_broker_is_killed,
    each_broker_stops_in_turn_without_a_failed_record,
    apache_s_own_example_runs_with_the_image_s_name_changed,
    apache_s_example_of_roles_apart_runs_too,
]
