"""The broker that a suite runs against, and names for its topics."""

import itertools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.broker import Broker  # noqa: E402
from harness.cluster import Cluster  # noqa: E402

# Groups of the tests have all members at once: waiting for more only costs time.
SETTINGS = {"group.initial.rebalance.delay.ms": "200"}

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """One broker per file of tests."""
    with Broker(tmp_path_factory.mktemp("broker"), SETTINGS) as running:
        yield running
        assert running.alive(), f"the broker died, see {running.log}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three brokers per file of tests, which may kill them."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def whole_again(cluster):
    """Starts what a test has killed: `pytestmark = pytest.mark.usefixtures("whole_again")`."""
    yield
    cluster.make_whole()


@pytest.fixture
def topic(request):
    """A name that no other test uses."""
    return f"t{next(numbers)}-{os.getpid()}"
