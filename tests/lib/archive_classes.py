#!/usr/bin/env python3
"""Stores the classes that Apache's tools and clients load, see tests/harness/jvm.py.

    archive_classes.py VERSION

Runs a few tools against a broker (MILENA_BIN) and keeps what they have loaded.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import jvm  # noqa: E402
from harness.broker import Broker  # noqa: E402
from harness.tools import Tools  # noqa: E402

TOPIC = "archived"


def commands(address):
    at = ("--bootstrap-server", address)
    return [
        ("kafka-topics", "--create", "--topic", TOPIC, *at),
        ("kafka-topics", "--describe", *at),
        ("kafka-console-producer", "--topic", TOPIC, *at),
        ("kafka-console-consumer", "--topic", TOPIC, "--from-beginning", "--max-messages", "1", "--timeout-ms", "15000", "--group", TOPIC, *at),
        ("kafka-consumer-groups", "--describe", "--group", TOPIC, *at),
        ("kafka-configs", "--describe", "--entity-type", "topics", "--entity-name", TOPIC, *at),
    ]


def loaded(version, directory):
    """The lists of classes that the tools have loaded, as one."""
    lines = {}
    with Broker(directory, {"group.initial.rebalance.delay.ms": "0"}) as broker:
        for number, (tool, *arguments) in enumerate(commands(broker.address)):
            listed = directory / f"{number}.classes"
            java, *rest = Tools(version).command(tool, *arguments)
            subprocess.run([java, f"-XX:DumpLoadedClassList={listed}", *rest], input="one\n", text=True, capture_output=True, timeout=90, check=True)
            lines.update(dict.fromkeys(listed.read_text().splitlines(keepends=True)))
    return lines


def main(version):
    target = jvm.archive(version)
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        directory = pathlib.Path(directory)
        classes, made = directory / "classes", directory / target.name
        classes.write_text("".join(loaded(version, directory)))
        dump = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={made}"]
        subprocess.run([*dump, "-cp", jvm.libraries(version)], capture_output=True, timeout=90, check=True)
        os.replace(made, target)


main(sys.argv[1])
