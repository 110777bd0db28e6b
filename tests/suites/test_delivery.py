"""The examples of docs/delivery.md, in their order, as they stand but for the address."""

import os
import pathlib
import re
import subprocess

import pytest

from harness.broker import CACHE, REPO
from harness.cluster import MILENA
from harness.programs import KAFKA, java

BLOCK = re.compile(r"^```(sh|python|java) (\S+)\n(.*?)^```$", re.M | re.S)
BLOCKS = {name: (language, code) for language, name, code in BLOCK.findall((REPO / "docs/delivery.md").read_text())}
ORDERS = 21
# What an example prints that matters.
LAST_WORDS = {
    "at_least_once": str(ORDERS),
    "read_committed": str(4 * ORDERS),
    "exactly_once_database.py": str(sum(range(1, ORDERS + 1))),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("delivery")


@pytest.mark.parametrize("name", BLOCKS)
def test_example(broker, folder, name):
    language, code = BLOCKS[name]
    file = folder / name
    file.write_text(code.replace("localhost:9092", broker.address))
    commands = {
        "sh": ["bash", "-eu", "-o", "pipefail", file],
        "python": [CACHE / "venv-current/bin/python", file],
        "java": [*java("128m", KAFKA), file],
    }
    path = f"{pathlib.Path(MILENA).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MILENA_BOOTSTRAP_SERVERS": broker.address}
    words = [str(word) for word in commands[language]]
    done = subprocess.run(words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{name}: {done.stdout[-500:]}{done.stderr[-1500:]}"
    if name in LAST_WORDS:
        assert done.stdout.split()[-1] == LAST_WORDS[name], f"{name}: {done.stdout[-500:]}"


def test_the_database_example_goes_on_where_it_was(broker, folder):
    """Run again it adds nothing: offset and result were kept together."""
    test_example(broker, folder, "exactly_once_database.py")
