"""Three brokers and what happens to them under real clients: nothing acknowledged is lost, repeated or out of order.

MILENA_CLUSTER_CLIENTS names the producers (drivers with a `load` command), MILENA_GAP the seconds for which a producer may be
without an acknowledgement when a broker dies (default 15, as librdkafka may wait ten before it connects to a broker that was dead
a moment ago; the drill measures, this only guards).
"""

import concurrent.futures
import json
import os
import signal
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness import wire
from harness.broker import KIND, free_port
from harness.cluster import MILENA, NOT_LEADER_OR_FOLLOWER, Cluster, Load, judged, now_us, read_all, verdict
from harness.drivers import BY_NAME, until
from harness.tools import Tools
from harness.wire import Peer, Refused, batch

PRODUCERS = os.environ.get("MILENA_CLUSTER_CLIENTS", "confluent-kafka,kafka-python,java").split(",")
GAP = float(os.environ.get("MILENA_GAP", "60" if KIND == "apache" else "15"))
APACHE = KIND == "apache"

NOT_ENOUGH_REPLICAS = 19
COORDINATOR_NOT_AVAILABLE = 15
REBALANCE_IN_PROGRESS = 27

pytestmark = pytest.mark.usefixtures("whole_again")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One cluster for the module: each test leaves it whole, or starts what it has stopped."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    if not APACHE:
        for broker in cluster.brokers.values():
            broker.settings["milena.http.listener"] = f"127.0.0.1:{free_port(1)}"
    with cluster:
        yield cluster


def others(cluster, *ids):
    return [i for i in cluster.brokers if i not in ids]


def drivers():
    chosen = [BY_NAME[name] for name in PRODUCERS]
    return [pytest.param(driver, id=driver.name) for driver in chosen if driver.available()]


@pytest.mark.skipif(APACHE, reason="Apache's name the dead broker until they have noticed")
def test_client_that_lost_its_connection_is_not_sent_back_there(cluster):
    """It asks the others in the same moment, and would wait long before it asks again: they look before they answer."""
    topic, group = "asked-for", "asked-for"
    cluster.create(topic, 3, min_insync_replicas=2)
    for choose in (lambda: cluster.leader(topic), lambda: cluster.coordinator(group)):
        victim = choose()
        lost = Peer(cluster.brokers[victim].address)
        lost.ask("Metadata", 4, topics=[], allow_auto_topic_creation=False)
        metadata, coordinator = ([Peer(cluster.brokers[i].address) for i in others(cluster, victim)] for _ in range(2))
        os.kill(cluster.brokers[victim].pid, signal.SIGKILL)
        with pytest.raises(Refused):
            lost.frame()
        began = time.monotonic()
        for peer in metadata:
            peer.send("Metadata", 4, topics=[{"name": topic}], allow_auto_topic_creation=False)
        for peer in coordinator:
            peer.send("FindCoordinator", 4, key_type=0, coordinator_keys=[group])
        named = []
        for peer in metadata:
            told = {it["leader_id"] for it in peer.receive("Metadata", 4)["topics"][0]["partitions"]}
            named.append((told, time.monotonic() - began))
        for peer in coordinator:
            told = {peer.receive("FindCoordinator", 4)["coordinators"][0]["node_id"]}
            named.append((told, time.monotonic() - began))
        for told, after in named:
            # Where an election takes longer they do not keep the client waiting.
            assert not told & {victim, -1} or after >= 0.3, named
        cluster.brokers[victim].kill()
        cluster.brokers[victim].start()
        cluster.wait_whole(topic, 60)


def test_records_are_on_all_replicas(cluster):
    cluster.create("replicated", 3)
    driver = BY_NAME["confluent-kafka"]
    driver.run("produce", cluster.bootstrap, "replicated", "lz4", "all", "1", 300, int(time.time() * 1000))
    assert len(driver.run("consume", cluster.bootstrap, "replicated", 300)) == 300
    cluster.wait_whole("replicated")
    for partition in range(3):
        epoch, codes = None, {}
        # All of them in one epoch: a machine that stood still elects anew.
        while epoch != (epoch := cluster.partitions("replicated")[partition]["leader_epoch"]):
            for broker in cluster.brokers:
                answer = cluster.ask("Produce", 9, to=broker, **wire.produce_fields("replicated", batch(), partition=partition))
                codes[broker] = answer["responses"][0]["partition_responses"][0]["error_code"]
        # Only the leader answers for the partition.
        assert sorted(codes.values()) == [0, NOT_LEADER_OR_FOLLOWER, NOT_LEADER_OR_FOLLOWER], codes
    cluster.wait_whole("replicated")
    assert all(sorted(it["replica_nodes"]) == [1, 2, 3] for it in cluster.partitions("replicated").values())
    sizes = {
        i: {path.parent.name: path.stat().st_size for path in broker.data.glob("replicated-*/*.log")} for i, broker in cluster.brokers.items()
    }
    assert sizes[1] == sizes[2] == sizes[3] and sum(sizes[1].values()) > 0


