"""The clients under test, as programs with one command line (tests/clients/README.md)."""

import collections
import json
import os
import queue
import shutil
import subprocess
import threading
import time

from harness import jvm
from harness.broker import CACHE, REPO

PYTHON = REPO / "tests/clients/python"


class Driver:
    """One client. `lacks` names the commands that it cannot do, `group_protocol` how it shows an idle member."""

    def __init__(self, name, command, lacks=(), environment=None, reports="record", sends_timestamps=True):
        self.name = name
        self.command = [str(word) for word in command]
        self.lacks = set(lacks)
        self.environment = {**os.environ, **(environment or {})}
        # What `produce` tells: each record's place, a base offset per partition, or nothing.
        self.reports = reports
        self.sends_timestamps = sends_timestamps

    def __repr__(self):
        return self.name

    def available(self):
        return shutil.which(self.command[0]) is not None

    def run(self, *arguments, patience=90):
        """All answers of one command; raises with the driver's own words when it refuses."""
        answers, refusal = self.attempt(*arguments, patience=patience)
        if refusal:
            raise AssertionError(f"{self.name} {arguments[0]}: {refusal}")
        return answers

    def attempt(self, *arguments, patience=90):
        """Answers and, if the client refused, why."""
        words = [*self.command, *(str(word) for word in arguments)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=patience, env=self.environment, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return [], f"no end after {patience} s"
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode == 0:
            return answers, None
        errors = [answer["error"] for answer in answers if "error" in answer]
        return answers, errors[0] if errors else (done.stderr.strip().splitlines() or ["no reason given"])[-1]

    def start(self, *arguments):
        return Member(self.name, [*self.command, *(str(word) for word in arguments)], self.environment)


class Member:
    """A running `member` command: what it was assigned, read and committed so far."""

    def __init__(self, name, words, environment):
        self.name = name
        self.assigned = None
        self.read = []
        self.committed = {}
        self.errors = []
        self.lines = queue.Queue()
        # A group of its own, so that a wrapper and the client below it die together.
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
        )
        threading.Thread(target=self.listen, daemon=True).start()
        self.trouble = collections.deque(maxlen=5)
        threading.Thread(target=self.listen_errors, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue
            answer = json.loads(line)
            if "assigned" in answer:
                self.assigned = sorted(answer["assigned"])
            elif "committed" in answer:
                self.committed[answer["partition"]] = answer["committed"]
            elif "offset" in answer:
                self.read.append((answer["partition"], answer["offset"], answer["value"]))
            elif "error" in answer:
                self.errors.append(answer["error"])

    def listen_errors(self):
        for line in self.process.stderr:
            self.trouble.append(line.strip())

    def kill(self):
        """SIGKILL: no goodbye to the coordinator."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait()

    def state(self):
        return f"{self.name}: assigned {self.assigned}, {len(self.read)} read, errors {self.errors} {list(self.trouble)}"


def until(condition, patience, what):
    """Waits for `condition`, at most `patience` seconds; `what` says what was missing."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what()}")
        time.sleep(0.02)


def lately():
    """Milliseconds of a minute ago, for records: retention takes what is old by its time stamp, and the future is refused."""
    return int(time.time() * 1000) - 60_000


def python(environment, script):
    return [CACHE / environment / "bin/python", PYTHON / script]


NO_ADMIN = ("create", "configs", "alter", "delete")
NO_TRANSACTIONS = ("transform", "transact")


def java(version):
    """One program for all versions of Apache's client."""
    return [*jvm.java("128m", version), "-cp", f"{jvm.libraries(version)}:{CACHE}/java-driver", "Driver"]


DRIVERS = [
    Driver("kafka-python-2.0.2", python("venv-old", "kafka_python.py"), NO_TRANSACTIONS),
    Driver("kafka-python", python("venv-current", "kafka_python.py")),
    Driver("confluent-kafka", python("venv-current", "confluent.py")),
    Driver("aiokafka", python("venv-current", "aiokafka_driver.py"), ("load",)),
    Driver("kcat", python("venv-current", "kcat.py"), (*NO_ADMIN, *NO_TRANSACTIONS), reports="nothing", sends_timestamps=False),
    Driver(
        "kafkajs",
        ["node", REPO / "tests/clients/kafkajs/driver.js"],
        environment={"NODE_PATH": str(CACHE / "kafkajs/node_modules")},
        reports="base",
    ),
    Driver("rdkafka", [CACHE / "rdkafka/rdkafka-suite"]),
    Driver("franz-go", [CACHE / "go-driver", "franz-go"]),
    Driver("sarama", [CACHE / "go-driver", "sarama"]),
    Driver("java", java("4.3.1")),
]
# Of these only the transactions are of interest: the first protocol, before and after KIP-447.
OLD_JAVA = [Driver(f"java-{version}", java(version)) for version in ("2.8.0", "3.7.2")]
BY_NAME = {driver.name: driver for driver in [*DRIVERS, *OLD_JAVA]}

# Makes topics and records for tests that are about something else.
NEUTRAL = BY_NAME["confluent-kafka"]
