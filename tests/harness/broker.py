"""Starts, stops and kills the broker under test: Milena, or Apache Kafka as the oracle.

MILENA_TEST_BROKER chooses (`milena`, the default, or `apache`); MILENA_BIN names the binary. The suites do not know which one
they talk to, and were written against Apache Kafka first.
"""

import os
import pathlib
import random
import signal
import socket
import subprocess
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("MILENA_TEST_CACHE", REPO / ".cache"))
KIND = os.environ.get("MILENA_TEST_BROKER", "milena")
START_PATIENCE = 60.0
# Ports that were given away: who has them may not listen yet, or not just now.
taken = set()


def free_port(count):
    """The first of `count` adjacent loopback ports that were free a moment ago (Kafka's controller takes the second).

    They are below those that systems give to outgoing connections: one of these would keep a killed broker from its port.
    """
    while True:
        first = random.randrange(11_000, 32_000)
        wanted = range(first, first + count)
        if not taken.isdisjoint(wanted):
            continue
        sockets = [socket.socket() for _ in wanted]
        try:
            for port, each in zip(wanted, sockets):
                each.bind(("127.0.0.1", port))
            taken.update(wanted)
            return first
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()


class Broker:
    """One node on loopback with its data under `directory`; `settings` are Kafka's own keys."""

    def __init__(self, directory, settings=None, kind=None):
        self.kind = kind or KIND
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.settings = dict(settings or {})
        self.port = free_port(2)
        self.address = f"127.0.0.1:{self.port}"
        self.process = None
        self.pid = None
        # Where the log of the present run begins: a restarted broker says the same words again.
        self.log_end = 0

    @property
    def pids(self):
        """As a cluster has them."""
        return [self.pid]

    @property
    def data(self):
        """The folder that holds the partitions' folders."""
        return self.directory / "data"

    @property
    def log(self):
        return self.directory / "broker.log"

    def start(self):
        """Returns the seconds from the start of the process until it says that it is ready."""
        began = time.monotonic()
        if self.kind == "apache":
            pairs = [f"{key}={value}" for key, value in self.settings.items()]
            script = REPO / "tests/lib/apache_kafka.sh"
            subprocess.run([script, "start", str(self.port), str(self.directory), *pairs], check=True, timeout=120)
            self.pid = int((self.directory / "pid").read_text())
        else:
            self.launch()
            self.wait_ready(began)
        return time.monotonic() - began

    def launch(self):
        """Begins Milena's process and does not wait for it."""
        self.process = subprocess.Popen(self.milena_command(), stdout=self.log.open("ab"), stderr=subprocess.STDOUT)
        self.pid = self.process.pid

    def milena_command(self):
        listen = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
        }
        command = [os.environ.get("MILENA_BIN", str(REPO / "target/release/milena")), "serve", "--data-dir", str(self.data)]
        for key, value in {**listen, **self.settings}.items():
            command += ["--set", f"{key}={value}"]
        return command

    def wait_ready(self, began):
        while time.monotonic() - began < START_PATIENCE:
            if b"Kafka Server started" in self.log.read_bytes()[self.log_end :]:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"the broker did not say that it is ready (exit code {self.process.poll()}):\n{tail}")

    def alive(self):
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return self.process is None or self.process.poll() is None

    def signal_and_wait(self, number, patience=40.0):
        os.kill(self.pid, number)
        deadline = time.monotonic() + patience
        while self.alive():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"the broker ignored signal {number} for {patience} s")
            time.sleep(0.005)
        self.log_end = self.log.stat().st_size

    def stop(self):
        """The orderly stop of an operator (SIGTERM)."""
        if self.pid and self.alive():
            self.signal_and_wait(signal.SIGTERM)

    def kill(self):
        """What a power cut does to the process (SIGKILL)."""
        self.signal_and_wait(signal.SIGKILL)

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the broker is gone")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