@pytest.mark.parametrize("driver", drivers())
def test_kill_of_the_leader_loses_nothing(cluster, driver):
    topic = f"killed-{driver.name}"
    cluster.create(topic, 3, min_insync_replicas=2)
    load = Load(driver, cluster, topic, 3)
    try:
        load.wait_acked(100)
        # The leader of partition 0 first, then the controller.
        for choose in (lambda: cluster.leader(topic), cluster.controller):
            victim = choose()
            at = now_us()
            cluster.brokers[victim].kill()
            load.wait_acked(100)
            print(f"{driver.name}: without an acknowledgement for {load.longest_gap(at):.3f} s after kill -9 of broker {victim}")
            assert load.longest_gap(at) < GAP
            cluster.brokers[victim].start()
            cluster.wait_whole(topic, 60)
        load.wait_acked(50)
        assert judged(cluster, load) == []
    finally:
        load.kill()


def test_rolling_restart_fails_no_request(cluster):
    cluster.create("rolled", 3, min_insync_replicas=2)
    load = Load(BY_NAME["confluent-kafka"], cluster, "rolled", 3)
    try:
        load.wait_acked(50)
        for broker in cluster.brokers.values():
            at = now_us()
            broker.stop()
            broker.start()
            cluster.wait_whole("rolled", 60)
            load.wait_acked(20)
            print(f"without an acknowledgement for {load.longest_gap(at):.3f} s while a broker was restarted")
        assert judged(cluster, load) == []
    finally:
        load.kill()


@pytest.mark.skipif(APACHE, reason="Kafka's sockets take connections until the process ends")
def test_a_stopping_broker_sends_its_clients_to_the_new_leader(cluster):
    """It hangs up only when they had the time to go there, and lets nobody in meanwhile."""
    for _ in range(5):
        old = cluster.coordinator("farewell")
        topic = f"farewell-{time.monotonic_ns()}"
        cluster.create(topic, assignment=[[old, *others(cluster, old)]])
        told, refused = farewell(cluster, topic, old)
        codes = [it["error_code"] for it in told]
        assert set(codes) <= {0, NOT_LEADER_OR_FOLLOWER}, codes
        # At first it knows only that it does not lead any more.
        leaders = [it["current_leader"] and it["current_leader"]["leader_id"] for it in told if it["error_code"]]
        assert set(leaders) <= {None, *others(cluster, old)}, leaders
        cluster.brokers[old].start()
        # It waits for half a second. Who was not scheduled for so long has seen nothing, and looks again.
        if refused and leaders and leaders[-1]:
            return
    raise AssertionError(f"{codes}, sent to {leaders}, {refused} new connections refused")


def farewell(cluster, topic, old):
    """What a stopping broker answers to one who goes on producing there, and how many new connections it refused meanwhile."""
    told, refused = [], 0
    with Peer(cluster.brokers[old].address, patience=5) as peer:
        os.kill(cluster.brokers[old].pid, signal.SIGTERM)
        try:
            while True:
                answer = peer.ask("Produce", 10, **wire.produce_fields(topic, batch(), acks=1))
                told.append(answer["responses"][0]["partition_responses"][0])
                if told[-1]["error_code"] == NOT_LEADER_OR_FOLLOWER:
                    try:
                        Peer(cluster.brokers[old].address, patience=5).socket.close()
                    except OSError:
                        refused += 1
                time.sleep(0.01)
        except (OSError, Refused):
            pass
    cluster.brokers[old].stop()
    return told, refused


