"""One broker in a container, started in the ways that the common images are."""

import contextlib
import pathlib
import subprocess
import tempfile

from client import metadata, round_trip, until

BROKER = "localhost:19292"
PUBLISHED = ["-p", "19292:9092"]
ADVERTISED = "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:19292"
TOPICS = "/opt/kafka/bin/kafka-topics.sh"


@contextlib.contextmanager
def container(engine, *arguments, command=()):
    """A container of the image, gone afterwards; what it printed is shown if the test fails."""
    name = engine.docker("run", "-d", *arguments, "milena", *command)
    try:
        yield name
    except BaseException:
        print(subprocess.run(["docker", "logs", "--tail", "40", name], capture_output=True, text=True).stdout)
        raise
    finally:
        engine.docker("rm", "-f", "-v", name)


def healthy(engine, name, patience=60):
    until(f"{name} is healthy", lambda: engine.inspect(name, ".State.Health.Status") == "healthy", patience)


def the_image_is_small_runs_as_nobody_special_and_checks_its_health_without_a_shell(engine):
    size = engine.inspect("milena", ".Size")
    assert size < 60_000_000, f"{size} bytes"
    config = engine.inspect("milena", ".Config")
    assert config["User"].split(":")[0] not in ("", "0", "root"), config["User"]
    assert config["Healthcheck"]["Test"][0] == "CMD", config["Healthcheck"]
    assert "/var/lib/kafka/data" in config["Volumes"], config["Volumes"]
    print(f"       image: {size / 1e6:.1f} MB")


def without_variables_a_published_port_is_enough(engine):
    with container(engine, "-p", "9092:9092") as name:
        healthy(engine, name)
        round_trip("localhost:9092", "greetings")


def the_tools_are_where_kafka_has_them(engine):
    with container(engine) as name:
        healthy(engine, name)
        local = ["--bootstrap-server", "localhost:9092"]
        created = engine.docker("exec", name, TOPICS, "--create", "--topic", "t", "--partitions", "2", *local)
        assert created == "Created topic t.", created
        assert engine.docker("exec", name, "bash", "-c", f"{TOPICS} --list {' '.join(local)}") == "t"
        assert engine.docker("exec", name, "sh", "-c", "kafka-topics.sh --list --bootstrap-server localhost:9092 | wc -l") == "1"
        assert engine.docker("exec", name, "id", "-u") == "1000"


def topics_of_the_variable_are_there_when_it_is_healthy(engine):
    topics = "KAFKA_CREATE_TOPICS=one:3:1,two:1:1:compact"
    with container(engine, *PUBLISHED, "-e", ADVERTISED, "-e", "KAFKA_LISTENERS=PLAINTEXT://:9092", "-e", topics) as name:
        healthy(engine, name)
        found = {it.topic: len(it.partitions) for it in metadata(BROKER).topics.values()}
        assert found == {"one": 3, "two": 1}, found


def records_outlive_the_container_in_the_volume(engine):
    volume = engine.docker("volume", "create")
    # Any user of group 0, and no file system to write to but the volume.
    strict = ["--read-only", "--user", "4711:0"]
    arguments = [*PUBLISHED, *strict, "-v", f"{volume}:/var/lib/kafka/data", "-e", ADVERTISED, "-e", "KAFKA_LISTENERS=PLAINTEXT://:9092"]
    try:
        with container(engine, *arguments) as name:
            healthy(engine, name)
            round_trip(BROKER, "kept", 50)
        with container(engine, *arguments) as name:
            healthy(engine, name)
            assert "kept" in metadata(BROKER).topics
    finally:
        engine.docker("volume", "rm", volume)


def bitnami_s_variables_and_volume_are_understood(engine):
    settings = {
        "KAFKA_CFG_NODE_ID": "0",
        "KAFKA_CFG_PROCESS_ROLES": "controller,broker",
        "KAFKA_CFG_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_CFG_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:19292",
        "KAFKA_CFG_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CFG_CONTROLLER_QUORUM_VOTERS": "0@localhost:9093",
        "KAFKA_CFG_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_KRAFT_CLUSTER_ID": "abcdefghijklmnopqrstuv",
        "ALLOW_PLAINTEXT_LISTENER": "yes",
    }
    variables = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
    volume = engine.docker("volume", "create")
    try:
        with container(engine, *PUBLISHED, *variables, "-v", f"{volume}:/bitnami/kafka") as name:
            healthy(engine, name)
            round_trip(BROKER, "t")
            properties = engine.docker("exec", name, "cat", "/bitnami/kafka/data/meta.properties")
            assert "cluster.id=abcdefghijklmnopqrstuv" in properties and "node.id=0" in properties, properties
    finally:
        engine.docker("volume", "rm", volume)


def a_mounted_file_is_read_and_variables_win_over_it(engine):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "server.properties"
        file.write_text("listeners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://localhost:1\nnum.partitions=7\n")
        pathlib.Path(folder).chmod(0o755)
        with container(engine, *PUBLISHED, "-v", f"{folder}:/mnt/shared/config:ro", "-e", ADVERTISED) as name:
            healthy(engine, name)
            round_trip(BROKER, "automatic")
            assert len(metadata(BROKER).topics["automatic"].partitions) == 7


def testcontainers_starts_it_as_it_starts_kafka(engine):
    script = "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:19292,BROKER://$(hostname):9093\n/etc/kafka/docker/run\n"
    settings = {
        "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_NODE_ID": "1",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "9223372036854775807",
    }
    variables = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
    waiting = "while [ ! -f /tmp/testcontainers_start.sh ]; do sleep 0.1; done; /tmp/testcontainers_start.sh"
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        pathlib.Path(file.name).chmod(0o755)
        with container(engine, *PUBLISHED, *variables, "--entrypoint", "sh", command=("-c", waiting)) as name:
            engine.docker("cp", file.name, f"{name}:/tmp/testcontainers_start.sh")
            for line in ("Transitioning from RECOVERY to RUNNING", "Kafka Server started"):
                until(line, lambda: line in engine.docker("logs", name))
            round_trip(BROKER, "t")


def metrics_are_served(engine):
    with container(engine) as name:
        healthy(engine, name)
        page = engine.docker("exec", name, "wget", "-q", "-O", "-", "http://127.0.0.1:9644/metrics")
        assert "kafka_controller_kafkacontroller_activecontrollercount 1" in page.splitlines(), page[:500]


TESTS = [
    the_image_is_small_runs_as_nobody_special_and_checks_its_health_without_a_shell,
    without_variables_a_published_port_is_enough,
    the_tools_are_where_kafka_has_them,
    topics_of_the_variable_are_there_when_it_is_healthy,
    records_outlive_the_container_in_the_volume,
    bitnami_s_variables_and_volume_are_understood,
    a_mounted_file_is_read_and_variables_win_over_it,
    testcontainers_starts_it_as_it_starts_kafka,
    metrics_are_served,
]
