"""Bad input gets Kafka's own answer, memory stays bounded, and the client next door does not notice.

Every expected code was taken from Apache Kafka 4.3.1 by running this file against it (MILENA_TEST_BROKER=apache).
"""

import contextlib
import gzip
import os
import random
import socket
import struct
import threading
import time

import cramjam
import lz4.frame
import pytest
import zstandard

from harness import wire
from harness.broker import KIND
from harness.drivers import until
from harness.wire import Peer, Refused, batch, create_topic, fetch, produce, produce_fields

NONE, OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE, UNKNOWN_TOPIC_OR_PARTITION = 0, 1, 2, 3
MESSAGE_TOO_LARGE, INVALID_TOPIC, INVALID_REQUIRED_ACKS, ILLEGAL_GENERATION = 10, 17, 21, 22
INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, INVALID_SESSION_TIMEOUT, INVALID_TIMESTAMP = 24, 25, 26, 32
UNSUPPORTED_VERSION, TOPIC_EXISTS, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR = 35, 36, 37, 38
INVALID_CONFIG, INVALID_REQUEST, OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH = 40, 42, 45, 47
TRANSACTIONAL_ID_REFUSED = 53
GROUP_ID_NOT_FOUND, SESSION_NOT_FOUND, SESSION_EPOCH, FENCED_LEADER_EPOCH = 69, 70, 71, 74
UNKNOWN_LEADER_EPOCH, UNSUPPORTED_COMPRESSION, INVALID_RECORD = 75, 76, 87

# Kafka stumbles over records that it cannot parse, and answers with an unexpected exception. Milena may say what is wrong, in
# a code that is not retried either (docs/compatibility.md).
STUMBLE = -1
INSTEAD = {STUMBLE: (STUMBLE, INVALID_RECORD)}

MIB = 1 << 20
# What the broker may grow by while this file runs; a JVM grows into its heap as it likes.
GROWTH = 64 * MIB if KIND == "milena" else 1024 * MIB


@pytest.fixture(scope="module", autouse=True)
def bounded_memory(broker):
    with Peer(broker.address) as peer:
        create_topic(peer, "warm-up")
        for _ in range(200):
            produce(peer, "warm-up", batch([(None, b"x" * 1000)] * 10))
    before = broker.resident_bytes()
    yield
    grown = broker.resident_bytes() - before
    assert grown < GROWTH, f"resident memory grew by {grown / MIB:.0f} MiB"


class Bystander:
    """An honest producer that writes all the time."""

    def __init__(self, address):
        self.address, self.errors, self.slowest, self.sent = address, [], 0.0, 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            with Peer(self.address) as peer:
                while not self.stopped.is_set():
                    began = time.monotonic()
                    answer = produce(peer, "bystander", batch())
                    if answer["error_code"]:
                        self.errors.append(answer)
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.sent += 1
        except (Refused, OSError) as error:
            self.errors.append(error)


@pytest.fixture
def bystander(broker):
    with Peer(broker.address) as peer:
        create_topic(peer, "bystander")
    honest = Bystander(broker.address)
    honest.thread.start()
    until(lambda: honest.sent or honest.errors, 15, lambda: "the client next door has not sent one record")
    yield honest
    honest.stopped.set()
    honest.thread.join(20)
    assert not honest.errors, f"the client next door was refused: {honest.errors[:1]}"
    # Nobody waits for anybody: a machine that stands still for seconds is the most that may be seen.
    assert honest.slowest < 6, f"the client next door: {honest.sent} sent, slowest {honest.slowest:.1f} s"


@pytest.fixture
def peer(broker):
    with Peer(broker.address) as connection:
        yield connection


@pytest.fixture
def made(peer, topic):
    assert create_topic(peer, topic, 2)["error_code"] == NONE
    if KIND == "apache":  # which answers before its own log manager knows the topic
        until(lambda: fetch(peer, topic, 0, partition=1)["responses"][0]["partitions"][0]["error_code"] == NONE, 10, lambda: topic)
    return topic


