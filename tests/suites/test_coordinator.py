"""The transaction coordinator by its protocol: what each version is answered, who is fenced, when offsets become visible.

What real clients make of it is in test_transactions.py; here every request is made by hand.
"""

import itertools
import subprocess
import time
import types

import pytest

from conftest import SETTINGS
from harness.broker import Broker
from harness.drivers import until
from harness.tools import Tools
from harness.wire import Peer, batch, create_topic, produce_fields

UNKNOWN_TOPIC_OR_PARTITION = 3
INVALID_REQUEST = 42
INVALID_PRODUCER_EPOCH = 47
INVALID_TXN_STATE = 48
INVALID_PRODUCER_ID_MAPPING = 49
INVALID_TRANSACTION_TIMEOUT = 50
OPERATION_NOT_ATTEMPTED = 55
UNSTABLE_OFFSET_COMMIT = 88
CONCURRENT_TRANSACTIONS = 51
PRODUCER_FENCED = 90
TRANSACTIONAL_ID_NOT_FOUND = 105
TRANSACTION_ABORTABLE = 120

COMMIT, ABORT = True, False
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    settings = {**SETTINGS, "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100"}
    with Broker(tmp_path_factory.mktemp("broker"), settings) as running:
        yield running
        assert running.alive(), f"the broker died, see {running.log}"


def plain(value):
    """An answer whose fields are attributes."""
    if isinstance(value, dict):
        return types.SimpleNamespace(**{key: plain(each) for key, each in value.items()})
    return [plain(each) for each in value] if isinstance(value, list) else value


class Asking(Peer):
    def ask(self, name, version, **fields):
        return plain(super().ask(name, version, **fields))


@pytest.fixture
def peer(broker):
    with Asking(broker.address) as peer:
        yield peer


@pytest.fixture
def topic(broker):
    name = f"coordinated-{next(numbers)}"
    with Peer(broker.address) as peer:
        create_topic(peer, name, partitions=2)
    return name


def patiently(ask, code=lambda answer: answer.error_code):
    """Again, as clients do, while markers of the transaction before are on their way: the coordinator waits for them for some
    time before it says so, and a busy disk may need longer.
    """
    deadline = time.monotonic() + 30
    while True:
        began = time.monotonic()
        answer = ask()
        if code(answer) != CONCURRENT_TRANSACTIONS or began > deadline:
            return answer
        assert time.monotonic() - began > 0.3, "told at once to come again"


