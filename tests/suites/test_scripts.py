"""Kafka's quickstart as its page has it: format, start, use and stop a broker with the scripts of `bin/`, which are links."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness.broker import REPO, free_port
from harness.drivers import until
from harness.tools import Tools

MILENA = os.environ.get("MILENA_BIN", str(REPO / "target/release/milena"))
APACHE = Tools("4.3.1")
PATIENCE = 60

pytestmark = pytest.mark.skipif(os.environ.get("MILENA_TEST_BROKER") == "apache", reason="the scripts are ours")


class Installation:
    """A folder laid out as Kafka's archive: bin, config, logs; and the data of some nodes beside them."""

    def __init__(self, root):
        self.root = root
        (root / "bin").mkdir()
        (root / "config").mkdir()
        names = subprocess.run([MILENA, "--help"], capture_output=True, text=True, check=True).stdout.split()
        for name in (word for word in names if word.startswith("kafka-")):
            (root / "bin" / f"{name}.sh").symlink_to(pathlib.Path(MILENA).resolve())

    def call(self, script, *arguments, stdin="", check=True):
        command = [f"bin/{script}.sh", *arguments]
        done = subprocess.run(command, cwd=self.root, input=stdin, capture_output=True, text=True, timeout=PATIENCE)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
        return done

    def configure(self, node, port, controller_port, data, quorum):
        """Writes the file that Kafka's archive brings along, with these ports."""
        file = self.root / "config" / f"server-{node}.properties"
        file.write_text(
            f"process.roles=broker,controller\nnode.id={node}\n{quorum}\n"
            f"listeners=PLAINTEXT://:{port},CONTROLLER://:{controller_port}\ninter.broker.listener.name=PLAINTEXT\n"
            f"advertised.listeners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller_port}\n"
            "controller.listener.names=CONTROLLER\n"
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n"
            "num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n"
            f"log.dirs={data}\noffsets.topic.replication.factor=1\nlog.retention.hours=168\nmilena.http.listener=\n"
        )
        return str(file.relative_to(self.root))

    def start(self, *arguments):
        self.call("kafka-server-start", "-daemon", *arguments)

    def wait_for(self, address):
        """Until a broker answers at the address."""
        self.call("kafka-topics", "--bootstrap-server", address, "--list")

    def running(self):
        """Processes of this installation's brokers."""
        found = subprocess.run(["pgrep", "-f", f"^{pathlib.Path(MILENA).resolve()} kafka-server-start config/"], capture_output=True, text=True).stdout

        def is_ours(process):
            try:
                return os.readlink(f"/proc/{process}/cwd") == str(self.root)
            except (FileNotFoundError, ProcessLookupError):
                # It has ended since it was found.
                return False

        return [int(line) for line in found.split() if is_ours(line)]

    def wait_until_stopped(self):
        until(lambda: not self.running(), PATIENCE, lambda: "still running")


@pytest.fixture
def kafka(tmp_path):
    made = Installation(tmp_path)
    yield made
    for process in made.running():
        os.kill(process, signal.SIGKILL)
    for log in tmp_path.glob("logs/*"):
        print(log.read_text()[-4000:])