def settled(ask):
    """The answer of a coordinator that is ready. Kafka's loads for a moment after the first request; Milena's never does."""
    answer = ask()
    while KIND == "apache" and answer["error_code"] in (14, 15, 16):
        time.sleep(0.1)
        answer = ask()
    return answer


NOW = int(time.time() * 1000)

FAULTY_BATCHES = [
    ("wrong crc", lambda: batch(crc=1), CORRUPT_MESSAGE),
    ("magic 1", lambda: batch(magic=1), INVALID_RECORD),
    ("magic 3", lambda: batch(magic=3), CORRUPT_MESSAGE),
    ("two batches", lambda: batch() + batch(), INVALID_RECORD),
    ("no batch", lambda: b"", INVALID_RECORD),
    ("half a batch", lambda: batch()[:40], INVALID_RECORD),
    ("last byte missing", lambda: batch()[:-1], INVALID_RECORD),
    ("count zero", lambda: batch(count=0), INVALID_RECORD),
    ("count too high", lambda: batch(count=2), INVALID_RECORD),
    ("count too low", lambda: batch([(b"a", b"b")] * 2, count=1), INVALID_RECORD),
    ("count of a billion", lambda: batch(count=1_000_000_000), INVALID_RECORD),
    ("negative count", lambda: batch(count=-5), INVALID_RECORD),
    ("last delta wrong", lambda: batch(last_delta=7), INVALID_RECORD),
    ("base offset of its own", lambda: batch(base_offset=9), INVALID_RECORD),
    ("control bit", lambda: batch(attributes=0x20), INVALID_RECORD),
    ("too far in the future", lambda: batch(timestamp=NOW + 7_200_000), INVALID_TIMESTAMP),
    ("unknown codec", lambda: batch(attributes=0x05), STUMBLE),
    ("producer id without sequence", lambda: batch(producer=(5, 0, -1)), INVALID_RECORD),
    ("transactional without an id", lambda: batch(attributes=0x10), TRANSACTIONAL_ID_REFUSED),
    ("garbage for records", lambda: batch(payload=b"\xff" * 50), STUMBLE),
    ("garbage for gzip", lambda: batch(codec="gzip", payload=b"\xff" * 50), STUMBLE),
    ("garbage for snappy", lambda: batch(codec="snappy", payload=b"\xff" * 50), STUMBLE),
    ("garbage for lz4", lambda: batch(codec="lz4", payload=b"\xff" * 50), STUMBLE),
    ("garbage for zstd", lambda: batch(codec="zstd", payload=b"\xff" * 50), STUMBLE),
    ("two mebibytes", lambda: batch([(None, os.urandom(2 * MIB))]), MESSAGE_TOO_LARGE),
]


@pytest.mark.parametrize("name,make,code", FAULTY_BATCHES, ids=[row[0] for row in FAULTY_BATCHES])
def test_faulty_batch(peer, made, name, make, code):
    answer = produce(peer, made, make())
    assert answer["error_code"] in (INSTEAD.get(code, (code,)) if KIND == "milena" else (code,)), f"{name}: {answer}"
    assert answer["base_offset"] == -1, answer
    assert produce(peer, made, batch())["base_offset"] == 0, f"{name}: something was appended"


TOLERATED = [
    ("log append time bit", lambda: batch(attributes=0x08)),
    ("a byte after the batch", lambda: batch() + b"\0"),
    ("no time stamp", lambda: batch(timestamp=-1)),
    ("wrong greatest time stamp", lambda: batch(max_timestamp=NOW - 5_000)),
    ("a leader epoch", lambda: batch()[:12] + b"\0\0\0\7" + batch()[16:]),
]


