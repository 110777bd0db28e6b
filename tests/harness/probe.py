"""Asks one broker everything that a client can see of it, and writes down the answers.

`observe(address)` returns a flat dictionary from path to value, with what must differ between two clusters (ids, ports, folders,
times) masked. tests/suites/test_differential.py compares two of them.
"""

import gzip
import json
import re
import struct
import subprocess
import time
import uuid

from harness import wire
from harness.drivers import BY_NAME
from harness.probe_transactions import transactions
from harness.wire import Peer, Refused, batch, produce_fields

# Fixed, so that the stored bytes can be compared; not so old that retention would take them.
BASE_MS = int(time.time() // 3600 * 3600 - 7200) * 1000

ZERO = uuid.UUID(int=0)


class Observer:
    """Collects observations of one broker."""

    def __init__(self, address):
        self.address = address
        self.seen = {}
        self.ids = {}

    def note(self, path, value):
        self.flatten(path, value)

    def flatten(self, path, value):
        if isinstance(value, dict):
            for key, each in value.items():
                self.flatten(f"{path}/{key}", each)
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            for index, each in enumerate(value):
                names = [self.mask(each[key]) for key in ("name", "topic", "topic_id", "group_id", "resource_name", "partition_index", "api_key") if each.get(key) not in (None, "")]
                label = names[0] if names and not isinstance(names[0], dict) else index
                self.flatten(f"{path}/{re.sub(r'-v[0-9]+$', '', str(label))}", each)
        else:
            self.seen[path] = self.mask(value)

    def mask(self, value):
        if isinstance(value, uuid.UUID):
            if value == ZERO:
                return "no id"
            return next((f"id of {name}" for name, known in self.ids.items() if known == value), "an id")
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, (list, tuple)):
            return [self.mask(each) for each in value]
        if isinstance(value, str):
            port = self.address.rsplit(":", 1)[1]
            value = re.sub(rf"\b{port}\b", "PORT", value)
            return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", value)
        return value

    def ask(self, path, name, version, keep=None, drop=(), **fields):
        """Notes the whole answer under `path/v<version>`, or that the connection was closed."""
        answer = self.answer(name, version, **fields)
        noted = keep(answer) if keep and isinstance(answer, dict) else answer
        if isinstance(noted, dict):
            noted = without(noted, {"throttle_time_ms", *drop})
        self.note(f"{path}/v{version}", noted)
        return answer

    def answer(self, name, version, **fields):
        try:
            with Peer(self.address) as peer:
                return peer.ask(name, version, **fields)
        except Refused:
            return "connection closed"
        except TimeoutError:
            return "no answer"

    def until_ok(self, name, version, code, patience=20, **fields):
        """Asks until `code(answer)` is 0: Kafka needs a moment after creations; returns the answer."""
        deadline = time.monotonic() + patience
        while True:
            answer = self.answer(name, version, **fields)
            if (isinstance(answer, dict) and code(answer) == 0) or time.monotonic() > deadline:
                return answer
            time.sleep(0.05)


def without(answer, names):
    if isinstance(answer, dict):
        return {key: without(value, names) for key, value in answer.items() if key not in names}
    if isinstance(answer, list):
        return [without(each, names) for each in answer]
    return answer


def observe(address):
    observer = Observer(address)
    for part in (versions, topics, produce, fetch, list_offsets, configs, groups, offsets, admin, clients, transactions):
        part(observer)
    return observer.seen


