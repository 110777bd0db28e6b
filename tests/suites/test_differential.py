"""Milena beside Apache Kafka 4.3.1: everything that a client sees, compared; each difference is explained in docs/compatibility.md.

The tables of that page are read here: a difference that is not listed fails, and so does a row that no difference needs.
MILENA_DIFFERENCES=FILE also writes all differences there.
"""

import fnmatch
import os
import pathlib
import re

import pytest

from harness.broker import KIND, REPO, Broker
from harness.probe import observe

PAGE = REPO / "docs/compatibility.md"
SETTINGS = {"group.initial.rebalance.delay.ms": "0"}
# What Kafka's own server.properties sets and Milena is given too; where to listen and to store is each broker's own.
OWN = ("listeners", "advertised.listeners", "log.dirs", "process.roles", "controller.quorum.voters", "controller.listener.names")
ABSENT = "(absent)"


def listed():
    """The patterns in the first column of the page's tables; a row may hold several."""
    patterns = []
    for line in PAGE.read_text().splitlines():
        first = re.match(r"\| (`[^|]+`) \|", line)
        if first:
            patterns += re.findall(r"`([^`]+)`", first.group(1))
    return patterns


def matches(path, pattern):
    # A topic's or client's name never holds these: only `*` has a meaning in a pattern.
    return fnmatch.fnmatchcase(path, re.sub(r"([\[\]?])", r"[\1]", pattern))


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    if KIND == "apache":
        pytest.skip("needs Milena")
    with Broker(tmp_path_factory.mktemp("apache"), SETTINGS, kind="apache") as apache:
        theirs = observe(apache.address)
    lines = (apache.directory / "server.properties").read_text().splitlines()
    shared = {key: value for key, value in (line.split("=", 1) for line in lines) if key not in OWN}
    with Broker(tmp_path_factory.mktemp("milena"), shared, kind="milena") as milena:
        ours = observe(milena.address)
    found = {}
    for path in sorted(set(theirs) | set(ours)):
        pair = (theirs.get(path, ABSENT), ours.get(path, ABSENT))
        if pair[0] != pair[1]:
            found[path] = pair
    if os.environ.get("MILENA_DIFFERENCES"):
        lines = [f"{path}\n    Kafka:  {str(a)[:200]}\n    Milena: {str(b)[:200]}\n" for path, (a, b) in found.items()]
        pathlib.Path(os.environ["MILENA_DIFFERENCES"]).write_text("".join(lines))
    print(f"{len(set(theirs) | set(ours))} observations, {len(found)} differences")
    assert len(theirs) > 2000, "the probe has gone blind"
    return found


def test_every_difference_is_explained(differences):
    patterns = listed()
    unlisted = {path: pair for path, pair in differences.items() if not any(matches(path, pattern) for pattern in patterns)}
    shown = "\n".join(f"{path}: Kafka {str(a)[:100]}, Milena {str(b)[:100]}" for path, (a, b) in list(unlisted.items())[:40])
    assert not unlisted, f"{len(unlisted)} differences are not in docs/compatibility.md:\n{shown}"


def test_no_explanation_is_out_of_date(differences):
    idle = [pattern for pattern in listed() if not any(matches(path, pattern) for path in differences)]
    assert not idle, f"nothing differs there any more: {idle}"