@pytest.mark.parametrize("name,make", TOLERATED, ids=[row[0] for row in TOLERATED])
def test_oddity_that_kafka_puts_right(peer, made, name, make):
    """What is stored has no trace of it: one valid batch, base offset, epoch and time stamp type the broker's own."""
    answer = produce(peer, made, make())
    assert (answer["error_code"], answer["base_offset"]) == (NONE, 0), f"{name}: {answer}"
    stored = fetch(peer, made, 0)["responses"][0]["partitions"][0]["records"]
    base_offset, length, epoch, _, _, attributes = struct.unpack(">qiibIh", stored[:23])
    assert (base_offset, length + 12, epoch, attributes) == (0, len(stored), 0, 0), f"{name}: {stored[:23].hex()}"


@pytest.mark.skipif(KIND == "apache", reason="Kafka never answers and keeps the connection")
def test_null_records_are_refused(peer, made):
    assert produce(peer, made, None)["error_code"] == INVALID_RECORD


def test_one_bad_partition_does_not_fail_the_other(peer, made):
    fields = produce_fields(made, batch(crc=7))
    fields["topic_data"][0]["partition_data"].append({"index": 1, "records": batch()})
    fields["topic_data"][0]["partition_data"].append({"index": 9, "records": batch()})
    answer = peer.ask("Produce", 9, **fields)
    codes = {each["index"]: each["error_code"] for each in answer["responses"][0]["partition_responses"]}
    assert codes == {0: CORRUPT_MESSAGE, 1: NONE, 9: UNKNOWN_TOPIC_OR_PARTITION}


def test_produce_refusals(peer, made):
    assert produce(peer, "nowhere-to-be-found", batch())["error_code"] == UNKNOWN_TOPIC_OR_PARTITION
    assert produce(peer, "bad name!", batch())["error_code"] in (UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC)
    assert produce(peer, made, batch(), acks=2)["error_code"] == INVALID_REQUIRED_ACKS
    assert produce(peer, made, batch(codec="zstd"), version=6)["error_code"] == UNSUPPORTED_COMPRESSION


def test_failed_produce_without_acks_closes_the_connection(peer, made):
    peer.send("Produce", 9, **produce_fields(made, batch(crc=7), acks=0))
    assert peer.closed()


def test_idempotence_refusals(peer, made):
    answer = settled(lambda: peer.ask("InitProducerId", 4, transactional_id=None, transaction_timeout_ms=60_000))
    producer, epoch = answer["producer_id"], answer["producer_epoch"]
    assert answer["error_code"] == NONE and producer >= 0 and epoch == 0, answer

    def send(sequence, epoch=epoch, count=1):
        answer = produce(peer, made, batch([(b"k", b"v")] * count, producer=(producer, epoch, sequence)))
        return answer["error_code"], answer["base_offset"]

    assert send(0) == (NONE, 0)
    assert send(1, count=3) == (NONE, 1)
    assert send(1, count=3) == (NONE, 1), "an exact repeat answers the first offset"
    assert send(9) == (OUT_OF_ORDER_SEQUENCE, -1)
    assert send(4) == (NONE, 4)
    for sequence in range(5, 10):
        assert send(sequence)[0] == NONE
    assert send(1, count=3) == (OUT_OF_ORDER_SEQUENCE, -1), "older than the window of five batches"
    assert send(5, epoch=epoch + 1) == (OUT_OF_ORDER_SEQUENCE, -1), "a new epoch begins with sequence 0"
    assert send(0, epoch=epoch + 1) == (NONE, 10)
    assert send(10, epoch=epoch) == (INVALID_PRODUCER_EPOCH, -1)