def make(observer, name, partitions=1, configs=None):
    with Peer(observer.address) as peer:
        answer = wire.create_topic(peer, name, partitions, configs=configs)
        assert answer["error_code"] == 0, answer
    asked = [{"partition": p, "fetch_offset": 0, "partition_max_bytes": 1} for p in range(partitions)]
    fields = {"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1, "session_id": 0, "session_epoch": -1, "topics": [{"topic": name, "partitions": asked}]}
    observer.until_ok("Fetch", 11, lambda a: max(p["error_code"] for p in a["responses"][0]["partitions"]), **fields)
    observer.ids[name] = answer["topic_id"]


def versions(o):
    for version in range(5):
        software = {"client_software_name": "probe", "client_software_version": "1"} if version >= 3 else {}
        answer = o.answer("ApiVersions", version, **software)
        ranges = {wire_name(entry["api_key"]): f"{entry['min_version']}-{entry['max_version']}" for entry in answer["api_keys"]}
        for name, range_ in ranges.items():
            o.note(f"ApiVersions/v{version}/{name}", range_)
        if version >= 3:
            for kind in ("supported_features", "finalized_features"):
                for feature in answer.get(kind) or []:
                    o.note(f"ApiVersions/v{version}/{kind}/{feature['name']}", without(feature, {"name"}))


KEYS = (
    "Produce Fetch ListOffsets Metadata LeaderAndIsr StopReplica UpdateMetadata ControlledShutdown OffsetCommit OffsetFetch FindCoordinator "
    "JoinGroup Heartbeat LeaveGroup SyncGroup DescribeGroups ListGroups SaslHandshake ApiVersions CreateTopics DeleteTopics DeleteRecords "
    "InitProducerId OffsetForLeaderEpoch AddPartitionsToTxn AddOffsetsToTxn EndTxn WriteTxnMarkers TxnOffsetCommit DescribeAcls CreateAcls "
    "DeleteAcls DescribeConfigs AlterConfigs AlterReplicaLogDirs DescribeLogDirs SaslAuthenticate CreatePartitions CreateDelegationToken "
    "RenewDelegationToken ExpireDelegationToken DescribeDelegationToken DeleteGroups ElectLeaders IncrementalAlterConfigs "
    "AlterPartitionReassignments ListPartitionReassignments OffsetDelete DescribeClientQuotas AlterClientQuotas DescribeUserScramCredentials "
    "AlterUserScramCredentials Vote BeginQuorumEpoch EndQuorumEpoch DescribeQuorum AlterPartition UpdateFeatures Envelope FetchSnapshot "
    "DescribeCluster DescribeProducers BrokerRegistration BrokerHeartbeat UnregisterBroker DescribeTransactions ListTransactions "
    "AllocateProducerIds ConsumerGroupHeartbeat ConsumerGroupDescribe ControllerRegistration GetTelemetrySubscriptions PushTelemetry "
    "AssignReplicasToDirs ListConfigResources DescribeTopicPartitions ShareGroupHeartbeat ShareGroupDescribe ShareFetch ShareAcknowledge "
    "AddRaftVoter RemoveRaftVoter UpdateRaftVoter InitializeShareGroupState ReadShareGroupState WriteShareGroupState DeleteShareGroupState "
    "ReadShareGroupStateSummary StreamsGroupHeartbeat StreamsGroupDescribe DescribeShareGroupOffsets AlterShareGroupOffsets "
    "DeleteShareGroupOffsets GetReplicaLogInfo"
).split()


def wire_name(key):
    return KEYS[key] if key < len(KEYS) else f"key {key}"


def topics(o):
    creations = {
        "plain": {"num_partitions": 2, "replication_factor": 1},
        "defaults": {"num_partitions": -1, "replication_factor": -1},
        "assigned": {"num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": 0, "broker_ids": [1]}]},
        "configured": {"num_partitions": 1, "replication_factor": 1, "configs": [{"name": "retention.ms", "value": "99"}, {"name": "cleanup.policy", "value": "compact,delete"}]},
        "zero": {"num_partitions": 0, "replication_factor": 1},
        "many-replicas": {"num_partitions": 1, "replication_factor": 7},
        "assigned-and-counted": {"num_partitions": 1, "replication_factor": -1, "assignments": [{"partition_index": 0, "broker_ids": [1]}]},
        "assigned-with-hole": {"num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": 1, "broker_ids": [1]}]},
        "assigned-to-stranger": {"num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": 0, "broker_ids": [55]}]},
        "assigned-twice": {"num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": 0, "broker_ids": [1, 1]}]},
        "bad/name": {"num_partitions": 1, "replication_factor": 1},
        "unknown-config": {"num_partitions": 1, "replication_factor": 1, "configs": [{"name": "no.such", "value": "99"}]},
    }
    for version in range(2, 8):
        for name, fields in creations.items():
            if version < 4 and fields["num_partitions"] == -1 and "assignments" not in fields:
                continue
            topic = {"name": name, "assignments": [], "configs": [], **fields}
            for validate in (True, False) if version == 7 else (True,):
                path = f"CreateTopics/{name}{'' if validate else '/for real'}"
                o.ask(path, "CreateTopics", version, keep=spoken, topics=[topic], timeout_ms=10_000, validate_only=validate)
    twice = [{"name": "twice", "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}] * 2
    o.ask("CreateTopics/named twice", "CreateTopics", 7, keep=spoken, topics=twice, timeout_ms=10_000, validate_only=True)
    for version in range(1, 14):
        for label, asked in {"named": ["plain"], "missing": ["not-there"], "bad name": ["bad/name"], "none": []}.items():
            if version < 4 and asked == ["not-there"]:
                asked = [f"made-by-asking-v{version}"]
            fields = {"topics": [{"name": name, "topic_id": ZERO} for name in asked]}
            if version >= 4:
                fields["allow_auto_topic_creation"] = False
            o.ask(f"Metadata/{label}", "Metadata", version, keep=geography, **fields)
    o.ask("Metadata/by unknown id", "Metadata", 12, keep=geography, topics=[{"name": None, "topic_id": uuid.UUID(int=77)}], allow_auto_topic_creation=False)
    o.ask("Metadata/auto-created", "Metadata", 9, keep=geography, topics=[{"name": "made-by-asking"}], allow_auto_topic_creation=True)
    o.until_ok("Metadata", 9, lambda a: a["topics"][0]["error_code"], topics=[{"name": "made-by-asking"}], allow_auto_topic_creation=True)
    o.ask("Metadata/auto-created, later", "Metadata", 9, keep=geography, topics=[{"name": "made-by-asking"}], allow_auto_topic_creation=True)
    for version in range(4):
        for label, fields in {"more": {"name": "plain", "count": 4}, "same": {"name": "plain", "count": 2}, "missing": {"name": "not-there", "count": 4}}.items():
            topic = {"assignments": None, **fields}
            o.ask(f"CreatePartitions/{label}", "CreatePartitions", version, keep=spoken, topics=[topic], timeout_ms=10_000, validate_only=True)
    for version in range(1, 7):
        if version < 6:
            o.ask("DeleteTopics/missing", "DeleteTopics", version, keep=spoken, topic_names=["not-there"], timeout_ms=10_000)
        else:
            for label, topic in {"missing": {"name": "not-there", "topic_id": ZERO}, "unknown id": {"name": None, "topic_id": uuid.UUID(int=77)}}.items():
                o.ask(f"DeleteTopics/{label}", "DeleteTopics", version, keep=spoken, topics=[topic], timeout_ms=10_000)
    o.ask("DeleteTopics/there", "DeleteTopics", 6, keep=spoken, topics=[{"name": "assigned", "topic_id": ZERO}], timeout_ms=10_000)
    o.ask("DescribeTopicPartitions", "DescribeTopicPartitions", 0, topics=[{"name": "plain"}, {"name": "not-there"}], response_partition_limit=10, cursor=None)
    o.ask("DescribeTopicPartitions/one at a time", "DescribeTopicPartitions", 0, topics=[{"name": "plain"}], response_partition_limit=1, cursor=None)
    for version in range(3):
        o.ask("DescribeCluster", "DescribeCluster", version, keep=geography, include_cluster_authorized_operations=False)
    o.ask("DescribeCluster/operations", "DescribeCluster", 1, keep=geography, include_cluster_authorized_operations=True)


MESSAGES = ("error_message", "batch_index_error_message")


def spoken(answer):
    """Wording is free, whether something is said is not."""
    if isinstance(answer, dict):
        return {key: (value and "something") if key in MESSAGES else spoken(value) for key, value in answer.items()}
    return [spoken(each) for each in answer] if isinstance(answer, list) else answer


def geography(answer):
    answer = dict(answer, cluster_id="a cluster" if answer.get("cluster_id") else answer.get("cluster_id"))
    answer["brokers"] = [dict(broker, port="PORT") for broker in answer.get("brokers", [])]
    return answer


FAULTS = {
    "good": lambda: batch(timestamp=BASE_MS),
    "wrong crc": lambda: batch(timestamp=BASE_MS, crc=1),
    "magic 1": lambda: batch(timestamp=BASE_MS, magic=1),
    "two batches": lambda: batch(timestamp=BASE_MS) * 2,
    "empty": lambda: b"",
    "count zero": lambda: batch(timestamp=BASE_MS, count=0),
    "control": lambda: batch(timestamp=BASE_MS, attributes=0x20),
    "future": lambda: batch(timestamp=BASE_MS + 5 * 3_600_000 + 7_200_000),
    "too large": lambda: batch([(None, b"x" * 1_100_000)], timestamp=BASE_MS),
    "no sequence": lambda: batch(timestamp=BASE_MS, producer=(5, 0, -1)),
}


def produce(o):
    for version in range(3, 14):
        name = f"produce-v{version}"
        make(o, name)
        for label, content in FAULTS.items():
            for acks in (1, -1):
                o.ask(f"Produce/{label}/acks {acks}", "Produce", version, keep=spoken, **located(o, version, produce_fields(name, content(), acks=acks)))
        o.ask("Produce/acks 5", "Produce", version, keep=spoken, **located(o, version, produce_fields(name, batch(timestamp=BASE_MS), acks=5)))
        o.ask("Produce/no such partition", "Produce", version, keep=spoken, **located(o, version, produce_fields(name, batch(timestamp=BASE_MS), partition=4)))
        o.ask("Produce/no such topic", "Produce", version, keep=spoken, **located(o, version, produce_fields("not-there", batch(timestamp=BASE_MS))))
    make(o, "compacted", configs={"cleanup.policy": "compact"})
    o.ask("Produce/no key to a compacted topic", "Produce", 9, keep=spoken, **produce_fields("compacted", batch([(b"a", b"b"), (None, b"x")], timestamp=BASE_MS)))
    o.ask("Produce/to an internal topic", "Produce", 9, keep=spoken, **produce_fields("__consumer_offsets", batch(timestamp=BASE_MS)))
    make(o, "appended", configs={"message.timestamp.type": "LogAppendTime"})
    answer = o.answer("Produce", 9, **produce_fields("appended", batch(timestamp=BASE_MS)))
    append_time = answer["responses"][0]["partition_responses"][0]["log_append_time_ms"]
    o.note("Produce/LogAppendTime/is now", abs(append_time - time.time() * 1000) < 5_000)
    make(o, "recompressed", configs={"compression.type": "gzip"})
    for codec in wire.COMPRESS:
        o.ask(f"Produce/{codec} to a gzip topic", "Produce", 9, keep=spoken, **produce_fields("recompressed", batch([(b"a", b"b" * 100)] * 3, codec=codec, timestamp=BASE_MS)))


def located(o, version, fields):
    if version >= 13:
        for topic in fields["topic_data"]:
            topic["topic_id"] = o.ids.get(topic.pop("name"), uuid.UUID(int=77))
    return fields


def fetch(o):
    make(o, "fetched")
    for codec in wire.COMPRESS:
        o.answer("Produce", 9, **produce_fields("fetched", batch([(b"k", codec.encode()), (None, b"v" * 50)], codec=codec, timestamp=BASE_MS)))
    for version in range(4, 19):
        for label, fields in {
            "all": {"fetch_offset": 0},
            "middle of a batch": {"fetch_offset": 3},
            "end": {"fetch_offset": 12},
            "beyond": {"fetch_offset": 13},
            "before": {"fetch_offset": -5},
            "one byte": {"fetch_offset": 2, "partition_max_bytes": 1},
            "no such partition": {"fetch_offset": 0, "partition": 8},
            "newer epoch": {"fetch_offset": 0, "current_leader_epoch": 6},
            "diverging epoch": {"fetch_offset": 3, "last_fetched_epoch": 5},
        }.items():
            if "epoch" in label and version < (12 if label == "diverging epoch" else 9):
                continue
            partition = {"partition": 0, "partition_max_bytes": 1 << 20, **fields}
            for isolation in (0, 1) if label == "all" else (0,):
                topic = {"topic_id": o.ids["fetched"]} if version >= 13 else {"topic": "fetched"}
                asked = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20, "isolation_level": isolation, "topics": [{**topic, "partitions": [partition]}]}
                if version >= 7:
                    asked |= {"session_id": 0, "session_epoch": -1}
                o.ask(f"Fetch/{label}/isolation {isolation}", "Fetch", version, **asked)
        if version >= 13:
            asked["topics"] = [{"topic_id": uuid.UUID(int=77), "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 99}]}]
            o.ask("Fetch/unknown id", "Fetch", version, **asked)
        if version >= 7:
            o.ask("Fetch/unknown session", "Fetch", version, **{**asked, "session_id": 9999, "session_epoch": 3})
    # Stored bytes, whatever the broker did to them on the way in.
    for name in ("compacted", "produce-v9", "recompressed"):
        partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
        answer = o.answer("Fetch", 11, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, session_id=0, session_epoch=-1, topics=[{"topic": name, "partitions": [partition]}])
        stored = answer["responses"][0]["partitions"][0]["records"]
        if name == "recompressed":
            stored = unzipped(stored)  # two implementations of deflate
        o.note(f"Fetch/stored by {name}", stored)
    with Peer(o.address) as peer:
        for label, session in (("opened", (0, 0)), ("next", None), ("repeated epoch", None)):
            if session is None:
                session = (opened, 1)
            answer = wire.fetch(peer, "fetched", 12, session=session)
            opened = answer["session_id"] if label == "opened" else opened
            o.note(f"Fetch/session {label}", {**without(answer, {"throttle_time_ms"}), "session_id": bool(answer["session_id"])})


def unzipped(records):
    """Batches of a gzip topic as attributes and inflated content, without the checksums of the compressed bytes."""
    found = []
    while records:
        (length,) = struct.unpack(">i", records[8:12])
        (attributes,) = struct.unpack(">h", records[21:23])
        found.append(f"{records[:8].hex()} {attributes} {records[23:61].hex()} {gzip.decompress(records[61 : length + 12]).hex()}")
        records = records[length + 12 :]
    return found


def list_offsets(o):
    for version in range(1, 12):
        for timestamp in (-1, -2, -3, -4, -5, -6, -7, BASE_MS - 1, BASE_MS, BASE_MS + 1):
            label = timestamp if timestamp < 0 else f"base {timestamp - BASE_MS:+d}"
            partition = {"partition_index": 0, "timestamp": timestamp}
            if version >= 4:
                partition["current_leader_epoch"] = -1
            for name in ("fetched", "plain"):
                fields = {"replica_id": -1, "topics": [{"name": name, "partitions": [partition]}]}
                if version >= 10:
                    fields["timeout_ms"] = 5_000
                answer = o.answer("ListOffsets", version, **fields)
                if isinstance(answer, dict):
                    for each in answer["topics"][0]["partitions"]:
                        each["timestamp"] = f"base {each['timestamp'] - BASE_MS:+d}" if each["timestamp"] > 0 else each["timestamp"]
                    answer = without(answer, {"throttle_time_ms"})
                o.note(f"ListOffsets/{name} {label}/v{version}", answer)
    for version in range(2, 5):
        for epoch in (-1, 0, 1, 99):
            partition = {"partition": 0, "current_leader_epoch": -1, "leader_epoch": epoch}
            o.ask(f"OffsetForLeaderEpoch/{epoch}", "OffsetForLeaderEpoch", version, replica_id=-1, topics=[{"topic": "fetched", "partitions": [partition]}])


def configs(o):
    for version in range(1, 5):
        for label, kind, name in (("topic", 2, "configured"), ("broker", 4, "1"), ("missing topic", 2, "not-there"), ("other broker", 4, "77"),
                                  ("no broker's name", 4, "one"), ("cluster", 4, ""), ("unknown type", 99, "x"), ("loggers", 8, "77")):
            resource = {"resource_type": kind, "resource_name": name, "configuration_keys": None}
            fields = {"resources": [resource], "include_synonyms": True}
            if version >= 3:
                fields["include_documentation"] = True
            if version < 4 and label == "broker":
                continue  # some 250 keys; the newest version is compared in full
            o.ask(f"DescribeConfigs/{label}", "DescribeConfigs", version, keep=config_list, **fields)
    resource = {"resource_type": 2, "resource_name": "configured", "configuration_keys": ["retention.ms", "no.such"]}
    o.ask("DescribeConfigs/two keys", "DescribeConfigs", 4, keep=config_list, resources=[resource], include_synonyms=False, include_documentation=False)
    changes = {
        "set": [("retention.ms", 0, "77")],
        "delete": [("retention.ms", 1, None)],
        "append to list": [("cleanup.policy", 2, "delete")],
        "subtract from list": [("cleanup.policy", 3, "delete")],
        "append to number": [("retention.ms", 2, "5")],
        "not a number": [("retention.ms", 0, "x")],
        "unknown": [("no.such", 0, "x")],
        "delete unknown": [("no.such", 1, None)],
        "null": [("retention.ms", 0, None)],
        "empty": [("retention.ms", 0, "")],
        "twice": [("retention.ms", 0, "5"), ("retention.ms", 0, "6")],
        "unknown operation": [("retention.ms", 9, "5")],
        "conflicting": [("min.compaction.lag.ms", 0, "10"), ("max.compaction.lag.ms", 0, "5")],
    }
    targets = {"topic": (2, "configured"), "missing topic": (2, "not-there"), "broker": (4, "1"), "other broker": (4, "77"), "cluster": (4, "")}
    for version in range(2):
        for label, entries in changes.items():
            for target, (kind, name) in targets.items():
                if target in ("broker", "other broker", "cluster") and label not in ("unknown", "delete unknown"):
                    continue
                resource = {"resource_type": kind, "resource_name": name, "configs": [{"name": n, "config_operation": op, "value": v} for n, op, v in entries]}
                o.ask(f"IncrementalAlterConfigs/{target}/{label}", "IncrementalAlterConfigs", version, keep=spoken, resources=[resource], validate_only=True)
    for label, entries in {"read only": [("log.dirs", 0, "/x")], "number": [("log.cleaner.threads", 0, "2")], "bad number": [("log.cleaner.threads", 0, "-2")]}.items():
        for target, (kind, name) in {"broker": (4, "1"), "cluster": (4, "")}.items():
            resource = {"resource_type": kind, "resource_name": name, "configs": [{"name": n, "config_operation": op, "value": v} for n, op, v in entries]}
            o.ask(f"IncrementalAlterConfigs/{target}/{label}", "IncrementalAlterConfigs", 1, keep=spoken, resources=[resource], validate_only=True)
    for version in range(3):
        for label, entries in {"set": [("retention.ms", "5")], "bad": [("retention.ms", "x")], "null": [("retention.ms", None)], "unknown": [("no.such", "1")]}.items():
            resource = {"resource_type": 2, "resource_name": "configured", "configs": [{"name": n, "value": v} for n, v in entries]}
            o.ask(f"AlterConfigs/{label}", "AlterConfigs", version, keep=spoken, resources=[resource], validate_only=True)


def config_list(answer):
    answer = spoken(answer)
    for result in answer["results"]:
        if result.get("configs"):
            result["configs"] = {config["name"]: config_line(config) for config in result["configs"]}
    return answer


def config_line(config):
    """One setting as one value: a setting that is absent should be one difference, not eight."""
    said = f"{config['value']!r}, source {config['config_source']}"
    said += ", read only" if config["read_only"] else ""
    said += ", sensitive" if config["is_sensitive"] else ""
    if config.get("config_type") is not None:
        said += f", type {config['config_type']}"
    if "documentation" in config and not config["documentation"]:
        said += ", undocumented"
    synonyms = [f"{each['name']}={each['value']!r} ({each['source']})" for each in config.get("synonyms") or []]
    return said + (f", synonyms {' '.join(synonyms)}" if synonyms else "")


def join_fields(group, member, version, instance=None):
    fields = {"group_id": group, "session_timeout_ms": 10_000, "member_id": member, "protocol_type": "consumer"}
    fields["protocols"] = [{"name": "range", "metadata": b"\0\0\0\0\0\1\0\7fetched\xff\xff\xff\xff"}]
    if version >= 1:
        fields["rebalance_timeout_ms"] = 10_000
    if version >= 5:
        fields["group_instance_id"] = instance
    return fields


def groups(o):
    o.until_ok("FindCoordinator", 2, lambda a: a["error_code"], key="first", key_type=0)
    o.until_ok("JoinGroup", 2, lambda a: a["error_code"] - 25, **join_fields("first", "stranger", 2))
    for version in range(7):
        keys = {"coordinator_keys": ["g"]} if version >= 4 else {"key": "g"}
        if version >= 1:
            keys["key_type"] = 0
        o.ask("FindCoordinator/group", "FindCoordinator", version, keep=located_coordinator, **keys)
        if version >= 1:
            o.ask("FindCoordinator/bad type", "FindCoordinator", version, keep=located_coordinator, **{**keys, "key_type": 9})
    for version in range(10):
        group = f"joined-v{version}"
        if version >= 4:
            first = o.answer("JoinGroup", version, **join_fields(group, "", version))
            o.note(f"JoinGroup/first/v{version}", named(first, group))
            member = first["member_id"]
        else:
            member = ""
        with Peer(o.address) as peer:
            joined = peer.ask("JoinGroup", version, **join_fields(group, member, version))
            o.note(f"JoinGroup/second/v{version}", named(joined, group))
            member = joined["member_id"]
            later = min(version, 5)
            sync = {"group_id": group, "generation_id": 1, "member_id": member, "assignments": [{"member_id": member, "assignment": b"abc"}]}
            if later >= 3:
                sync["group_instance_id"] = None
            if later >= 5:
                sync |= {"protocol_type": "consumer", "protocol_name": "range"}
            o.note(f"SyncGroup/v{later}/wrong generation", without(peer.ask("SyncGroup", later, **{**sync, "generation_id": 5}), {"throttle_time_ms"}))
            if later >= 5:
                o.note(f"SyncGroup/v{later}/wrong protocol", without(peer.ask("SyncGroup", later, **{**sync, "protocol_name": "x"}), {"throttle_time_ms"}))
            o.note(f"SyncGroup/v{later}", without(peer.ask("SyncGroup", later, **sync), {"throttle_time_ms"}))
            beat_version = min(version, 4)
            for label, generation, who in (("fine", 1, member), ("wrong generation", 3, member), ("stranger", 1, "stranger")):
                beat = {"group_id": group, "generation_id": generation, "member_id": who}
                if beat_version >= 3:
                    beat["group_instance_id"] = None
                o.note(f"Heartbeat/{label}/v{beat_version}", peer.ask("Heartbeat", beat_version, **beat)["error_code"])
            for describe in range(7):
                answer = peer.ask("DescribeGroups", describe, groups=[group, "no-such-group"], **({"include_authorized_operations": False} if describe >= 3 else {}))
                o.note(f"DescribeGroups/joined at v{version}/v{describe}", described(answer, group))
    for version in range(6):
        fields = ({"states_filter": []} if version >= 4 else {}) | ({"types_filter": []} if version >= 5 else {})
        answer = o.answer("ListGroups", version, **fields)
        listed = sorted((g for g in answer["groups"] if g["group_id"].startswith("joined-v")), key=lambda g: g["group_id"])
        o.note(f"ListGroups/v{version}", {"error_code": answer["error_code"], "groups": listed})
    o.ask("ListGroups/empty ones", "ListGroups", 4, states_filter=["empty"])
    o.ask("ListGroups/unknown state", "ListGroups", 4, states_filter=["Sleeping"])
    for version in range(6):
        group = f"joined-v{version}"
        if version >= 3:
            fields = {"members": [{"member_id": "stranger", "group_instance_id": None}]}
        else:
            fields = {"member_id": "stranger"}
        o.ask("LeaveGroup/stranger", "LeaveGroup", version, group_id=group, **fields)
    for version in range(3):
        o.ask("DeleteGroups", "DeleteGroups", version, keep=by_group, groups_names=[f"joined-v{version}", "no-such-group", ""])
    for label, fields in {
        "empty group": join_fields("", "", 5),
        "short session": {**join_fields("odd", "", 5), "session_timeout_ms": 1},
        "long session": {**join_fields("odd", "", 5), "session_timeout_ms": 10_000_000},
        "no protocols": {**join_fields("odd", "", 5), "protocols": []},
        "no protocol type": {**join_fields("odd", "", 5), "protocol_type": ""},
        "stranger": join_fields("odd", "stranger", 5),
    }.items():
        o.ask(f"JoinGroup/{label}", "JoinGroup", 5, **fields)


def by_group(answer):
    return {"results": {each["group_id"] or "no name": each["error_code"] for each in answer["results"]}}


def located_coordinator(answer):
    for each in [answer, *answer.get("coordinators", [])]:
        if "port" in each:
            each["port"] = "PORT" if each["port"] > 0 else each["port"]
    return spoken(answer)


def named(answer, group):
    """A join's answer without the ids that every broker makes up."""
    answer = without(answer, {"throttle_time_ms"})
    member = answer["member_id"]
    answer["member_id"] = re.sub(r"[0-9a-f-]{36}$", "UUID", member)
    if answer.get("leader"):
        answer["leader"] = "itself" if answer["leader"] == member else "another"
    for each in answer.get("members") or []:
        each["member_id"] = "itself" if each["member_id"] == member else "another"
    return answer


def described(answer, group):
    answer = without(answer, {"throttle_time_ms"})
    for each in answer["groups"]:
        for member in each.get("members") or []:
            member["member_id"] = re.sub(r"[0-9a-f-]{36}$", "UUID", member["member_id"])
    names = {group: "the group"}
    return spoken({names.get(each["group_id"], each["group_id"]): without(each, {"group_id"}) for each in answer["groups"]})


def offsets(o):
    for version in range(2, 11):
        group = f"committed-v{version}"
        id_or_name = (lambda name: {"topic_id": o.ids.get(name, uuid.UUID(int=77))}) if version >= 10 else (lambda name: {"name": name})
        rows = {"good": ("fetched", 0, "note"), "no such partition": ("fetched", 9, ""), "no such topic": ("not-there", 0, ""), "long note": ("fetched", 0, "x" * 5000), "null note": ("produce-v3", 0, None)}
        for label, (topic, partition, note) in rows.items():
            committed = {"partition_index": partition, "committed_offset": 5, "committed_metadata": note}
            if version >= 6:
                committed["committed_leader_epoch"] = 0
            fields = {"group_id": group, "generation_id_or_member_epoch": -1, "member_id": "", "topics": [{**id_or_name(topic), "partitions": [committed]}]}
            o.ask(f"OffsetCommit/{label}", "OffsetCommit", version, **fields)
            if label == "good":
                o.ask("OffsetCommit/generation without group", "OffsetCommit", version, **{**fields, "group_id": "no-such-group", "generation_id_or_member_epoch": 4, "member_id": "m"})
    for version in range(1, 11):
        for label, group in {"committed": "committed-v9", "unknown": "no-such-group"}.items():
            for what in ("named", "everything"):
                if what == "everything" and version < 2:
                    continue
                topic = {"partition_indexes": [0, 1, 9]} | ({"topic_id": o.ids["fetched"]} if version >= 10 else {"name": "fetched"})
                asked = [topic] if what == "named" else None
                if version >= 8:
                    one = {"group_id": group, "topics": asked} | ({"member_id": None, "member_epoch": -1} if version >= 9 else {})
                    fields = {"groups": [one], "require_stable": False}
                else:
                    fields = {"group_id": group, "topics": asked} | ({"require_stable": False} if version >= 7 else {})
                o.ask(f"OffsetFetch/{label}/{what}", "OffsetFetch", version, keep=sorted_partitions, **fields)
    for label, topic in {"there": "fetched", "not there": "not-there"}.items():
        o.ask(f"OffsetDelete/{label}", "OffsetDelete", 0, group_id="committed-v2", topics=[{"name": topic, "partitions": [{"partition_index": 0}]}])
    o.ask("OffsetDelete/no such group", "OffsetDelete", 0, group_id="no-such-group", topics=[{"name": "fetched", "partitions": [{"partition_index": 0}]}])


def sorted_partitions(answer):
    for holder in [answer, *answer.get("groups", [])]:
        if "topics" in holder:
            # By id the order is chance; the note tells the two topics apart.
            holder["topics"] = sorted(holder["topics"], key=lambda topic: topic.get("name") or topic["partitions"][0]["metadata"])
            for topic in holder["topics"]:
                topic["partitions"] = sorted(topic["partitions"], key=lambda partition: partition["partition_index"])
    return answer


def admin(o):
    for version in range(7 - 1):
        fields = {"transactional_id": None, "transaction_timeout_ms": 60_000}
        if version >= 3:
            fields |= {"producer_id": -1, "producer_epoch": -1}
        o.until_ok("InitProducerId", version, lambda a: a["error_code"], **fields)
        o.ask("InitProducerId", "InitProducerId", version, keep=lambda a: {**a, "producer_id": a["producer_id"] >= 0}, **fields)
        o.ask("InitProducerId/empty id", "InitProducerId", version, **{**fields, "transactional_id": ""})
    for version in range(3):
        for label, offset, partition in (("middle", 4, 0), ("all", -1, 0), ("beyond", 99, 0), ("negative", -7, 0), ("no such partition", 1, 9)):
            topic = {"name": "produce-v3", "partitions": [{"partition_index": partition, "offset": offset}]}
            o.ask(f"DeleteRecords/{label}", "DeleteRecords", version, topics=[topic], timeout_ms=5_000)
        compacted = {"name": "compacted", "partitions": [{"partition_index": 0, "offset": 0}]}
        o.ask("DeleteRecords/compacted", "DeleteRecords", version, topics=[compacted], timeout_ms=5_000)
    for version in range(3):
        for label, partitions in (("there", [0]), ("not there", [9])):
            fields = {"topic_partitions": [{"topic": "plain", "partitions": partitions}], "timeout_ms": 5_000}
            if version >= 1:
                fields["election_type"] = 0
            o.ask(f"ElectLeaders/{label}", "ElectLeaders", version, keep=spoken, **fields)
        o.ask("ElectLeaders/all", "ElectLeaders", version, keep=elections, topic_partitions=None, timeout_ms=5_000, **({"election_type": 0} if version >= 1 else {}))
    for version in range(3):
        update_features(o, version)
    for version in range(1, 6):
        o.ask("DescribeLogDirs", "DescribeLogDirs", version, keep=folders, topics=[{"topic": "fetched", "partitions": [0]}])
    o.ask("DescribeProducers", "DescribeProducers", 0, keep=spoken, topics=[{"name": "fetched", "partition_indexes": [0, 9]}])
    o.ask("ListPartitionReassignments", "ListPartitionReassignments", 0, timeout_ms=1_000, topics=None)
    o.ask("DescribeAcls", "DescribeAcls", 2, keep=spoken, resource_type_filter=1, resource_name_filter=None, pattern_type_filter=1, principal_filter=None, host_filter=None, operation=1, permission_type=1)
    rule = {"resource_type": 2, "resource_name": "fetched", "resource_pattern_type": 3, "principal": "User:a", "host": "*", "operation": 3, "permission_type": 3}
    o.ask("CreateAcls", "CreateAcls", 2, keep=spoken, creations=[rule, rule])
    every = {"resource_type_filter": 1, "resource_name_filter": None, "pattern_type_filter": 1, "principal_filter": None, "host_filter": None, "operation": 1, "permission_type": 1}
    o.ask("DeleteAcls", "DeleteAcls", 2, keep=spoken, filters=[every])
    o.ask("ListTransactions", "ListTransactions", 0, state_filters=[], producer_id_filters=[])
    o.ask("DescribeTransactions", "DescribeTransactions", 0, transactional_ids=["none"])
    o.ask("DescribeClientQuotas", "DescribeClientQuotas", 1, keep=spoken, components=[], strict=False)
    o.ask("DescribeUserScramCredentials", "DescribeUserScramCredentials", 0, keep=spoken, users=None)
    o.ask("ListConfigResources", "ListConfigResources", 1, keep=lambda a: {"error_code": a["error_code"]}, resource_types=[2])


FEATURES = {
    "unknown": [("no.version", 1, 1)],
    "unknown to zero": [("no.version", 0, 2)],
    "too high": [("transaction.version", 9, 1)],
    "negative": [("transaction.version", -1, 1)],
    "down": [("transaction.version", 1, 1)],
    "down, safely": [("transaction.version", 1, 2)],
    "down, whatever is lost": [("transaction.version", 1, 3)],
    "no such direction": [("transaction.version", 2, 9)],
    "the same": [("transaction.version", 2, 1)],
    "none": [],
    "one of two unknown": [("transaction.version", 2, 1), ("no.version", 1, 1)],
    "metadata, too high": [("metadata.version", 99, 1)],
    "metadata, down": [("metadata.version", 29, 2)],
}


def update_features(o, version):
    for label, updates in FEATURES.items():
        changes = any(direction != 1 for _, _, direction in updates)
        if version == 0 and changes:
            continue
        keys = [{"feature": name, "max_version_level": level, **({"upgrade_type": direction} if version else {"allow_downgrade": False})} for name, level, direction in updates]
        only = {"validate_only": True} if version else {}
        o.ask(f"UpdateFeatures/{label}", "UpdateFeatures", version, keep=spoken, feature_updates=keys, timeout_ms=5_000, **only)


def elections(answer):
    """In the order of names: Kafka's is that of a hash map."""
    return spoken({**answer, "replica_election_results": sorted(answer["replica_election_results"], key=lambda each: each["topic"])})


def folders(answer):
    for result in answer["results"]:
        result["log_dir"] = "a folder"
        for name in ("total_bytes", "usable_bytes"):
            if name in result:
                result[name] = result[name] > 0
    return answer


def clients(o):
    """What client libraries make of it."""
    librdkafka = BY_NAME["confluent-kafka"]
    for label, arguments in {
        "create twice": ("create", o.address, "plain", 1),
        "create with a bad name": ("create", o.address, "bad/name", 1),
        "configs of a missing topic": ("configs", o.address, "not-there"),
        "alter to nonsense": ("alter", o.address, "plain", "retention.ms=x"),
        "alter the unknown": ("alter", o.address, "plain", "no.such=x"),
        "delete a missing topic": ("delete", o.address, "not-there"),
    }.items():
        _, refusal = librdkafka.attempt(*arguments)
        code = re.search(r"code=(\w+)", refusal or "")
        o.note(f"librdkafka/{label}", code.group(1) if code else refusal)
    listing = subprocess.run(["kcat", "-b", o.address, "-L", "-J", "-t", "plain"], capture_output=True, text=True, timeout=30)
    o.note("kcat -L", json.dumps(json.loads(listing.stdout)["topics"], sort_keys=True) if listing.returncode == 0 else listing.stderr)
