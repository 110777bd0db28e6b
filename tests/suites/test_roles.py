"""Nodes of one role each, as Apache's isolated examples have them: three controllers that keep nothing, three brokers that never
vote on metadata. Groups are coordinated by brokers all the same, and every single node may die."""

import itertools
import os
import shutil
import subprocess

import pytest

from harness.broker import KIND, Broker
from harness.cluster import MILENA, Isolated, Load, judged
from harness.drivers import BY_NAME, lately, until
from harness.wire import Peer, Refused

PRODUCER = BY_NAME[os.environ.get("MILENA_ROLES_CLIENT", "confluent-kafka")]
offsets = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if KIND == "apache":
        pytest.skip("the script that starts Apache Kafka gives its nodes both roles")
    with Isolated(tmp_path_factory.mktemp("isolated")) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def whole_again(request):
    yield
    if "cluster" in request.fixturenames:
        request.getfixturevalue("cluster").make_whole()


def commit(cluster, group, topic, patience=30):
    """Commits the next number as the offset of partition 0 and reads it back, from whoever coordinates."""
    offset = next(offsets)
    partition = {"partition_index": 0, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": ""}

    def done():
        try:
            with Peer(cluster.brokers[cluster.coordinator(group)].address) as peer:
                answer = peer.ask(
                    "OffsetCommit", 7, group_id=group, generation_id_or_member_epoch=-1, member_id="", group_instance_id=None,
                    topics=[{"name": topic, "partitions": [partition]}],
                )
                if answer["topics"][0]["partitions"][0]["error_code"]:
                    return False
                return committed(peer, group, topic) == offset
        except (OSError, Refused, IndexError):
            return False

    until(done, patience, lambda: f"offset {offset} was not committed")
    return offset


def committed(peer, group, topic):
    answer = peer.ask("OffsetFetch", 5, group_id=group, topics=[{"name": topic, "partition_indexes": [0]}], require_stable=False)
    return answer["topics"][0]["partitions"][0]["committed_offset"]


def recalled(cluster, group, topic):
    """What whoever coordinates says is committed; nothing while nobody does."""
    try:
        with Peer(cluster.brokers[cluster.coordinator(group)].address) as peer:
            return committed(peer, group, topic)
    except (OSError, Refused, IndexError):
        return None


def voters(cluster):
    asked = [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]
    answer = cluster.ask("DescribeQuorum", 1, topics=asked)["topics"][0]["partitions"][0]
    return sorted(it["replica_id"] for it in answer["current_voters"]), answer["leader_id"]


def test_controllers_vote_and_brokers_serve(cluster):
    until(lambda: voters(cluster)[1] >= 0, 30, lambda: voters(cluster))
    ids, leader = voters(cluster)
    assert ids == sorted(cluster.controllers) and leader in ids
    # Clients hear of brokers only, whoever leads the quorum.
    for broker in cluster.brokers:
        # One that has just started hears of the others in a moment.
        until(lambda: len(cluster.metadata([], to=broker)["brokers"]) >= len(cluster.brokers), 30, lambda: cluster.metadata([], to=broker))
        answer = cluster.metadata([], to=broker)
        assert sorted(it["node_id"] for it in answer["brokers"]) == sorted(cluster.brokers)
        assert answer["controller_id"] in cluster.brokers
    assert cluster.coordinator("any") in cluster.brokers
    lasting = lambda: [it.data for it in cluster.controllers.values() if (it.data / "founding").exists()]
    until(lambda: not lasting(), 30, lambda: f"a voter that lost its log could found the cluster anew: {lasting()}")
    cluster.create("served", 3)
    PRODUCER.run("produce", cluster.bootstrap, "served", "lz4", "all", "1", 300, lately())
    assert len(PRODUCER.run("consume", cluster.bootstrap, "served", 300)) == 300
    commit(cluster, "g", "served")


def test_broker_alone_is_not_made_a_voter(cluster):
    """It was not started to vote, and would be one by a word to any broker."""
    if KIND == "apache":
        pytest.skip("Apache's voters cannot be changed where the list is static")
    broker = min(cluster.brokers)
    words = ["cluster", "add-voter", str(broker), "--bootstrap-server", cluster.brokers[broker].address]
    refused = subprocess.run([MILENA, *words], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "its process.roles is broker" in refused.stderr, refused
    assert voters(cluster)[0] == sorted(cluster.controllers)


def test_any_one_node_may_die(cluster):
    """The active controller, then the broker that coordinates: what is acknowledged stays, and clients go on."""
    cluster.create("lasting", 2)
    before = commit(cluster, "lasting", "lasting")
    load = Load(PRODUCER, cluster, "lasting", 2)
    try:
        load.wait_acked(50)
        active = cluster.controller()
        cluster.controllers[active].kill()
        load.wait_acked(50)
        until(lambda: voters(cluster)[1] not in (-1, active), 30, lambda: voters(cluster))
        cluster.make_whole()
        victim = cluster.coordinator("lasting")
        cluster.brokers[victim].kill()
        load.wait_acked(50)
        until(lambda: cluster.coordinator("lasting") != victim, 30, lambda: "the dead broker coordinates")
        until(lambda: recalled(cluster, "lasting", "lasting") == before, 30, lambda: recalled(cluster, "lasting", "lasting"))
        commit(cluster, "lasting", "lasting")
        judged(cluster, load)
    finally:
        load.kill()


def test_all_controllers_restart_and_nothing_is_forgotten(cluster):
    """While none of them runs brokers serve what needs no decision, and afterwards go on."""
    cluster.create("kept", 1)
    before = commit(cluster, "kept", "kept")
    for controller in cluster.controllers.values():
        controller.kill()
    until(lambda: recalled(cluster, "kept", "kept") == before, 30, lambda: recalled(cluster, "kept", "kept"))
    cluster.make_whole()
    cluster.wait_whole("kept")
    PRODUCER.run("produce", cluster.bootstrap, "kept", "none", "all", "1", 10, lately())
    commit(cluster, "kept", "kept")


def test_controller_without_its_directory_is_turned_away(cluster):
    """A voter whose log is gone could vote twice (F11)."""
    active = cluster.controller()
    victim = next(i for i in cluster.controllers if i != active)
    controller = cluster.controllers[victim]
    controller.kill()
    aside = controller.directory / "aside"
    controller.data.rename(aside)
    with pytest.raises(RuntimeError, match="could vote twice"):
        controller.start()
    shutil.rmtree(controller.data, ignore_errors=True)
    aside.rename(controller.data)
    controller.start()


def test_one_controller_and_one_broker_that_are_told_an_address_only(tmp_path):
    """controller.quorum.bootstrap.servers instead of a list of voters, as the static quorum's successor has it."""
    if KIND == "apache":
        pytest.skip("the script that starts Apache Kafka gives its nodes both roles")
    with Isolated(tmp_path, brokers=1, controllers=1, bootstrap=True) as cluster:
        assert voters(cluster) == ([101], 101)
        cluster.create("small", 1, 1)
        PRODUCER.run("produce", cluster.bootstrap, "small", "none", "all", "1", 10, lately())
        assert len(PRODUCER.run("consume", cluster.bootstrap, "small", 10)) == 10
        commit(cluster, "g", "small")


def test_roles_that_contradict_the_voters_are_refused(tmp_path):
    if KIND == "apache":
        pytest.skip("needs Milena")
    node = Broker(tmp_path, {"process.roles": "broker", "node.id": "1", "controller.quorum.voters": "1@127.0.0.1:1"})
    with pytest.raises(RuntimeError, match="must not be included in the set of voters"):
        node.start()