BAD_TOPICS = [
    ("empty name", {"name": ""}, INVALID_TOPIC),
    ("a dot", {"name": "."}, INVALID_TOPIC),
    ("two dots", {"name": ".."}, INVALID_TOPIC),
    ("a slash", {"name": "a/b"}, INVALID_TOPIC),
    ("a space", {"name": "a b"}, INVALID_TOPIC),
    ("not ASCII", {"name": "töpic"}, INVALID_TOPIC),
    ("250 letters", {"name": "x" * 250}, INVALID_TOPIC),
    ("no partitions", {"name": "p0", "partitions": 0}, INVALID_PARTITIONS),
    ("minus two partitions", {"name": "p2", "partitions": -2}, INVALID_PARTITIONS),
    ("no replicas", {"name": "r0", "replicas": 0}, INVALID_REPLICATION_FACTOR),
    ("more replicas than brokers", {"name": "r9", "replicas": 9}, INVALID_REPLICATION_FACTOR),
    ("unknown config", {"name": "c1", "configs": {"no.such.config": "1"}}, INVALID_CONFIG),
    ("config that is no number", {"name": "c2", "configs": {"retention.ms": "long"}}, INVALID_CONFIG),
    ("config out of range", {"name": "c3", "configs": {"segment.bytes": "3"}}, INVALID_CONFIG),
    ("config not in the list", {"name": "c4", "configs": {"cleanup.policy": "burn"}}, INVALID_CONFIG),
    ("null config", {"name": "c5", "configs": {"retention.ms": None}}, INVALID_CONFIG),
    ("min ratio out of range", {"name": "c6", "configs": {"min.cleanable.dirty.ratio": "1.5"}}, INVALID_CONFIG),
]


@pytest.mark.parametrize("name,fields,code", BAD_TOPICS, ids=[row[0] for row in BAD_TOPICS])
@pytest.mark.parametrize("validate_only", [False, True])
def test_bad_topic(peer, name, fields, code, validate_only):
    answer = create_topic(peer, **fields, validate_only=validate_only)
    assert answer["error_code"] == code, f"{name}: {answer}"
    assert answer["error_message"], f"{name}: no message"


def test_names_that_collide(peer, topic):
    assert create_topic(peer, f"a.{topic}")["error_code"] == NONE
    assert create_topic(peer, f"a_{topic}")["error_code"] == INVALID_TOPIC
    assert create_topic(peer, f"a.{topic}")["error_code"] == TOPIC_EXISTS


def test_configs_of_a_topic(peer, made):
    def alter(*changes):
        configs = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in changes]
        resource = {"resource_type": 2, "resource_name": made, "configs": configs}
        return peer.ask("IncrementalAlterConfigs", 1, resources=[resource], validate_only=False)["responses"][0]["error_code"]

    assert alter(("retention.ms", 0, "5000")) == NONE
    assert alter(("retention.ms", 0, "soon")) == INVALID_CONFIG
    assert alter(("no.such", 0, "1")) == INVALID_CONFIG
    assert alter(("retention.ms", 0, None)) == INVALID_REQUEST
    assert alter(("retention.ms", 0, "1"), ("retention.ms", 0, "2")) == INVALID_REQUEST
    assert alter(("retention.ms", 2, "1")) == INVALID_CONFIG, "APPEND to what is no list"
    assert alter(("segment.bytes", 0, "1048576"), ("retention.ms", 0, "never")) == INVALID_CONFIG
    resource = {"resource_type": 2, "resource_name": made, "configuration_keys": ["retention.ms", "segment.bytes"]}
    described = peer.ask("DescribeConfigs", 4, resources=[resource], include_synonyms=False, include_documentation=False)
    values = {config["name"]: config["value"] for config in described["results"][0]["configs"]}
    assert values == {"retention.ms": "5000", "segment.bytes": "1073741824"}, "a refused change left traces"


def test_fetch_refusals(peer, made):
    def code(*arguments, **options):
        return fetch(peer, *arguments, **options)["responses"][0]["partitions"][0]["error_code"]

    produce(peer, made, batch())
    assert code(made, 1) == NONE
    assert code(made, 2) == OFFSET_OUT_OF_RANGE
    assert code(made, -1) == OFFSET_OUT_OF_RANGE
    assert code(made, 1 << 60) == OFFSET_OUT_OF_RANGE
    assert code(made, 0, partition=9) == UNKNOWN_TOPIC_OR_PARTITION
    assert code("nowhere-to-be-found", 0) == UNKNOWN_TOPIC_OR_PARTITION
    assert code(made, 0, epoch=9) == UNKNOWN_LEADER_EPOCH
    refused = fetch(peer, made, 2)["responses"][0]["partitions"][0]
    ends = (refused["high_watermark"], refused["last_stable_offset"], refused["log_start_offset"])
    assert ends == (-1, -1, -1), refused
    assert refused["records"] == b"", "records of a refused partition are empty, not null"