def test_the_quickstart_word_for_word(kafka):
    port, controller = free_port(2), free_port(2)
    file = kafka.configure(7, port, controller, kafka.root / "data", f"controller.quorum.bootstrap.servers=localhost:{controller}")
    cluster = kafka.call("kafka-storage", "random-uuid").stdout.strip()
    assert len(cluster) == 22
    kafka.call("kafka-storage", "format", "--standalone", "-t", cluster, "-c", file)
    kafka.start(file)
    address = f"localhost:{port}"
    kafka.wait_for(address)
    assert cluster in kafka.call("kafka-cluster", "cluster-id", "--bootstrap-server", address).stdout
    kafka.call("kafka-topics", "--create", "--topic", "quickstart-events", "--bootstrap-server", address)
    events = "This is my first event\nThis is my second event\n"
    kafka.call("kafka-console-producer", "--topic", "quickstart-events", "--bootstrap-server", address, stdin=events)
    read = ["--topic", "quickstart-events", "--from-beginning", "--max-messages", "2", "--bootstrap-server", address]
    assert kafka.call("kafka-console-consumer", *read).stdout == events
    # Once more after a stop.
    assert kafka.call("kafka-server-stop", "--node-id=8", check=False).returncode == 1, "there is no node 8"
    kafka.call("kafka-server-stop", "--node-id=7")
    kafka.wait_until_stopped()
    kafka.start(file, "--override", "num.partitions=3")
    kafka.wait_for(address)
    assert kafka.call("kafka-console-consumer", *read).stdout == events
    described = kafka.call("kafka-configs", "--describe", "--broker", "7", "--all", "--bootstrap-server", address).stdout
    assert "num.partitions=3" in described, "--override has no effect"


def test_three_nodes_begin_with_the_controllers_they_were_formatted_with(kafka):
    ports = [(free_port(2), free_port(2)) for _ in range(3)]
    cluster = kafka.call("kafka-storage", "random-uuid").stdout.strip()
    directories = [kafka.call("kafka-storage", "random-uuid").stdout.strip() for _ in ports]
    voters = ",".join(f"{node}@localhost:{controller}:{directory}" for node, ((_, controller), directory) in enumerate(zip(ports, directories), 1))
    bootstrap = "controller.quorum.bootstrap.servers=" + ",".join(f"localhost:{controller}" for _, controller in ports)
    for node, (port, controller) in enumerate(ports, 1):
        file = kafka.configure(node, port, controller, kafka.root / f"data-{node}", bootstrap)
        kafka.call("kafka-storage", "format", "-t", cluster, "-c", file, "--initial-controllers", voters)
        assert directories[node - 1] in kafka.call("kafka-storage", "info", "-c", file).stdout
        kafka.start(file)
    address = f"localhost:{ports[0][0]}"
    kafka.wait_for(address)
    status = kafka.call("kafka-metadata-quorum", "--bootstrap-server", address, "describe", "--replication").stdout
    assert all(directory in status for directory in directories), status
    # The one that was asked has begun; the others do in a moment.
    lasting = lambda: list(kafka.root.glob("data-*/founding"))
    until(lambda: not lasting(), PATIENCE, lambda: f"a voter that lost its log could found the cluster anew: {lasting()}")


# What is asked of both, and what Apache's Java alone prints.
DIALOGUE = [
    ("info",),
    ("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg"),
    ("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "--standalone"),
    ("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "--standalone"),
    ("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "--standalone", "--ignore-formatted"),
    ("format", "-t", "5L6g3nShT-eMCtK--X86sw", "--no-initial-controllers"),
    ("info",),
]


def without_java(text):
    text = re.sub(r"^(Bootstrap metadata: .*|\s+at .*)\n", "", text, flags=re.M)
    return re.sub(r"(directory\.id=)[^,]+", r"\1ID", text)


def test_storage_says_what_apaches_tool_says(kafka):
    """Each step of the dialogue, with a folder of its own for each tool: same output, same exit code."""
    for step in DIALOGUE:
        said = []
        for who in ("apache", "milena"):
            file = kafka.configure(1, 9092, 9093, kafka.root / f"data-{who}", "controller.quorum.bootstrap.servers=localhost:9093")
            arguments = [*step, "-c", str(kafka.root / file)]
            if who == "apache":
                code, out, error = APACHE.attempt("kafka-storage", *arguments)
            else:
                done = kafka.call("kafka-storage", *arguments, check=False)
                code, out, error = done.returncode, done.stdout, done.stderr
            said.append((code, *(without_java(text).replace(f"data-{who}", "data") for text in (out, error))))
        assert said[0] == said[1], step