def test_a_zombie_acknowledges_nothing(cluster):
    """A leader that was stopped for longer than its successor needed must not believe that it leads when it wakes up.

    What it acknowledges nevertheless (it may have read the request just before it stopped) is in the log.
    """
    first = others(cluster, cluster.controller())[0]
    cluster.create("zombie", assignment=[[first, *others(cluster, first)]], min_insync_replicas=2)
    old = cluster.leader("zombie")
    load = Load(BY_NAME["confluent-kafka"], cluster, "zombie", 1)
    peers = [Peer(cluster.brokers[old].address, patience=30) for _ in range(5)]
    try:
        load.wait_acked(50)
        os.kill(cluster.brokers[old].pid, signal.SIGSTOP)
        stopped = time.monotonic()
        # These wait in the zombie's sockets until it wakes up.
        for number, peer in enumerate(peers):
            peer.send("Produce", 9, **wire.produce_fields("zombie", batch([(None, b"%d" % (10**15 + number))])))
        until(lambda: cluster.leader("zombie", to=others(cluster, old)[0]) != old, 30, lambda: "nobody took over")
        time.sleep(max(0, stopped + 5 - time.monotonic()))
        os.kill(cluster.brokers[old].pid, signal.SIGCONT)
        acknowledged = set()
        for peer in peers:
            try:
                answer = peer.receive("Produce", 9)["responses"][0]["partition_responses"][0]
            except (Refused, OSError):
                continue
            if answer["error_code"] == 0:
                acknowledged.add(answer["base_offset"])
        cluster.wait_whole("zombie", 60)
        load.wait_acked(50)
        assert judged(cluster, load) == []
        kept = {offset for _, offset, value in read_all(cluster.bootstrap, "zombie") if value >= 10**15}
        print(f"answered with success: {sorted(acknowledged)}")
        assert acknowledged <= kept, "the zombie acknowledged what is not in the log"
    finally:
        load.kill()
        for peer in peers:
            peer.socket.close()


def is_ready(cluster, broker):
    """Whether /readyz says so."""
    try:
        with urllib.request.urlopen(f"http://{cluster.brokers[broker].settings['milena.http.listener']}/readyz", timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as refused:
        assert refused.code == 503
        return False


@pytest.mark.skipif(APACHE, reason="readiness is told over HTTP")
def test_a_coordinator_that_nobody_follows_names_nobody(cluster):
    """Others may coordinate by now: it must send no client to itself, acknowledge nothing, and not be ready."""
    old = None

    def told():
        return cluster.ask("FindCoordinator", 4, to=old, key_type=0, coordinator_keys=["left-alone"])["coordinators"][0]

    def coordinates():
        nonlocal old
        old = cluster.coordinator("left-alone")
        return told()["node_id"] == old and is_ready(cluster, old)

    until(coordinates, 30, lambda: told())
    cluster.create("left-alone", assignment=[[old, *others(cluster, old)]], min_insync_replicas=1)
    for broker in others(cluster, old):
        os.kill(cluster.brokers[broker].pid, signal.SIGSTOP)
    # It learns of their silence as they would of its own.
    until(lambda: told()["error_code"] == COORDINATOR_NOT_AVAILABLE, 30, lambda: told())
    until(lambda: not is_ready(cluster, old), 30, lambda: "it stays ready")
    produced = wire.produce_fields("left-alone", batch(), acks=1)
    answer = cluster.ask("Produce", 9, to=old, **produced)["responses"][0]["partition_responses"][0]
    assert answer["error_code"] == NOT_LEADER_OR_FOLLOWER
    for broker in others(cluster, old):
        os.kill(cluster.brokers[broker].pid, signal.SIGCONT)
    until(lambda: told()["error_code"] == 0 and is_ready(cluster, old), 30, lambda: told())


@pytest.mark.skipif(APACHE, reason="the command is Milena's")
def test_a_reader_that_starts_while_a_leader_moves_finds_the_new_one(cluster):
    """Whoever it asks for the ends of the partitions may not lead any more, or not yet, or hang."""
    cluster.create("read-while-moved", 3, min_insync_replicas=2)
    for partition in range(3):
        cluster.produce("read-while-moved", batch([(None, b"%d" % partition)]), partition=partition)
    for partition in range(3):
        old = cluster.leader("read-while-moved", partition)
        os.kill(cluster.brokers[old].pid, signal.SIGSTOP)
        wakes = threading.Timer(1, os.kill, (cluster.brokers[old].pid, signal.SIGCONT))
        wakes.start()
        try:
            for _ in range(3):
                assert {value for _, _, value in read_all(cluster.bootstrap, "read-while-moved")} == {0, 1, 2}
        finally:
            wakes.join()
        cluster.wait_whole("read-while-moved", 60)


@pytest.mark.skipif(APACHE, reason="Kafka keeps such a producer until its own time-out is over")
def test_a_leader_that_lost_its_followers_sends_waiting_producers_away(cluster):
    """They would wait for the own time-out, 30 s by default, while others lead."""
    old = cluster.coordinator("cut-off")
    cluster.create("cut-off", assignment=[[old, *others(cluster, old)]])
    with Peer(cluster.brokers[old].address, patience=25) as peer:
        for broker in others(cluster, old):
            os.kill(cluster.brokers[broker].pid, signal.SIGSTOP)
        try:
            # Its lease still holds: the records are taken.
            began = time.monotonic()
            produced = wire.produce_fields("cut-off", batch(), acks=-1) | {"timeout_ms": 20_000}
            answer = peer.ask("Produce", 9, **produced)["responses"][0]["partition_responses"][0]
            waited = time.monotonic() - began
        finally:
            for broker in others(cluster, old):
                os.kill(cluster.brokers[broker].pid, signal.SIGCONT)
    print(f"answered after {waited * 1e3:.0f} ms")
    assert answer["error_code"] == NOT_LEADER_OR_FOLLOWER and waited < 5
    cluster.wait_whole("cut-off", 60)


@pytest.mark.skipif(APACHE or os.geteuid() != 0, reason="network namespaces take root, and the drill starts Milena")
def test_a_leader_that_hears_nobody_loses_nothing(tmp_path):
    """One-way partition: the others hear it, and it hears neither them nor that they have deposed it."""
    words = ["drill", "partition", "--shape", "one-way-in", "--for", "1s", "--format", "json", "--directory", str(tmp_path)]
    done = subprocess.run([MILENA, *words], capture_output=True, text=True, timeout=120)
    if "is not possible here" in done.stderr or "ip netns" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)["summary"]
    print(f"its partitions were away for {seen['led_server_us']['max'] / 1e3:.0f} ms")
    assert seen["led_server_us"]["max"] < GAP * 1e6