def test_stale_fetch_sessions(peer, made):
    assert fetch(peer, made, 0, session=(12345, 7))["error_code"] == SESSION_NOT_FOUND
    opened = fetch(peer, made, 0, session=(0, 0))
    assert opened["error_code"] == NONE
    if opened["session_id"]:
        assert fetch(peer, made, 0, session=(opened["session_id"], 1))["error_code"] == NONE
        assert fetch(peer, made, 0, session=(opened["session_id"], 9))["error_code"] == SESSION_EPOCH


def test_list_offsets_refusals(peer, made):
    def ask(topic, partition, timestamp, epoch=-1):
        partitions = [{"partition_index": partition, "current_leader_epoch": epoch, "timestamp": timestamp}]
        answer = peer.ask("ListOffsets", 7, replica_id=-1, isolation_level=0, topics=[{"name": topic, "partitions": partitions}])
        return answer["topics"][0]["partitions"][0]["error_code"]

    assert ask(made, 0, -1) == NONE
    assert ask(made, 9, -1) == UNKNOWN_TOPIC_OR_PARTITION
    assert ask("nowhere-to-be-found", 0, -1) == UNKNOWN_TOPIC_OR_PARTITION
    assert ask(made, 0, -77) == UNSUPPORTED_VERSION
    assert ask(made, 0, -1, epoch=5) == UNKNOWN_LEADER_EPOCH


def join(peer, group, member="", session=10_000, protocols=True, version=5):
    names = [{"name": "range", "metadata": b"\0\0"}] if protocols else []
    return peer.ask(
        "JoinGroup",
        version,
        group_id=group,
        session_timeout_ms=session,
        rebalance_timeout_ms=10_000,
        member_id=member,
        group_instance_id=None,
        protocol_type="consumer",
        protocols=names,
    )


