"""Apache's own command line tools, as they come: 4.3.1 in full, and what old installations (2.8.0) still type."""

import contextlib
import json
import pathlib
import re
import subprocess

import pytest

from harness.drivers import NEUTRAL, lately, until
from harness.tools import VERSIONS, Tools

LATEST = Tools("4.3.1")


@pytest.fixture(params=VERSIONS)
def tools(request):
    return Tools(request.param)


@pytest.fixture
def at(broker):
    return ("--bootstrap-server", broker.address)


def filled(broker, topic, partitions=1, base_ms=None):
    """A topic with sixty records."""
    NEUTRAL.run("create", broker.address, topic, partitions)
    NEUTRAL.run("produce", broker.address, topic, "none", "all", "1", 60, base_ms or lately())


def test_quickstart_of_the_documentation(tools, at):
    topic = f"myevent-{tools.version}"
    out = tools.run("kafka-topics", "--create", "--topic", topic, *at)
    assert f"Created topic {topic}." in out.splitlines(), out
    out = tools.run("kafka-topics", "--describe", "--topic", topic, *at)
    assert re.search(rf"^Topic: {topic}\s.*PartitionCount: 1\s+ReplicationFactor: 1\s+Configs:", out, re.M), out
    assert re.search(rf"^\tTopic: {topic}\tPartition: 0\tLeader: (\d+)\tReplicas: \1\tIsr: \1", out, re.M), out
    tools.run("kafka-console-producer", "--topic", topic, *at, stdin="This is my first event\nThis is my second event\n")
    read = ("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "2", "--timeout-ms", "15000", *at)
    assert tools.run(*read).splitlines() == ["This is my first event", "This is my second event"]
    assert topic in tools.run("kafka-topics", "--list", *at).splitlines()


def test_console_producer_creates_the_topic_it_names(tools, at):
    topic = f"made-on-demand-{tools.version}"
    tools.run("kafka-console-producer", "--topic", topic, *at, "--property", "parse.key=true", "--property", "key.separator=:", stdin="a:1\nb:2\n")
    out = tools.run(
        "kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "2", "--timeout-ms", "15000", *at,
        "--property", "print.key=true", "--property", "print.offset=true", "--property", "print.partition=true",
    )
    records = [line for line in out.splitlines() if not line.startswith("Option --property is deprecated")]
    assert sorted(records) == ["Partition:0\tOffset:0\ta\t1", "Partition:0\tOffset:1\tb\t2"], out


def test_topic_refusals_are_readable(tools, at, topic):
    for arguments, words in [
        (("--create", "--topic", "bad name!"), "InvalidTopicException"),
        (("--create", "--topic", topic, "--partitions", "0"), "greater than 0"),
        (("--create", "--topic", topic, "--replication-factor", "9"), "InvalidReplicationFactorException"),
        (("--create", "--topic", topic, "--config", "no.such=1"), "no.such"),
        (("--describe", "--topic", "not-there"), "not-there"),
    ]:
        code, out, error = tools.attempt("kafka-topics", *arguments, *at)
        assert code != 0 and words in out + error, f"{arguments}: {code} {(out + error)[-300:]}"


def test_partitions_are_added(tools, at, topic):
    tools.run("kafka-topics", "--create", "--topic", topic, "--partitions", "2", *at)
    tools.run("kafka-topics", "--alter", "--topic", topic, "--partitions", "5", *at)
    assert "PartitionCount: 5" in tools.run("kafka-topics", "--describe", "--topic", topic, *at)
    code, out, error = tools.attempt("kafka-topics", "--alter", "--topic", topic, "--partitions", "3", *at)
    assert code != 0 and "InvalidPartitionsException" in out + error, out + error
    tools.run("kafka-topics", "--delete", "--topic", topic, *at)
    assert topic not in tools.run("kafka-topics", "--list", *at).splitlines()


def test_only_overridden_configs_are_described(tools, at, topic):
    tools.run("kafka-topics", "--create", "--topic", topic, "--config", "retention.ms=3600000", "--config", "cleanup.policy=compact", *at)
    line = tools.run("kafka-topics", "--describe", "--topic", topic, *at).splitlines()[0]
    listed = {pair for pair in line.split("Configs: ")[1].strip().split(",")}
    # Kafka 4 formats its storage with a cluster-wide min.insync.replicas=1, and lists it as no default of the software.
    assert listed - {"min.insync.replicas=1"} == {"retention.ms=3600000", "cleanup.policy=compact"}, line


def test_configs_of_a_topic(tools, at, topic):
    tools.run("kafka-topics", "--create", "--topic", topic, *at)
    entity = ("--entity-type", "topics", "--entity-name", topic)
    tools.run("kafka-configs", *at, *entity, "--alter", "--add-config", "retention.ms=1000,cleanup.policy=[compact,delete]")
    out = tools.run("kafka-configs", *at, *entity, "--describe")
    assert re.search(r"retention.ms=1000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention.ms=1000", out), out
    assert "cleanup.policy=compact,delete" in out, out
    tools.run("kafka-configs", *at, *entity, "--alter", "--delete-config", "retention.ms")
    assert "retention.ms" not in tools.run("kafka-configs", *at, *entity, "--describe")
    code, out, error = tools.attempt("kafka-configs", *at, *entity, "--alter", "--add-config", "retention.ms=soon")
    assert code != 0 and "retention.ms" in out + error, out + error
    everything = tools.run("kafka-configs", *at, *entity, "--describe", "--all")
    assert len(re.findall(r"^  \S+=", everything, re.M)) >= 26, everything


def test_configs_of_a_broker(at, broker):
    node = re.search(r"\(id: (\d+)", LATEST.run("kafka-broker-api-versions", *at)).group(1)
    everything = LATEST.run("kafka-configs", *at, "--entity-type", "brokers", "--entity-name", node, "--describe", "--all")
    for key in ("log.retention.hours=168", "num.partitions=1", "message.max.bytes=1048588"):
        assert re.search(rf"^  {re.escape(key)} sensitive=false synonyms=\{{", everything, re.M), f"{key} is missing"
    change = ("--entity-type", "brokers", "--entity-name", node)
    LATEST.run("kafka-configs", *at, *change, "--alter", "--add-config", "log.cleaner.threads=2")
    assert "log.cleaner.threads=2" in LATEST.run("kafka-configs", *at, *change, "--describe")
    LATEST.run("kafka-configs", *at, *change, "--alter", "--delete-config", "log.cleaner.threads")
    LATEST.run("kafka-configs", *at, "--entity-type", "brokers", "--entity-default", "--alter", "--add-config", "message.max.bytes=2000000")
    assert "message.max.bytes=2000000" in LATEST.run("kafka-configs", *at, "--entity-type", "brokers", "--entity-default", "--describe")
    LATEST.run("kafka-configs", *at, "--entity-type", "brokers", "--entity-default", "--alter", "--delete-config", "message.max.bytes")
    code, out, error = LATEST.attempt("kafka-configs", *at, *change, "--alter", "--add-config", "log.dirs=/tmp/x")
    assert code != 0 and "log.dirs" in out + error, out + error


def test_groups_listed_described_reset_deleted(tools, at, broker, topic):
    filled(broker, topic)
    group = f"group-{topic}"
    read = ("--topic", topic, "--from-beginning", "--max-messages", "20", "--timeout-ms", "20000", "--group", group)
    tools.run("kafka-console-consumer", *read, *at)
    assert group in tools.run("kafka-consumer-groups", *at, "--list").split()

    def described():
        _, out, error = tools.attempt("kafka-consumer-groups", *at, "--describe", "--group", group)
        found = re.search(rf"^{group}\s+{topic}\s+0\s+(\S+)\s+(\S+)\s+(\S+)\s", out, re.M)
        assert found, out + error
        return found.groups()

    current, end, lag = described()
    assert (int(end), int(current) + int(lag)) == (60, 60), (current, end, lag)
    code, out, error = tools.attempt("kafka-consumer-groups", *at, "--describe", "--group", "no-such-group")
    assert "does not exist" in out + error or "Group no-such-group not found" in out + error, out + error
    state = tools.run("kafka-consumer-groups", *at, "--describe", "--group", group, "--state")
    assert "Empty" in state, state
    reset = ("--reset-offsets", "--group", group, "--topic", topic)
    plan = tools.run("kafka-consumer-groups", *at, *reset, "--to-offset", "7", "--dry-run")
    assert re.search(rf"{group}\s+{topic}\s+0\s+7", plan), plan
    assert described()[0] == current, "a dry run changed the offset"
    tools.run("kafka-consumer-groups", *at, *reset, "--to-offset", "7", "--execute")
    assert described() == ("7", "60", "53")
    for choice, want in [(("--to-earliest",), "0"), (("--shift-by", "11"), "11"), (("--to-latest",), "60"), (("--to-datetime", "2020-01-01T00:00:00.000"), "0")]:
        tools.run("kafka-consumer-groups", *at, *reset, *choice, "--execute")
        assert described()[0] == want, choice
    out = tools.run("kafka-consumer-groups", *at, "--delete-offsets", "--group", group, "--topic", topic)
    assert "Successful" in out, out
    out = tools.run("kafka-consumer-groups", *at, "--delete", "--group", group)
    assert "successful" in out, out
    assert group not in tools.run("kafka-consumer-groups", *at, "--list").split()


def test_members_of_a_group_are_described(tools, at, broker, topic):
    filled(broker, topic, partitions=2)
    member = NEUTRAL.start("member", broker.address, topic, f"m-{topic}")
    try:
        until(lambda: member.assigned == [0, 1], 30, member.state)
        out = tools.run("kafka-consumer-groups", *at, "--describe", "--group", f"m-{topic}", "--members", "--verbose")
        assert re.search(rf"^m-{topic}\s+(rdkafka-\S+)\s+/127\.0\.0\.1\s+rdkafka\s+2\s", out, re.M), out
        assert re.search(rf"{topic}\(0,\s?1\)|{topic}:0,1", out), out
        assert re.search(r"Stable\s+1", tools.run("kafka-consumer-groups", *at, "--describe", "--group", f"m-{topic}", "--state"))
        code, out, error = tools.attempt("kafka-consumer-groups", *at, "--delete", "--group", f"m-{topic}")
        assert "GroupNotEmptyException" in out + error, out + error
    finally:
        member.kill()


def test_get_offsets(tools, at, broker, topic):
    base_ms = lately()
    filled(broker, topic, base_ms=base_ms)
    option = "--broker-list" if tools.version == "2.8.0" else "--bootstrap-server"
    for time_, want in [("-1", 60), ("-2", 0), (str(base_ms + 31), 31)]:
        out = tools.run("kafka-get-offsets", option, broker.address, "--topic", topic, "--time", time_)
        assert out.split() == [f"{topic}:0:{want}"], f"--time {time_}: {out}"
    if tools.version != "2.8.0":
        for time_, want in [("earliest", 0), ("latest", 60), ("max-timestamp", 59), ("earliest-local", 0)]:
            out = tools.run("kafka-get-offsets", *at, "--topic", topic, "--time", time_)
            assert out.split() == [f"{topic}:0:{want}"], f"--time {time_}: {out}"


def test_broker_api_versions(tools, at):
    out = tools.run("kafka-broker-api-versions", *at)
    usable = dict(re.findall(r"^\t(\w+)\(\d+\): .*\[usable: (\d+)", out, re.M))
    for name in ("Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "OffsetFetch", "FindCoordinator", "JoinGroup", "Heartbeat",
                 "LeaveGroup", "SyncGroup", "DescribeGroups", "ListGroups", "ApiVersions", "CreateTopics", "DeleteTopics", "DeleteRecords",
                 "InitProducerId", "DescribeConfigs", "AlterConfigs", "DescribeLogDirs", "CreatePartitions", "DeleteGroups", "ElectLeaders",
                 "IncrementalAlterConfigs", "OffsetDelete"):
        assert name in usable, f"{name} is not usable:\n{out}"
    assert "UNKNOWN" not in out or tools.version == "2.8.0", out


def test_delete_records(tools, at, broker, topic, tmp_path):
    filled(broker, topic)
    plan = tmp_path / "delete.json"
    plan.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": 25}], "version": 1}))
    out = tools.run("kafka-delete-records", *at, "--offset-json-file", plan)
    assert re.search(rf"partition: {topic}-0\tlow_watermark: 25", out), out
    read = ("--topic", topic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "15000")
    assert tools.run("kafka-console-consumer", *read, *at).startswith("value-25-")
    plan.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": 1000}], "version": 1}))
    code, out, error = tools.attempt("kafka-delete-records", *at, "--offset-json-file", plan)
    assert "OffsetOutOfRange" in out + error, out + error


def test_log_dirs(tools, at, broker, topic):
    filled(broker, topic)
    out = tools.run("kafka-log-dirs", *at, "--describe", "--topic-list", topic)
    (answer,) = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    (folder,) = answer["brokers"][0]["logDirs"]
    (partition,) = folder["partitions"]
    assert folder["error"] is None and partition["partition"] == f"{topic}-0" and not partition["isFuture"], answer
    assert partition["size"] == (broker.data / f"{topic}-0/00000000000000000000.log").stat().st_size


def test_leader_election(tools, at, broker, topic):
    filled(broker, topic)
    code, out, error = tools.attempt("kafka-leader-election", *at, "--election-type", "PREFERRED", "--topic", topic, "--partition", "0")
    assert code == 0 and "Valid replica already elected for partitions" in out, out + error
    _, out, error = tools.attempt("kafka-leader-election", *at, "--election-type", "PREFERRED", "--topic", "not-there", "--partition", "0")
    assert "UnknownTopicOrPartition" in out + error or "not-there-0" in out + error, out + error


def test_performance_tools(tools, at, broker, topic):
    NEUTRAL.run("create", broker.address, topic, 3)
    out = tools.run(
        "kafka-producer-perf-test", "--topic", topic, "--num-records", "20000", "--record-size", "100", "--throughput", "-1",
        "--producer-props", f"bootstrap.servers={broker.address}", "compression.type=lz4",
    )
    assert re.search(r"^20000 records sent, [\d.]+ records/sec", out, re.M), out
    count = "--messages" if tools.version == "2.8.0" else "--num-records"
    out = tools.run("kafka-consumer-perf-test", *at, "--topic", topic, count, "20000", "--timeout", "30000")
    assert re.search(r", 20\d{3}, ", out), out


def test_verifiable_clients(tools, at, broker, topic):
    NEUTRAL.run("create", broker.address, topic, 2)
    server = ("--broker-list", broker.address) if tools.version == "2.8.0" else at
    out = tools.run("kafka-verifiable-producer", *server, "--topic", topic, "--max-messages", "500", "--acks", "-1")
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert events[-1]["name"] == "tool_data" and events[-1]["acked"] == 500, events[-1]
    words = tools.command("kafka-verifiable-consumer", *server, "--topic", topic, "--group-id", f"v-{topic}", "--max-messages", "500", "--reset-policy", "earliest")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    read = sum(event["count"] for event in events if event["name"] == "records_consumed")
    assert read == 500, f"{read} records consumed: {done.stderr[-300:]}"
    assert all(event["success"] for event in events if event["name"] == "offsets_committed"), events


def test_cluster_features_and_quorum(at):
    assert re.fullmatch(r"Cluster ID: [\w-]{22}\s*", LATEST.run("kafka-cluster", "cluster-id", *at))
    features = LATEST.run("kafka-features", *at, "describe")
    assert re.search(r"^Feature: metadata.version\s+SupportedMinVersion: \S+\s+SupportedMaxVersion: \S+\s+FinalizedVersionLevel: \S+", features, re.M), features
    # As a cluster of an earlier release is brought up to date.
    for word, level in (("downgrade", 1), ("upgrade", 2)):
        LATEST.run("kafka-features", *at, word, "--feature", f"transaction.version={level}")
        found = LATEST.run("kafka-features", *at, "describe")
        assert re.search(rf"^Feature: transaction.version\s.*FinalizedVersionLevel: {level}\b", found, re.M), found
    code, out, error = LATEST.attempt("kafka-features", *at, "upgrade", "--feature", "transaction.version=9", "--dry-run")
    assert code == 1 and "only supports versions 0-2" in out + error, out + error
    status = LATEST.run("kafka-metadata-quorum", *at, "describe", "--status")
    for word in ("ClusterId:", "LeaderId:", "LeaderEpoch:", "HighWatermark:", "CurrentVoters:"):
        assert word in status, status
    replication = LATEST.run("kafka-metadata-quorum", *at, "describe", "--replication")
    assert re.search(r"^NodeId\s+DirectoryId\s+LogEndOffset\s+Lag", replication) and "Leader" in replication, replication


CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def test_dump_log_reads_every_file(broker, topic):
    """`.log`, `.index`, `.timeindex` and `.snapshot`, of rolled segments and of the active one, in all codecs."""
    small = ("segment.bytes=1048576", "index.interval.bytes=200")
    NEUTRAL.run("create", broker.address, topic, 1, *small)
    sent, base_ms = 0, lately()
    for round_ in range(4):
        for codec in CODECS:
            NEUTRAL.run("produce", broker.address, topic, codec, "all", "1", 1500, base_ms + sent)
            sent += 1500
    broker.stop()
    try:
        folder = pathlib.Path(broker.data / f"{topic}-0")
        logs = sorted(folder.glob("*.log"))
        snapshots = sorted(folder.glob("*.snapshot"))
        assert len(logs) > 1, f"no segment was rolled: {sorted(each.name for each in folder.iterdir())}"
        assert snapshots, "no producer snapshot after an orderly stop"
        out = LATEST.run("kafka-dump-log", "--deep-iteration", "--print-data-log", "--files", ",".join(str(log) for log in logs))
        offsets = [int(n) for n in re.findall(r"^\| offset: (\d+) ", out, re.M)]
        assert offsets == list(range(sent)), f"{len(offsets)} records dumped, {sent} sent"
        assert out.count("isvalid: true") == len(re.findall(r"^baseOffset: ", out, re.M)) > 0
        assert {each for each in re.findall(r"compresscodec: (\w+)", out)} == set(CODECS)
        for log in logs:
            assert log.with_suffix(".index").exists() and log.with_suffix(".timeindex").exists(), log.name
        indexes = ",".join(str(log.with_suffix(suffix)) for log in logs for suffix in (".index", ".timeindex"))
        out = LATEST.run("kafka-dump-log", "--files", indexes)
        for complaint in ("Mismatches", "out of order", "not found", "corrupt", "Exception", "non-consecutive"):
            assert complaint not in out, f"{complaint}: {out[:500]}"
        assert len(re.findall(r"^offset: \d+ position: \d+", out, re.M)) > 10, out[:300]
        assert len(re.findall(r"^timestamp: \d+ offset: \d+", out, re.M)) >= len(logs), out[:300]
        out = LATEST.run("kafka-dump-log", "--index-sanity-check", "--files", ",".join(str(log.with_suffix(".index")) for log in logs))
        assert out.count("passed sanity check") == len(logs), out
        out = LATEST.run("kafka-dump-log", "--files", str(snapshots[-1]))
        assert len(re.findall(r"^producerId: \d+ producerEpoch: 0 ", out, re.M)) == 4 * len(CODECS), out
    finally:
        broker.start()