def test_a_follower_that_was_away_catches_up(cluster):
    cluster.create("away", 1)
    leader = cluster.leader("away")
    follower = others(cluster, leader)[0]
    cluster.produce("away", batch())
    cluster.brokers[follower].kill()
    until(lambda: follower not in cluster.partitions("away", to=leader)[0]["isr_nodes"], 60, lambda: "the dead follower stays in the ISR")
    for _ in range(20):
        cluster.produce("away", batch([(b"k", b"v" * 1000)] * 20))
    cluster.brokers[follower].start()
    cluster.wait_whole("away", 60)
    log = {i: next(broker.data.glob("away-0/*0.log")).read_bytes() for i, broker in cluster.brokers.items()}
    assert log[follower] == log[leader]


def test_too_few_replicas_refuse_a_record(cluster):
    cluster.create("few", 1, min_insync_replicas=3)
    cluster.produce("few", batch())
    leader = cluster.leader("few")
    victim = others(cluster, leader)[0]
    cluster.brokers[victim].kill()
    until(lambda: victim not in cluster.partitions("few", to=leader)[0]["isr_nodes"], 60, lambda: "the ISR does not shrink")
    cluster.produce("few", batch(), wanted=NOT_ENOUGH_REPLICAS)
    # acks=1 asks for no other replica (KIP-966 keeps it from readers until there are enough).
    cluster.produce("few", batch(), acks=1)
    cluster.brokers[victim].start()
    cluster.wait_whole("few", 60)
    cluster.produce("few", batch())