class Transactional:
    """A transactional id and the producer it has."""

    def __init__(self, peer, timeout_ms=60_000):
        self.peer = peer
        self.id = f"id-{next(numbers)}"
        self.producer_id, self.epoch = self.init(timeout_ms)

    def init(self, timeout_ms=60_000):
        fields = {"transactional_id": self.id, "transaction_timeout_ms": timeout_ms, "producer_id": -1, "producer_epoch": -1}
        answer = patiently(lambda: self.peer.ask("InitProducerId", 5, **fields))
        assert answer.error_code == 0
        return answer.producer_id, answer.producer_epoch

    def who(self, epoch=None):
        return {"transactional_id": self.id, "producer_id": self.producer_id, "producer_epoch": self.epoch if epoch is None else epoch}

    def add(self, topic, partitions, version=3, epoch=None):
        """The code of each partition."""
        fields = {f"v3_and_below_{key}": value for key, value in self.who(epoch).items()}
        fields["v3_and_below_topics"] = [{"name": topic, "partitions": partitions}]

        def codes():
            answer = self.peer.ask("AddPartitionsToTxn", version, **fields)
            return [it.partition_error_code for it in answer.results_by_topic_v3_and_below[0].results_by_partition]

        return patiently(codes, lambda found: found[0])

    def verify(self, topic, partition):
        transaction = {**self.who(), "verify_only": True, "topics": [{"name": topic, "partitions": [partition]}]}
        answer = self.peer.ask("AddPartitionsToTxn", 5, transactions=[transaction])
        return answer.results_by_transaction[0].topic_results[0].results_by_partition[0].partition_error_code

    def end(self, committed, version=4, epoch=None):
        return patiently(lambda: self.peer.ask("EndTxn", version, **self.who(epoch), committed=committed))

    def commit_offset(self, group, topic, offset, version=3, epoch=None, generation=-1, member=""):
        partition = {"partition_index": 0, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": ""}
        fields = {**self.who(epoch), "group_id": group, "generation_id": generation, "member_id": member, "group_instance_id": None}
        answer = self.peer.ask("TxnOffsetCommit", version, **fields, topics=[{"name": topic, "partitions": [partition]}])
        return answer.topics[0].partitions[0].error_code

    def described(self):
        return self.peer.ask("DescribeTransactions", 0, transactional_ids=[self.id]).transaction_states[0]


def offset_of(peer, group, topic, stable=True):
    """Offset and code of the first partition."""
    asked = {"group_id": group, "member_id": None, "member_epoch": -1, "topics": [{"name": topic, "partition_indexes": [0]}]}
    answer = peer.ask("OffsetFetch", 9, groups=[asked], require_stable=stable)
    partition = answer.groups[0].topics[0].partitions[0]
    return partition.committed_offset, partition.error_code


def test_init_producer_id_refuses_what_cannot_be(peer):
    for fields, code in [
        ({"transactional_id": ""}, INVALID_REQUEST),
        ({"transactional_id": "x", "transaction_timeout_ms": 0}, INVALID_TRANSACTION_TIMEOUT),
        ({"transactional_id": "x", "transaction_timeout_ms": 900_001}, INVALID_TRANSACTION_TIMEOUT),
        ({"transactional_id": "x", "producer_id": 5}, INVALID_REQUEST),
    ]:
        fields = {"transaction_timeout_ms": 60_000, "producer_id": -1, "producer_epoch": -1, **fields}
        assert peer.ask("InitProducerId", 5, **fields).error_code == code, fields


def test_successor_fences_and_each_version_is_told_as_it_knows(peer, topic):
    old = Transactional(peer)
    assert old.init() == (old.producer_id, old.epoch + 1)
    for version, code in [(1, INVALID_PRODUCER_EPOCH), (2, PRODUCER_FENCED), (4, PRODUCER_FENCED), (5, PRODUCER_FENCED)]:
        assert old.end(COMMIT, version).error_code == code, f"EndTxn v{version}"
    for version, code in [(1, INVALID_PRODUCER_EPOCH), (3, PRODUCER_FENCED)]:
        assert old.add(topic, [0], version) == [code], f"AddPartitionsToTxn v{version}"
        answer = peer.ask("AddOffsetsToTxn", version, **old.who(), group_id="g")
        assert answer.error_code == code, f"AddOffsetsToTxn v{version}"
    # Clients take no other code for it here.
    assert old.commit_offset("fenced", topic, 1) == INVALID_PRODUCER_EPOCH


def test_unknown_transactional_id(peer, topic):
    nobody = Transactional(peer)
    nobody.id = "nobody"
    assert nobody.add(topic, [0]) == [INVALID_PRODUCER_ID_MAPPING]
    assert nobody.end(COMMIT).error_code == INVALID_PRODUCER_ID_MAPPING
    assert nobody.described().error_code == TRANSACTIONAL_ID_NOT_FOUND


def test_partitions_are_added_together_or_not_at_all(peer, topic):
    it = Transactional(peer)
    assert it.add(topic, [0, 7]) == [OPERATION_NOT_ATTEMPTED, UNKNOWN_TOPIC_OR_PARTITION]
    assert it.described().transaction_state == "Empty"
    assert it.add(topic, [0, 1]) == [0, 0]
    assert it.add(topic, [0]) == [0], "again is no error"
    assert [(each.topic, each.partitions) for each in it.described().topics] == [(topic, [0, 1])]
    assert it.end(ABORT).error_code == 0


def test_verification_tells_whether_a_partition_belongs_to_the_transaction(peer, topic):
    it = Transactional(peer)
    assert it.verify(topic, 0) == TRANSACTION_ABORTABLE
    assert it.add(topic, [0]) == [0]
    assert it.verify(topic, 0) == 0
    assert it.verify(topic, 1) == TRANSACTION_ABORTABLE
    assert it.end(ABORT).error_code == 0


def test_end_of_older_clients_keeps_the_epoch(peer, topic):
    it = Transactional(peer)
    assert it.end(COMMIT).error_code == INVALID_TXN_STATE, "nothing was begun"
    for committed, other in [(COMMIT, ABORT), (ABORT, COMMIT)]:
        assert it.add(topic, [0]) == [0]
        assert it.end(committed).error_code == 0
        assert it.end(committed).error_code == 0, "a repeat"
        assert it.end(other).error_code == INVALID_TXN_STATE
    assert it.described().producer_epoch == it.epoch


def test_end_of_newer_clients_bumps_the_epoch_and_knows_its_repeat(peer, topic):
    it = Transactional(peer)
    for committed in (COMMIT, ABORT):
        assert it.add(topic, [0]) == [0]
        for _ in ("first", "repeat"):
            answer = it.end(committed, 5)
            assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (0, it.producer_id, it.epoch + 1)
        it.epoch += 1
        assert it.add(topic, [0], epoch=it.epoch - 1) == [PRODUCER_FENCED]
    assert it.end(COMMIT, 5).error_code == INVALID_TXN_STATE
    # An abort of nothing is allowed, and bumps.
    assert it.end(ABORT, 5).producer_epoch == it.epoch + 1


def test_offsets_are_pending_until_the_decision(peer, topic):
    for version, adds in [(3, True), (5, False)]:
        for committed, seen in [(COMMIT, 7), (ABORT, -1)]:
            it, group = Transactional(peer), f"group-{next(numbers)}"
            if adds:
                assert it.commit_offset(group, topic, 7, version) == INVALID_TXN_STATE, "the group was not added"
                assert peer.ask("AddOffsetsToTxn", 3, **it.who(), group_id=group).error_code == 0
            assert it.commit_offset(group, topic, 7, version) == 0
            assert offset_of(peer, group, topic) == (-1, UNSTABLE_OFFSET_COMMIT)
            assert offset_of(peer, group, topic, stable=False) == (-1, 0)
            assert it.end(committed).error_code == 0
            assert offset_of(peer, group, topic) == (seen, 0), f"v{version} committed={committed}"


def test_offsets_of_a_member_that_is_none_are_refused(peer, topic):
    it = Transactional(peer)
    assert it.commit_offset("no-such-group", topic, 7, 5, generation=3, member="m") == 22
    assert it.end(ABORT).error_code == 0


def test_init_producer_id_aborts_what_is_open_and_waits_for_its_markers(peer, topic):
    it = Transactional(peer)
    assert it.add(topic, [0, 1]) == [0, 0]
    # A client that were told CONCURRENT_TRANSACTIONS would come back much later.
    assert it.init() == (it.producer_id, it.epoch + 2)
    assert it.described().transaction_state == "Empty"


def test_abandoned_transaction_ends_by_its_time_out(peer, topic):
    # Long enough for the two requests that must reach it while it is open.
    it = Transactional(peer, timeout_ms=2_000)
    assert it.add(topic, [0]) == [0]
    records = batch(producer=(it.producer_id, it.epoch, 0), attributes=0x10)
    fields = {**produce_fields(topic, records), "transactional_id": it.id}
    assert peer.ask("Produce", 9, **fields).responses[0].partition_responses[0].error_code == 0
    until(lambda: it.described().transaction_state == "CompleteAbort", 30, lambda: it.described())
    assert it.end(COMMIT).error_code == PRODUCER_FENCED


def test_list_filters_and_echoes_unknown_states(peer, topic):
    one, other = Transactional(peer), Transactional(peer)
    assert one.add(topic, [0]) == [0]

    def listed(version=2, **filters):
        fields = {"state_filters": [], "producer_id_filters": [], "duration_filter": -1, "transactional_id_pattern": None, **filters}
        answer = peer.ask("ListTransactions", version, **fields)
        ids = {it.transactional_id for it in answer.transaction_states}
        return ids & {one.id, other.id}, answer.unknown_state_filters

    both = {one.id, other.id}
    assert listed() == (both, [])
    assert listed(state_filters=["Ongoing"]) == ({one.id}, [])
    assert listed(state_filters=["Empty", "Nonsense"]) == ({other.id}, ["Nonsense"])
    assert listed(state_filters=["Nonsense"]) == (set(), ["Nonsense"])
    assert listed(producer_id_filters=[other.producer_id]) == ({other.id}, [])
    assert listed(transactional_id_pattern=one.id) == ({one.id}, [])
    assert listed(transactional_id_pattern=one.id[:-1]) == (set(), []), "a pattern matches the whole id"
    assert listed(duration_filter=600_000)[0] <= {other.id}, "one has just begun"
    assert one.end(ABORT).error_code == 0


def test_state_survives_a_restart(broker, topic):
    with Asking(broker.address) as peer:
        it, group = Transactional(peer), f"group-{next(numbers)}"
        assert it.add(topic, [0]) == [0]
        assert it.commit_offset(group, topic, 9, 5) == 0
    broker.kill()
    broker.start()
    with Asking(broker.address) as peer:
        it.peer = peer
        assert it.described().transaction_state == "Ongoing"
        assert offset_of(peer, group, topic) == (-1, UNSTABLE_OFFSET_COMMIT)
        assert it.end(COMMIT, 5).error_code == 0
        until(lambda: it.described().transaction_state == "CompleteCommit", 30, lambda: it.described())
        assert offset_of(peer, group, topic) == (9, 0)


def test_tools_print_the_same(broker, peer, topic):
    # It stays open while Java starts nine times.
    it = Transactional(peer, timeout_ms=900_000)
    assert it.add(topic, [0]) == [0]
    milena = broker.milena_command()[0]

    def both(*words):
        at = ["--bootstrap-server", broker.address]
        code, out, error = Tools("4.3.1").attempt("kafka-transactions", *at, *words)
        ours = subprocess.run([milena, "kafka-transactions", *at, *words], capture_output=True, text=True, timeout=60)
        return (code, sorted(out.splitlines()), error.strip()), (ours.returncode, sorted(ours.stdout.splitlines()), ours.stderr.strip())

    differences = []
    for words in [
        ["list"],
        ["list", "--transactional-id-pattern", it.id],
        ["describe-producers", "--topic", topic, "--partition", "0"],
        ["describe", "--transactional-id", "nobody"],
        ["abort", "--topic", topic, "--partition", "0", "--start-offset", "5"],
        ["abort", "--topic", topic, "--partition", "0"],
        ["find-hanging"],
        ["find-hanging", "--topic", topic],
        ["forceTerminateTransaction", "--transactionalId", it.id],
    ]:
        apache, ours = both(*words)
        if ours != apache:
            differences.append((words, apache, ours))
    assert not differences, differences
    assert it.described().transaction_state == "Empty"


def ends(peer, topic, partition=0):
    """Last stable offset and end of a partition."""
    found = []
    for isolation in (1, 0):
        asked = [{"name": topic, "partitions": [{"partition_index": partition, "current_leader_epoch": -1, "timestamp": -1}]}]
        answer = peer.ask("ListOffsets", 6, replica_id=-1, isolation_level=isolation, topics=asked)
        found.append(answer.topics[0].partitions[0].offset)
    return tuple(found)


def test_transaction_in_a_partition_that_was_deleted_completes(broker, peer, topic):
    """TX-12: the other partition's marker is written, the deleted one's is nobody's."""
    deleted = f"{topic}-deleted"
    with Peer(broker.address) as maker:
        create_topic(maker, deleted)
    it = Transactional(peer)
    for name in (topic, deleted):
        assert it.add(name, [0]) == [0]
        records = batch(producer=(it.producer_id, it.epoch, 0), attributes=0x10)
        answer = peer.ask("Produce", 11, **{**produce_fields(name, records), "transactional_id": it.id})
        assert answer.responses[0].partition_responses[0].error_code == 0
    assert peer.ask("DeleteTopics", 5, topic_names=[deleted], timeout_ms=10_000).responses[0].error_code == 0
    assert it.end(COMMIT).error_code == 0
    until(lambda: it.described().transaction_state == "CompleteCommit", 20, lambda: it.described())
    until(lambda: ends(peer, topic) == (2, 2), 30, lambda: ends(peer, topic))


def test_hanging_transaction_is_found_and_ended_by_hand(broker, topic):
    """A batch that no coordinator knows of: written into the files, as a broker without verification would have left it."""
    long_ago = int(time.time() * 1000) - 7_200_000
    with Asking(broker.address) as peer:
        for partition in (0, 1):
            answer = peer.ask("Produce", 9, **produce_fields(topic, batch(), partition=partition))
            assert answer.responses[0].partition_responses[0].error_code == 0
    broker.kill()
    for partition in (0, 1):
        hanging = bytearray(batch(producer=(9_000_000 + partition, 0, 0), attributes=0x10, timestamp=long_ago, base_offset=1))
        hanging[12:16] = bytes(4)  # leader epoch 0; the checksum does not cover it
        with next((broker.data / f"{topic}-{partition}").glob("*.log")).open("ab") as log:
            log.write(hanging)
    broker.start()
    milena = broker.milena_command()[0]
    at = ["--bootstrap-server", broker.address]
    with Asking(broker.address) as peer:
        until(lambda: [ends(peer, topic, partition) for partition in (0, 1)] == [(1, 2)] * 2, 20, lambda: ends(peer, topic))
        # Apache's tool and ours, each finds both and ends one.
        ask_apache = Tools("4.3.1").run

        def ask_ours(tool, *words):
            return subprocess.run([milena, tool, *words], capture_output=True, text=True, timeout=60, check=True).stdout

        for partition, ask in enumerate((ask_apache, ask_ours)):
            found = ask("kafka-transactions", *at, "find-hanging", "--topic", topic)
            for left in range(partition, 2):
                assert any(line.split()[:3] == [topic, str(left), str(9_000_000 + left)] for line in found.splitlines()), found
            ask("kafka-transactions", *at, "abort", "--topic", topic, "--partition", str(partition), "--start-offset", "1")
            until(lambda: ends(peer, topic, partition) == (3, 3), 30, lambda: ends(peer, topic, partition))
        found = ask_ours("kafka-transactions", *at, "find-hanging", "--topic", topic)
        assert topic not in found, found