def test_group_refusals(peer, made):
    group = f"g-{made}"
    settled(lambda: peer.ask("FindCoordinator", 2, key=group, key_type=0))
    settled(lambda: join(peer, group, member="stranger"))
    assert join(peer, "")["error_code"] == INVALID_GROUP_ID
    assert join(peer, group, session=5)["error_code"] == INVALID_SESSION_TIMEOUT
    assert join(peer, group, session=1 << 30)["error_code"] == INVALID_SESSION_TIMEOUT
    assert join(peer, group, member="stranger")["error_code"] == UNKNOWN_MEMBER_ID
    assert join(peer, group, protocols=False)["error_code"] == 23
    asked = join(peer, group)
    assert asked["error_code"] == 79 and asked["member_id"], asked
    joined = join(peer, group, member=asked["member_id"])
    assert joined["error_code"] == NONE and joined["generation_id"] == 1, joined
    member = joined["member_id"]

    def beat(member, generation, group=group):
        return peer.ask("Heartbeat", 3, group_id=group, generation_id=generation, member_id=member, group_instance_id=None)["error_code"]

    def commit(member, generation, topic=made, metadata="", partition=0, group=group):
        committed = {"partition_index": partition, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": metadata}
        answer = peer.ask(
            "OffsetCommit",
            7,
            group_id=group,
            generation_id_or_member_epoch=generation,
            member_id=member,
            group_instance_id=None,
            topics=[{"name": topic, "partitions": [committed]}],
        )
        return answer["topics"][0]["partitions"][0]["error_code"]

    assignments = [{"member_id": member, "assignment": b"x"}]
    sync = {"group_id": group, "member_id": member, "group_instance_id": None, "assignments": assignments}
    assert peer.ask("SyncGroup", 3, generation_id=9, **sync)["error_code"] == ILLEGAL_GENERATION
    assert commit(member, 1) == 27, "a commit while the leader has not synced"
    assert peer.ask("SyncGroup", 3, generation_id=1, **sync)["error_code"] == NONE
    assert beat(member, 1) == NONE
    assert beat(member, 7) == ILLEGAL_GENERATION
    assert beat("stranger", 1) == UNKNOWN_MEMBER_ID
    assert beat("stranger", 1, group="no-such-group") == UNKNOWN_MEMBER_ID
    assert commit(member, 1) == NONE
    assert commit(member, 7) == ILLEGAL_GENERATION
    assert commit("stranger", 1) == UNKNOWN_MEMBER_ID
    assert commit("", -1) == UNKNOWN_MEMBER_ID, "a stranger without generation while the group has members"
    assert commit("", 3, group="no-such-group") == ILLEGAL_GENERATION
    assert commit(member, 1, topic="nowhere-to-be-found") == UNKNOWN_TOPIC_OR_PARTITION
    assert commit(member, 1, partition=9) == UNKNOWN_TOPIC_OR_PARTITION
    assert commit(member, 1, metadata="m" * 5000) == 12
    leave = {"group_id": group, "members": [{"member_id": "stranger", "group_instance_id": None}]}
    assert peer.ask("LeaveGroup", 3, **leave)["members"][0]["error_code"] == UNKNOWN_MEMBER_ID
    assert peer.ask("DeleteGroups", 1, groups_names=[group])["results"][0]["error_code"] == 68
    assert peer.ask("DeleteGroups", 1, groups_names=["no-such-group"])["results"][0]["error_code"] == GROUP_ID_NOT_FOUND


def frame(key, version, body, correlation=1):
    payload = struct.pack(">hhih", key, version, correlation, -1) + body
    return struct.pack(">i", len(payload)) + payload


CLOSING = [
    ("2 GiB announced", struct.pack(">i", 0x7FFFFFFF) + b"x" * 100),
    ("just over the limit", struct.pack(">i", 100 * MIB + 1) + b"x" * 100),
    ("negative length", struct.pack(">i", -1)),
    ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a TLS hello", bytes.fromhex("16030100c8010000c4") + os.urandom(195)),
    ("empty frame", struct.pack(">i", 0)),
    ("header cut", struct.pack(">i", 3) + b"\0\x12\0"),
    ("unknown API", frame(999, 0, b"")),
    ("negative API", frame(-1, 0, b"")),
    ("version too new", frame(3, 99, b"\0\0\0\0")),
    ("version long gone", frame(1, 0, b"\0" * 20)),
    ("body missing", frame(3, 8, b"")),
    ("an array of a billion topics", frame(3, 1, struct.pack(">i", 1_000_000_000))),
    ("a string of 32 KiB in 4 bytes", frame(3, 1, struct.pack(">ih", 1, 0x7FFF) + b"abcd")),
    ("a billion partitions to fetch", frame(1, 4, struct.pack(">iiiibi", -1, 0, 0, 0, 0, 1) + b"\0\1a" + struct.pack(">i", 1 << 30))),
    ("a billion records to produce", frame(0, 3, struct.pack(">hhii", -1, -1, 1000, 1_000_000_000))),
]


@pytest.mark.parametrize("name,content", CLOSING, ids=[row[0] for row in CLOSING])
def test_broken_frame_closes_its_connection(broker, bystander, name, content):
    with Peer(broker.address) as peer:
        peer.socket.sendall(content)
        assert peer.closed(), f"{name}: not closed within 10 s"


def test_bytes_after_a_request_are_ignored(broker, made):
    """librdkafka 2.16 asks for the metadata of all topics with three bytes too many."""
    requests = [
        ("Metadata", 13, {"topics": None, "allow_auto_topic_creation": False}, "topics"),
        ("Metadata", 4, {"topics": None, "allow_auto_topic_creation": False}, "topics"),
        ("ApiVersions", 3, {"client_software_name": "raw", "client_software_version": "1"}, "api_keys"),
        ("Produce", 9, produce_fields(made, batch()), "responses"),
        ("ListGroups", 4, {}, "groups"),
    ]
    with Peer(broker.address) as peer:
        for name, version, fields, holder in requests:
            whole = peer.encode(name, version, **fields) + b"\0\0\0"
            peer.socket.sendall(struct.pack(">i", len(whole) - 4) + whole[4:])
            assert holder in peer.receive(name, version), name


def test_unknown_version_of_api_versions_is_answered(broker):
    with Peer(broker.address) as peer:
        peer.socket.sendall(frame(18, 99, b"\1\1\0"))
        answer = peer.frame()
        code, count, key, low, high = struct.unpack(">hihhh", answer[4:16])
        assert (code, count, key) == (UNSUPPORTED_VERSION, 1, 18) and low == 0 and high >= 4, answer.hex()
        assert peer.ask("ApiVersions", 3, client_software_name="raw", client_software_version="1")["error_code"] == NONE


def test_bad_client_name_in_api_versions(peer):
    peer.send("ApiVersions", 3, client_software_name="no spaces please", client_software_version="1")
    answer = peer.frame()
    assert struct.unpack(">h", answer[4:6]) == (INVALID_REQUEST,), answer.hex()


def test_half_a_frame_then_silence_harms_nobody(broker, bystander):
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            peer = stack.enter_context(Peer(broker.address))
            whole = peer.encode("Metadata", 8, topics=None)
            peer.socket.sendall(whole[: len(whole) // 2])
        with Peer(broker.address) as honest:
            assert honest.ask("Metadata", 8, topics=[])["brokers"]


@pytest.mark.skipif(KIND == "apache", reason="Kafka allocates what is announced, and dies of it")
def test_large_frames_announced_by_many_cost_nothing(broker, bystander):
    before = broker.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            peer = stack.enter_context(Peer(broker.address))
            peer.socket.sendall(struct.pack(">i", 99 * MIB) + b"\0\0\0\3")
        time.sleep(0.3)
        grown = broker.resident_bytes() - before
    assert grown < 32 * MIB, f"20 announced frames of 99 MiB cost {grown / MIB:.0f} MiB"


def test_random_bytes(broker, bystander):
    chance = random.Random(20261121)
    for _ in range(300):
        with Peer(broker.address) as peer:
            body = chance.randbytes(chance.randrange(1, 200))
            with contextlib.suppress(ConnectionError):
                peer.socket.sendall(struct.pack(">i", len(body)) + body)
                peer.socket.shutdown(socket.SHUT_WR)
            peer.closed(5)


def test_mutated_requests(broker, bystander, made):
    chance = random.Random(4)
    with Peer(broker.address) as source:
        seeds = [
            source.encode("Produce", 9, **produce_fields(made, batch(codec="lz4"))),
            source.encode("Metadata", 12, topics=[{"name": made, "topic_id": None}]),
            source.encode("ApiVersions", 3, client_software_name="raw", client_software_version="1"),
            source.encode("CreateTopics", 7, topics=[{"name": "never-made", "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}], timeout_ms=1, validate_only=True),
            source.encode("FindCoordinator", 4, key_type=0, coordinator_keys=["g"]),
            source.encode("OffsetFetch", 7, group_id="g", topics=None),
            source.encode("ListOffsets", 7, replica_id=-1, isolation_level=0, topics=[{"name": made, "partitions": [{"partition_index": 0, "current_leader_epoch": -1, "timestamp": -1}]}]),
        ]
    for _ in range(500):
        mutant = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 4)):
            mutant[chance.randrange(8, len(mutant))] = chance.randrange(256)
        with Peer(broker.address, patience=5) as peer:
            with contextlib.suppress(ConnectionError):
                peer.socket.sendall(mutant)
                peer.socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(Refused, TimeoutError):
                peer.frame()


BOMBS = {
    "gzip": lambda size: gzip.compress(bytes(size)),
    "snappy": lambda size: bytes(cramjam.snappy.compress_raw(bytes(size // 10))),
    "lz4": lambda size: lz4.frame.compress(bytes(size), block_linked=False),
    "zstd": lambda size: zstandard.compress(bytes(size)),
}


@pytest.mark.parametrize("codec", BOMBS)
def test_decompression_bomb(broker, bystander, made, codec):
    """200 MiB of zeros in a batch of at most 1 MiB: no record in it is valid, and nobody may pay for finding out."""
    payload = BOMBS[codec](200 * MIB)
    bomb = batch(codec=codec, payload=payload[: 900_000])
    before = broker.resident_bytes()
    peak = 0
    with Peer(broker.address, patience=60) as peer:
        for _ in range(5):
            peer.send("Produce", 9, **produce_fields(made, bomb))
            answer = peer.receive("Produce", 9)["responses"][0]["partition_responses"][0]
            assert answer["error_code"] in (STUMBLE, INVALID_RECORD, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE), answer
            peak = max(peak, broker.resident_bytes() - before)
    assert peak < GROWTH, f"resident memory grew by {peak / MIB:.0f} MiB"


def test_honest_batch_that_compresses_well_is_accepted(peer, made):
    """Not every high ratio is an attack: 8 MiB of the same letter is a log file."""
    for codec in ("gzip", "zstd", "lz4"):
        answer = produce(peer, made, batch([(None, b"a" * (1 * MIB))] * 8, codec=codec))
        assert answer["error_code"] == NONE, f"{codec}: {answer}"


def test_many_connections_come_and_go(broker, bystander):
    for _ in range(500):
        with Peer(broker.address):
            pass
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(broker.address)) for _ in range(300)]
        for peer in peers:
            peer.send("ApiVersions", 3, client_software_name="raw", client_software_version="1")
        for peer in peers:
            assert peer.receive("ApiVersions", 3)["error_code"] == NONE


def test_answers_keep_the_order_of_pipelined_requests(broker, made):
    with Peer(broker.address) as peer:
        wanted = []
        for i in range(200):
            if i % 3 == 0:
                wanted.append(("Produce", 9, peer.send("Produce", 9, **produce_fields(made, batch()))))
            elif i % 3 == 1:
                wanted.append(("Metadata", 8, peer.send("Metadata", 8, topics=[])))
            else:
                wanted.append(("ListGroups", 4, peer.send("ListGroups", 4)))
        offsets = []
        for name, version, correlation in wanted:
            peer.correlation = correlation
            answer = peer.receive(name, version)
            if name == "Produce":
                offsets.append(answer["responses"][0]["partition_responses"][0]["base_offset"])
        assert offsets == list(range(len(offsets)))


def test_waiting_fetch_is_woken_by_an_append(broker, made):
    with Peer(broker.address) as reader, Peer(broker.address) as writer:
        asked = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
        topics = [{"topic": made, "partitions": [asked]}]
        reader.send("Fetch", 11, max_wait_ms=10_000, min_bytes=1, max_bytes=1 << 20, session_id=0, session_epoch=-1, topics=topics)
        time.sleep(0.3)
        began = time.monotonic()
        produce(writer, made, batch())
        answer = reader.receive("Fetch", 11)
        waited = time.monotonic() - began
        assert answer["responses"][0]["partitions"][0]["records"], "woken with nothing"
        # Not by its own time, which is ten seconds.
        assert waited < 5, f"woken after {waited:.2f} s"
        began = time.monotonic()
        empty = fetch(reader, made, 1, max_wait_ms=700)
        assert empty["responses"][0]["partitions"][0]["records"] == b"" and 0.6 < time.monotonic() - began < 5
