"""Long-running programs around the broker (Streams, Connect): started, killed, started again."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

from harness import jvm
from harness.broker import CACHE, REPO, free_port
from harness.drivers import until

VERSION = "4.3.1"
KAFKA = jvm.libraries(VERSION)
ECOSYSTEM = CACHE / "ecosystem-4.3.1"


def java(heap, *classpath):
    """The start of a command line of a program with its class path, `KAFKA` first."""
    logging = f"-Dlog4j2.configurationFile={REPO}/tests/java/log4j2.xml"
    return [*jvm.java(heap, VERSION), logging, "-cp", ":".join(str(each) for each in classpath)]


class Program:
    """A program whose output, of all its runs, goes to one file."""

    def __init__(self, directory, name, command, environment=None):
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / f"{name}.log"
        self.command = [str(word) for word in command]
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.log_start = 0

    def start(self):
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            # Standard input stays open: its end tells some programs to stop.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=self.environment
            )
        return self

    def said(self):
        """What the present run has said."""
        with self.log.open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    def answers(self):
        """The lines of JSON among what all runs have said; the last may still be on its way."""
        lines = self.log.read_text(errors="replace").splitlines(keepends=True) if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: no goodbye to anybody."""
        if self.alive():
            self.process.kill()
        if self.process:
            self.process.wait()

    def stop(self, patience=90):
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(patience)

    def send(self, number):
        if self.alive():
            os.kill(self.process.pid, number)

    def pause(self):
        self.send(signal.SIGSTOP)

    def resume(self):
        self.send(signal.SIGCONT)

    def last_words(self):
        return " | ".join(self.said().strip().splitlines()[-8:])


class Worker(Program):
    """A worker of Kafka Connect in distributed mode, and its REST interface; those with the same `group` share the work."""

    def __init__(self, directory, group, bootstrap, name=None, **settings):
        name = name or group
        self.port = free_port(1)
        directory.mkdir(parents=True, exist_ok=True)
        properties = directory / f"{name}.properties"
        all_settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "config.storage.topic": f"{group}-configs",
            "offset.storage.topic": f"{group}-offsets",
            "status.storage.topic": f"{group}-status",
            "offset.storage.partitions": 3,
            "status.storage.partitions": 2,
            "offset.flush.interval.ms": 500,
            "scheduled.rebalance.max.delay.ms": 0,
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_000,
            "consumer.session.timeout.ms": 6_000,
            "consumer.heartbeat.interval.ms": 1_000,
            "listeners": f"http://127.0.0.1:{self.port}",
            "plugin.discovery": "service_load",
            **{key.replace("_", "."): value for key, value in settings.items()},
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in all_settings.items()))
        connectors = ECOSYSTEM / "libs/connect-file-4.3.1.jar"
        super().__init__(directory, name, [*java("256m", KAFKA, connectors), "org.apache.kafka.connect.cli.ConnectDistributed", properties])

    def ask(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.loads(answer.read() or b"null")

    def put(self, connector, **config):
        """Makes a connector."""
        self.insist("PUT", f"/connectors/{connector}/config", {key.replace("_", "."): str(value) for key, value in config.items()})

    def insist(self, method, path, body=None):
        """Asks until it is done: while the worker joins its group or hands tasks over it refuses."""
        refusal = None

        def done():
            nonlocal refusal
            try:
                self.ask(method, path, body)
                return True
            except urllib.error.HTTPError as error:
                refusal = f"{error.code} {error.read()[:300]}"
                assert error.code in (400, 404, 409, 500, 503), refusal
            except OSError as error:
                refusal = error
            return False

        until(done, 150, lambda: f"{method} {path}: {refusal}: {self.last_words()}")

    def state(self, connector):
        """State of a connector, and by number the state and the worker's address of each task; nothing while it is not known."""
        try:
            status = self.ask("GET", f"/connectors/{connector}/status")
        except OSError:
            return None, {}
        return status["connector"]["state"], {it["id"]: (it["state"], it["worker_id"]) for it in status["tasks"]}

    @property
    def address(self):
        """As the statuses of tasks call it."""
        return f"127.0.0.1:{self.port}"


class Mirror(Program):
    """MirrorMaker 2 on its own, from a cluster `source` to a cluster `target`, exactly once."""

    def __init__(self, directory, source, target, topics, replication):
        directory.mkdir(parents=True, exist_ok=True)
        properties = directory / "mirror.properties"
        settings = {
            "clusters": "source, target",
            "source.bootstrap.servers": source,
            "target.bootstrap.servers": target,
            "source->target.enabled": "true",
            "source->target.topics": topics,
            "source->target.sync.group.offsets.enabled": "true",
            "target->source.enabled": "false",
            "target->source.emit.heartbeats.enabled": "false",
            "target.exactly.once.source.support": "enabled",
            # A worker that starts reads the topic of offsets to its end: behind the transaction of one that was killed, not before it is over.
            "target.producer.transaction.timeout.ms": "10000",
            "replication.factor": "-1",
            "offset.lag.max": "0",
            "tasks.max": "2",
            "refresh.topics.interval.seconds": "2",
            "refresh.groups.interval.seconds": "2",
            "emit.checkpoints.interval.seconds": "1",
            "sync.group.offsets.interval.seconds": "1",
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "1000",
        }
        for cluster, count in (("source", 1), ("target", replication)):
            for kind in ("offset.storage", "config.storage", "status.storage"):
                settings[f"{cluster}.{kind}.replication.factor"] = count
            settings[f"{cluster}.offset.storage.partitions"] = 3
            for kind in ("checkpoints", "heartbeats", "offset-syncs"):
                settings[f"{kind}.topic.replication.factor"] = "-1"
        properties.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        command = [*java("256m", KAFKA, ECOSYSTEM / "libs/*"), "org.apache.kafka.connect.mirror.MirrorMaker", properties]
        super().__init__(directory, "mirror", command)