def test_reassignment_moves_a_partition(cluster):
    cluster.create("moved", 1, assignment=[[1, 2]])
    load = Load(BY_NAME["confluent-kafka"], cluster, "moved", 1)
    try:
        load.wait_acked(50)
        partitions = [{"partition_index": 0, "replicas": [3, 2]}]
        answer = cluster.ask("AlterPartitionReassignments", 0, timeout_ms=15_000, topics=[{"name": "moved", "partitions": partitions}])
        assert answer["error_code"] == 0 and answer["responses"][0]["partitions"][0]["error_code"] == 0, answer

        def there():
            it = cluster.partitions("moved")[0]
            return sorted(it["replica_nodes"]) == sorted(it["isr_nodes"]) == [2, 3] and it["leader_id"] in (2, 3)

        until(there, 60, lambda: cluster.partitions("moved"))
        load.wait_acked(50)
        assert judged(cluster, load) == []
        until(lambda: not list(cluster.brokers[1].data.glob("moved-0")), 70, lambda: "the old replica's files stay")
    finally:
        load.kill()


def test_reassignment_obeys_its_throttle(cluster, tmp_path):
    """Apache's tool sets the rates and the lists, and takes them off when it is done (KIP-73)."""
    tool = Tools("4.3.1")
    plan = tmp_path / "plan.json"

    def reassign(*words, replicas=None):
        if replicas:
            plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": "throttled", "partition": 0, "replicas": replicas}]}))
        return tool.run("kafka-reassign-partitions", "--bootstrap-server", cluster.bootstrap, *words, *(["--reassignment-json-file", plan] if words[0] != "--list" else []))

    def config(kind, name, key):
        resources = [{"resource_type": kind, "resource_name": name, "configuration_keys": [key]}]
        to = int(name) if kind == 4 else None
        found = cluster.ask("DescribeConfigs", 4, to=to, resources=resources, include_synonyms=False, include_documentation=False)
        return {it["name"]: it["value"] for it in found["results"][0]["configs"]}.get(key)

    rate, records, size = 1_500_000, 90, 100_000
    cluster.create("throttled", 1, assignment=[[1, 2]])
    for _ in range(records):
        cluster.produce("throttled", batch([(None, os.urandom(size))]))
    assert "Successfully started" in reassign("--execute", "--throttle", rate, replicas=[3, 2])
    # The tool asked another broker: this one hears of it in a moment.
    until(lambda: config(2, "throttled", "follower.replication.throttled.replicas") == "0:3", 10, lambda: "which replicas is not told")
    until(lambda: config(4, "3", "follower.replication.throttled.rate") == str(rate), 10, lambda: "the rate is not told")
    copy = cluster.brokers[3].data / "throttled-0/00000000000000000000.log"

    def copied(least):
        until(lambda: copy.exists() and copy.stat().st_size >= least, 60, lambda: "the copy does not grow")
        return time.monotonic(), copy.stat().st_size

    began, first = copied(rate // 2)
    ended, last = copied(records * size * 9 // 10)
    # What is left of the first part's burst is little beside five seconds.
    measured = (last - first) / (ended - began)
    assert rate * 0.5 < measured < rate * 1.3, f"{measured:.0f} bytes/s instead of {rate}"

    def moved():
        it = cluster.partitions("throttled")[0]
        return sorted(it["isr_nodes"]) == sorted(it["replica_nodes"]) == [2, 3]

    until(moved, 60, lambda: cluster.partitions("throttled"))
    assert "is completed" in (said := reassign("--verify")) and "Clearing topic-level throttles" in said, said
    until(lambda: not config(2, "throttled", "follower.replication.throttled.replicas"), 10, lambda: "the list of replicas stays")
    until(lambda: not config(4, "3", "follower.replication.throttled.rate"), 10, lambda: "the rate stays")
    # One that would take hours is called off.
    reassign("--execute", "--throttle", 500, replicas=[1, 2])
    assert "throttled-0" in reassign("--list")
    assert "is still in progress" in reassign("--verify")
    reassign("--cancel")
    assert "No partition reassignments found" in reassign("--list")
    until(lambda: sorted(cluster.partitions("throttled")[0]["replica_nodes"]) == [2, 3], 10, lambda: cluster.partitions("throttled"))


def test_an_old_topic_is_not_taken_for_its_successor(cluster):
    """KIP-516: a broker that missed the deletion of a topic throws its records away."""
    cluster.create("again", 1)
    leader = cluster.leader("again")
    away = others(cluster, leader)[0]
    cluster.produce("again", batch([(None, b"-1")] * 50))
    cluster.brokers[away].kill()
    remaining = others(cluster, away)
    deleted = cluster.ask("DeleteTopics", 5, to=remaining[0], topic_names=["again"], timeout_ms=15_000)
    assert deleted["responses"][0]["error_code"] == 0, deleted

    def created():
        topic = {"name": "again", "num_partitions": -1, "replication_factor": -1, "assignments": [], "configs": []}
        topic["assignments"] = [{"partition_index": 0, "broker_ids": remaining}]
        return cluster.ask("CreateTopics", 5, to=remaining[0], topics=[topic], timeout_ms=15_000, validate_only=False)["topics"][0]["error_code"] == 0

    until(created, 30, lambda: "the name stays taken")
    assert cluster.leader("again", to=remaining[0]) in remaining
    cluster.produce("again", batch([(None, b"1")]))
    cluster.brokers[away].start()
    partitions = [{"partition_index": 0, "replicas": [away, *remaining]}]
    answer = cluster.ask("AlterPartitionReassignments", 0, timeout_ms=15_000, topics=[{"name": "again", "partitions": partitions}])
    assert answer["error_code"] == 0, answer
    until(lambda: len(cluster.partitions("again")[0]["isr_nodes"]) == 3, 60, lambda: cluster.partitions("again"))
    assert {value for _, _, value in read_all(cluster.bootstrap, "again")} == {1}


def test_no_leader_rather_than_one_that_lacks_records(cluster):
    """Unclean election is off: with the only in-sync replica dead, the partition waits for it."""
    two = others(cluster, cluster.controller())
    cluster.create("waiting", 1, assignment=[two], min_insync_replicas=1)
    first, second = two
    load = Load(BY_NAME["confluent-kafka"], cluster, "waiting", 1)
    try:
        load.wait_acked(20)
        cluster.brokers[second].kill()
        third = others(cluster, first, second)[0]
        until(lambda: cluster.partitions("waiting", to=third)[0]["isr_nodes"] == [first], 60, lambda: "the ISR does not shrink")
        load.wait_acked(50)
        # Two of three voters are gone for a moment: the one that lacks records comes back first.
        cluster.brokers[first].kill()
        cluster.brokers[second].start()
        time.sleep(2)
        assert cluster.partitions("waiting", to=third)[0]["leader_id"] != second
        cluster.brokers[first].start()
        cluster.wait_whole("waiting", 60)
        load.wait_acked(20)
        judged(cluster, load)
    finally:
        load.kill()


@pytest.mark.skipif(APACHE, reason="Kafka believes nobody who did not stop in order")
def test_a_broker_killed_while_it_starts_may_still_lead(cluster):
    """A killed process has lost nothing, and neither has the next one that dies before it knows that it is registered."""
    staying = cluster.controller()
    victim = others(cluster, staying)[0]
    cluster.create("starting", 1, assignment=[[staying, victim]], min_insync_replicas=2)
    broker = cluster.brokers[victim]
    broker.kill()

    def candidates():
        answer = cluster.ask(
            "DescribeTopicPartitions", 0, to=staying, topics=[{"name": "starting"}], response_partition_limit=1, cursor=None
        )
        (partition,) = answer["topics"][0]["partitions"]
        return {*partition["isr_nodes"], *(partition["eligible_leader_replicas"] or [])}

    for after_ms in range(50, 250, 8):
        broker.launch()
        time.sleep(after_ms / 1000)
        broker.kill()
        assert victim in candidates(), f"struck off when it was killed after {after_ms} ms, or the time before"
    broker.start()
    cluster.wait_whole("starting")


class Committer(threading.Thread):
    """Commits 1, 2, 3 ... for a group without members, and reads back what is committed after each answer."""

    def __init__(self, cluster, group, topic):
        super().__init__(daemon=True)
        self.cluster, self.group, self.topic = cluster, group, topic
        self.events = []
        self.stopped = threading.Event()
        self.acked = 0
        self.start()

    def run(self):
        offset = 0
        while not self.stopped.is_set():
            try:
                coordinator = self.cluster.coordinator(self.group)
                with Peer(self.cluster.brokers[coordinator].address, patience=5) as peer:
                    while not self.stopped.is_set():
                        offset += 1
                        if not self.commit(peer, offset) or not self.fetch(peer):
                            break
            except (OSError, Refused, AssertionError):
                pass
            time.sleep(0.02)

    def event(self, op, began, **fields):
        name = {"group": self.group, "partition": f"{self.topic}-0"}
        self.events.append({"op": op, "began": began, "ended": now_us(), **name, **fields})

    def commit(self, peer, offset):
        began = now_us()
        outcome = {"unknown": {"why": "no answer"}}
        try:
            partition = {"partition_index": 0, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": ""}
            answer = peer.ask(
                "OffsetCommit", 7, group_id=self.group, generation_id_or_member_epoch=-1, member_id="", group_instance_id=None,
                topics=[{"name": self.topic, "partitions": [partition]}],
            )
            code = answer["topics"][0]["partitions"][0]["error_code"]
            if code == 0:
                outcome = {"acked": {"offset": None}}
                self.acked += 1
            return code == 0
        finally:
            self.event("commit", began, committer=1, offset=offset, outcome=outcome)

    def fetch(self, peer):
        began = now_us()
        answer = peer.ask("OffsetFetch", 5, group_id=self.group, topics=[{"name": self.topic, "partition_indexes": [0]}])
        if answer["error_code"] or answer["topics"][0]["partitions"][0]["error_code"]:
            return False
        found = answer["topics"][0]["partitions"][0]["committed_offset"]
        self.event("fetched-commit", began, offset=None if found < 0 else found)
        return True

    def finish(self):
        self.stopped.set()
        self.join(30)
        file = self.cluster.directory / f"commits-{self.group}.jsonl"
        file.write_text("".join(json.dumps(event) + "\n" for event in self.events))
        done = subprocess.run([MILENA, "check", str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_committed_offsets_never_go_back(cluster):
    cluster.create("commits", 1)
    committer = Committer(cluster, "keepers", "commits")
    for _ in range(3):
        before = committer.acked
        until(lambda: committer.acked > before + 20, 60, lambda: "no commit succeeds")
        victim = cluster.coordinator("keepers")
        cluster.brokers[victim].kill()
        before = committer.acked
        until(lambda: committer.acked > before + 20, 60, lambda: "no commit succeeds without the old coordinator")
        cluster.brokers[victim].start()
    committer.finish()


SUBSCRIPTION = struct.pack(">hi", 0, 1) + struct.pack(">h", 6) + b"phases" + struct.pack(">i", -1)


class Member:
    """A member of a classic group, by hand: each step is one request, to whoever coordinates now."""

    def __init__(self, cluster, group):
        self.cluster, self.group = cluster, group
        self.id, self.generation, self.leader, self.members = "", -1, False, []
        self.assigned = None
        self.stable = False

    def ask(self, name, version, **fields):
        """Asks until a coordinator answers; a dead one is looked for anew."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                to = self.cluster.coordinator(self.group)
                answer = self.cluster.ask(name, version, to=to, patience=30, group_id=self.group, **fields)
            except (OSError, Refused):
                continue
            if answer["error_code"] not in (14, 15, 16):
                return answer
            time.sleep(0.02)
        raise AssertionError(f"{name} found no coordinator")

    def join(self):
        """Joins as clients do: with a new id if the group does not know the old one."""
        for _ in range(10):
            answer = self.ask(
                "JoinGroup", 5, session_timeout_ms=30_000, rebalance_timeout_ms=10_000, member_id=self.id, group_instance_id=None,
                protocol_type="consumer", protocols=[{"name": "range", "metadata": SUBSCRIPTION}],
            )
            if answer["error_code"] in (25, 79):
                self.id = answer["member_id"] if answer["error_code"] == 79 else ""
                continue
            assert answer["error_code"] == 0, answer
            self.id, self.generation = answer["member_id"], answer["generation_id"]
            self.leader, self.assigned = answer["leader"] == self.id, None
            self.members = [it["member_id"] for it in answer["members"]]
            return
        raise AssertionError("the group never took the member")

    def sync(self):
        share = [{"member_id": member, "assignment": member.encode()} for member in self.members] if self.leader else []
        answer = self.ask("SyncGroup", 3, generation_id=self.generation, member_id=self.id, group_instance_id=None, assignments=share)
        self.assigned = None if answer["error_code"] else bytes(answer["assignment"])
        return answer["error_code"]

    def heartbeat(self):
        return self.ask("Heartbeat", 3, generation_id=self.generation, member_id=self.id, group_instance_id=None)["error_code"]

    def follow(self, stopped):
        """Takes part in every rebalance until `stopped`."""
        while not stopped.is_set():
            if self.generation < 0 or (self.sync() if self.assigned is None else self.heartbeat()):
                self.stable = False
                self.join()
            elif self.assigned is not None:
                self.stable = True
                time.sleep(0.05)


def both(*calls):
    """Runs calls side by side and returns their results."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [it.result(90) for it in [pool.submit(call) for call in calls]]


def settle(members):
    """Runs the members until all are stable in one generation."""
    stopped = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(len(members)) as pool:
        running = [pool.submit(member.follow, stopped) for member in members]
        try:
            until(
                lambda: all(it.stable for it in members) and len({it.generation for it in members}) == 1,
                60,
                lambda: [(it.id, it.generation, it.stable, running) for it in members],
            )
        finally:
            stopped.set()
        for it in running:
            it.result(60)


@pytest.mark.parametrize("phase", ["stable", "joining", "joined", "synced"])
def test_coordinator_dies_in_a_rebalance(cluster, phase):
    """GR-16, G3: members keep their ids, a stable group its generation; nobody waits for ever."""
    group = f"phase-{phase}"
    members = [Member(cluster, group), Member(cluster, group)]
    settle(members)
    ids, generation = [member.id for member in members], members[0].generation
    victim = cluster.coordinator(group)

    def kill():
        cluster.brokers[victim].kill()

    if phase == "stable":
        kill()
        assert both(*(member.heartbeat for member in members)) == [0, 0], "a stable group was not kept"
        assert [member.generation for member in members] == [generation] * 2
    else:
        # Only the leader of a group can begin a rebalance without a change; it waits in JoinGroup for the other.
        leader, follower = sorted(members, key=lambda member: not member.leader)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = pool.submit(leader.join)
            until(lambda: follower.heartbeat() == REBALANCE_IN_PROGRESS, 20, lambda: "no rebalance begins")
            if phase == "joining":
                kill()
                # The new coordinator knows the group as it was; the leader, waiting there now, begins anew.
                joined = threading.Event()
                pool.submit(follower.follow, joined)
                try:
                    waiting.result(60)
                    leader.sync()
                finally:
                    joined.set()
            else:
                follower.join()
                waiting.result(60)
        if phase == "joined":
            # The generation is formed and its leader has not said who gets what.
            kill()
        elif phase == "synced":
            both(*(member.sync for member in members))
            kill()
    settle(members)
    assert {member.assigned for member in members} <= {member.id.encode() for member in members}
    if not APACHE or phase in ("stable", "synced"):
        assert [member.id for member in members] == ids, "member ids were not kept"
    assert members[0].generation == members[1].generation >= generation


def test_group_goes_on_when_its_coordinator_dies(cluster):
    """Real consumers: everything is read, and what is committed never goes back."""
    cluster.create("shared", 4, min_insync_replicas=2)
    load = Load(BY_NAME["confluent-kafka"], cluster, "shared", 4, every_ms=100)
    driver = BY_NAME["confluent-kafka"]
    members = [driver.start("member", cluster.bootstrap, "shared", "readers") for _ in range(2)]
    try:
        until(lambda: all(member.assigned for member in members), 60, lambda: [member.state() for member in members])
        for _ in range(2):
            committed = {p: max(member.committed.get(p, 0) for member in members) for p in range(4)}
            victim = cluster.coordinator("readers")
            cluster.brokers[victim].kill()
            read = sum(len(member.read) for member in members)
            until(lambda: sum(len(member.read) for member in members) > read + 20, 60, lambda: [member.state() for member in members])
            until(lambda: all(max(m.committed.get(p, 0) for m in members) > committed[p] for p in range(4)), 60, lambda: [m.state() for m in members])
            cluster.brokers[victim].start()
            cluster.wait_whole("shared", 60)
        load.finish()
        # By their values: librdkafka says of a batch that a new leader has already that it is there, and not where.
        acked = {(it["partition"], it["value"]) for it in load.acked()}
        missing = lambda: sorted(acked - {(p, int(value)) for m in members for p, _, value in m.read})
        until(lambda: not missing(), 60, lambda: f"{len(missing())} records were passed over: {missing()[:5]}, {[m.state() for m in members]}")
        assert verdict(load, read_all(cluster.bootstrap, "shared"), cluster.directory)["acked"] == len(acked)
        assert [error for member in members for error in member.errors] == []
    finally:
        load.kill()
        for member in members:
            member.kill()
