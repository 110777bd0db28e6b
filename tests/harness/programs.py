"""Long-running programs around the broker (Streams, Connect): started, killed, started again."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

from harness.broker import CACHE, REPO, free_port
from harness.drivers import until

KAFKA = f"{CACHE}/kafka-4.3.1/libs/*"
ECOSYSTEM = CACHE / "ecosystem-4.3.1"


def java(heap, *classpath):
    """The start of a command line for a JVM that shares two cores with three brokers."""
    options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    logging = f"-Dlog4j2.configurationFile={REPO}/tests/java/log4j2.xml"
    return ["java", *options, logging, "-cp", ":".join(str(each) for each in classpath)]


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

    def stop(self, patience=40):
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
    """A worker of Kafka Connect in distributed mode, and its REST interface."""

    def __init__(self, directory, name, bootstrap, **settings):
        self.port = free_port(1)
        directory.mkdir(parents=True, exist_ok=True)
        properties = directory / f"{name}.properties"
        all_settings = {
            "bootstrap.servers": bootstrap,
            "group.id": name,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "config.storage.topic": f"{name}-configs",
            "offset.storage.topic": f"{name}-offsets",
            "status.storage.topic": f"{name}-status",
            "offset.storage.partitions": 3,
            "status.storage.partitions": 2,
            "offset.flush.interval.ms": 500,
            "scheduled.rebalance.max.delay.ms": 0,
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_000,
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
            return json.load(answer)

    def put(self, connector, **config):
        """Makes a connector; while the worker joins its group it refuses."""
        refusal = None

        def made():
            nonlocal refusal
            try:
                self.ask("PUT", f"/connectors/{connector}/config", {key.replace("_", "."): str(value) for key, value in config.items()})
                return True
            except urllib.error.HTTPError as error:
                refusal = f"{error.code} {error.read()[:300]}"
                assert error.code in (404, 409, 500, 503), refusal
            except OSError as error:
                refusal = error
            return False

        until(made, 60, lambda: f"{refusal}: {self.last_words()}")

    def running(self, connector):
        try:
            status = self.ask("GET", f"/connectors/{connector}/status")
        except OSError:
            return False
        return [task["state"] for task in status["tasks"]] == ["RUNNING"]
