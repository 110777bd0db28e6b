"""The quickstarts that people type: scripts from tutorials, unchanged but for the address (tests/quickstart)."""

import json
import os
import re
import subprocess
import time

import pytest

from harness.broker import CACHE, REPO

COUNT = 10_000


@pytest.fixture(params=["venv-old", "venv-current"], ids=["kafka-python-2.0.2", "kafka-python"])
def script(request, broker):
    def run(name, **environment):
        began = time.monotonic()
        done = subprocess.run(
            [CACHE / request.param / "bin/python", REPO / "tests/quickstart" / name],
            env={**os.environ, "BOOTSTRAP": broker.address, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{name}: {done.stderr.strip().splitlines()[-1:]}"
        return done.stdout, time.monotonic() - began

    run.old = request.param == "venv-old"
    return run


def values(output):
    lines = output.splitlines()
    assert lines[0] == "[begin] get consumer list" and lines[-1] == "[end] get consumer list", lines[:1] + lines[-1:]
    found = [re.fullmatch(r"Topic: \S+, Partition: (\d+), Offset: (\d+), Key: None, Value: (.*)", line).groups() for line in lines[1:-1]]
    return [(int(partition), int(offset), value) for partition, offset, value in found]


@pytest.fixture(scope="module")
def before():
    """What earlier clients left in each topic: both releases use the names of the tutorial."""
    return {"blog-post": [], "json-post": []}


def read_from_the_start(script, count, **environment):
    """What the tutorial's consumer prints. It ends when nothing came for a second, also before the first record: again, if it
    has not seen `count` yet; what is not there is not there the fifth time either.
    """
    for _ in range(5):
        got = values(script("consumer.py", **environment)[0])
        if len(got) >= count:
            break
    return got


def check_all_but_the_last(got, earlier, sent):
    """With acks=0 the client's own flush() returns before its sender has written the last frame: when the script ends at
    once, that one may never leave the client (seen with strace, and against Apache Kafka alike). Nothing else may be missing.
    """
    assert [offset for _, offset, _ in got] == list(range(len(got))), "offsets are not consecutive"
    values_now = [value for _, _, value in got]
    assert values_now[: len(earlier)] == earlier, "records of the earlier client changed"
    fresh = values_now[len(earlier) :]
    assert fresh in (sent, sent[:-1]), f"{len(fresh)} of {len(sent)} records, or not in order"
    earlier += fresh


def test_ten_thousand_records_each_flushed(script, before):
    _, seconds = script("producer_gzip.py")
    print(f"10,000 records sent and flushed in {seconds:.1f} s")
    got = read_from_the_start(script, len(before["blog-post"]) + COUNT - 1)
    check_all_but_the_last(got, before["blog-post"], [f"blog post {i}" for i in range(COUNT)])


def test_json_serializer(script, before):
    script("producer_json.py")
    got = read_from_the_start(script, len(before["json-post"]) + 1000 - 1, TOPIC="json-post")
    sent = [json.dumps({"name": f"post-{i}", "views": i}) for i in range(1000)]
    check_all_but_the_last(got, before["json-post"], sent)


def test_group_reads_once_and_goes_on_where_it_was(script):
    topic, group = ("grouped-old", "readers-old") if script.old else ("grouped", "readers")

    def read():
        """A hundred records. The consumer ends when nothing came for six seconds, also before it is in the group: the next goes on."""
        got = []
        for _ in range(5):
            got += values(script("consumer_group.py", TOPIC=topic, GROUP=group)[0])
            if len(got) >= 100:
                break
        return got

    script("producer_hundred.py", TOPIC=topic)
    first = read()
    script("producer_hundred.py", TOPIC=topic)
    second = read()
    assert [value for _, _, value in first] == [str(i) for i in range(100)], "first reader"
    assert [(offset, value) for _, offset, value in second] == [(100 + i, str(i)) for i in range(100)], "second reader"
