"""What is typed at both tools, in order. `{}` becomes `apache` or `milena`."""

import dataclasses


@dataclasses.dataclass
class Step:
    """One call. `setup` steps run even if others are chosen; `unordered` output comes in Java's order of a hash table.

    From the first step that `needs_members` on, the groups `{}-live` have a member each.
    """

    tool: str
    arguments: list
    stdin: str = ""
    connects: bool = True
    setup: bool = False
    unordered: bool = False
    needs_members: bool = False


def step(tool, line, **more):
    return Step(tool, line.split(" ") if line else [], **more)


def topics(line, **more):
    return step("kafka-topics", line, **more)


def produce(line, stdin="", **more):
    return step("kafka-console-producer", line, stdin=stdin, **more)


def consume(line, **more):
    return step("kafka-console-consumer", line, **more)


def groups(line, **more):
    return step("kafka-consumer-groups", line, **more)


def configs(line, **more):
    return step("kafka-configs", line, **more)


def offsets(line, **more):
    return step("kafka-get-offsets", line, **more)


ALL_FIELDS = "".join(f"--formatter-property print.{field}=true " for field in ("timestamp", "partition", "offset", "headers", "key"))

STEPS = [
    # kafka-topics: create
    topics("--create --topic {}-one --partitions 3", setup=True),
    topics("--create --topic {}-one"),
    topics("--create --topic {}-one --if-not-exists"),
    topics("--create --topic {}-with.dot --config retention.ms=1000 --config cleanup.policy=compact"),
    topics("--create --topic {}-assigned --replica-assignment 1,1"),
    topics("--create --topic {}-bad --config bogus=1"),
    topics("--create --topic {}-bad --config retention.ms=never"),
    topics("--create --topic {}-bad --config retention.ms"),
    topics("--create --topic {}-bad --replication-factor 3"),
    topics("--create --topic {}-bad --replication-factor 0"),
    topics("--create --topic {}-bad --partitions 0"),
    topics("--create --topic {}-bad/slash"),
    topics("--create --topic {}-bad --partitions two"),
    topics("--create --topic {}-bad --replica-assignment 1:1"),
    topics("--create --topic {}-bad --replica-assignment 1,1:2"),
    # kafka-topics: refused
    topics("--create --partitions 1"),
    topics("--list --create --topic {}-x"),
    topics("--list --topic {}-one --partitions 1"),
    topics("--list", connects=False),
    topics("--describe --topic {}-one --bogus"),
    topics("--list --topic {}-one --topic {}-two"),
    topics("--help", connects=False),
    topics("--version", connects=False),
    topics("", connects=False),
    # kafka-topics: list, describe, alter
    topics("--list"),
    topics("--list --topic {}-.*"),
    topics("--list --topic nothing"),
    topics("--list --exclude-internal"),
    topics("--describe --topic {}-one"),
    topics("--describe --topic {}-with.dot"),
    topics("--describe", unordered=True),
    topics("--describe --topic nothing"),
    topics("--describe --topic nothing --if-exists"),
    topics("--describe --under-replicated-partitions"),
    topics("--describe --unavailable-partitions"),
    topics("--describe --under-min-isr-partitions"),
    topics("--describe --at-min-isr-partitions --topic {}-one"),
    topics("--describe --topics-with-overrides --topic {}-with.dot"),
    topics("--describe --topic-id AAAAAAAAAAAAAAAAAAAAAQ"),
    topics("--alter --topic {}-assigned --partitions 4"),
    topics("--alter --topic {}-assigned --partitions 4"),
    topics("--alter --topic {}-assigned --partitions 2"),
    topics("--alter --topic nothing --partitions 2"),
    topics("--alter --topic {}-one"),
    topics("--describe --topic {}-assigned"),
    # kafka-console-producer
    produce("--topic {}-lines", "one\ntwo\nthree\n", setup=True),
    produce("--topic {}-one --reader-property parse.key=true --reader-property key.separator=:", "a:1\nb:2\nc:3\na:4\nd:5\n", setup=True),
    produce("--topic {}-lines --property parse.key=true", "no key here\n"),
    produce("--topic {}-headers --reader-property parse.headers=true --reader-property parse.key=true", "h:1,i:2\tkey\tvalue\n"),
    produce("--topic {}-lines --compression-codec zstd --request-required-acks 1 --sync", "four\n"),
    produce("--topic {}-lines --reader-property null.marker=NULL", "NULL\n"),
    produce("--topic {}-lines --producer-property acks=1 --command-property acks=1"),
    produce(""),
    produce("--topic {}-lines", connects=False),
    produce("--topic {}-lines --bogus"),
    # kafka-console-consumer
    consume("--topic {}-lines --from-beginning --max-messages 5"),
    consume("--topic {}-lines --from-beginning --timeout-ms 10000"),
    consume("--topic {}-one --from-beginning --max-messages 5 --formatter-property print.key=true", unordered=True),
    consume(f"--topic {{}}-headers --from-beginning --max-messages 1 {ALL_FIELDS}".strip()),
    consume(f"--topic {{}}-headers --from-beginning --max-messages 1 {ALL_FIELDS}--formatter-property key.separator=|".strip()),
    consume("--topic {}-lines --partition 0 --offset 1 --max-messages 2"),
    consume("--topic {}-lines --partition 0 --offset earliest --max-messages 1 --property print.offset=true"),
    consume("--topic {}-lines --from-beginning --max-messages 1 --formatter-property print.epoch=true --formatter-property print.delivery=true"),
    consume("--include {}-li.* --from-beginning --max-messages 2"),
    consume("--topic {}-lines --group {}-group --from-beginning --max-messages 2", setup=True),
    consume("--topic {}-lines --group {}-group --max-messages 2"),
    consume("--topic {}-one --consumer-property group.id={}-owner --from-beginning --max-messages 5 --formatter-property print.value=false"),
    consume("--topic {}-lines --partition 0 --offset latest --timeout-ms 3000"),
    consume("--topic {}-lines --offset 1"),
    consume("--topic {}-lines --partition 0 --offset -5"),
    consume("--topic {}-lines --partition 0 --group g"),
    consume("--topic {}-lines --from-beginning --consumer-property auto.offset.reset=latest"),
    consume("--topic {}-lines --property print.key=true --formatter-property print.key=true"),
    consume(""),
    consume("--topic {}-lines", connects=False),
    # kafka-consumer-groups
    groups("--list", unordered=True),
    groups("--list --state", unordered=True),
    groups("--list --state empty --type", unordered=True),
    groups("--list --state sleepy"),
    groups("--describe --group {}-group"),
    groups("--describe --group {}-group --verbose"),
    groups("--describe --group {}-group --members"),
    groups("--describe --group {}-group --members --verbose"),
    groups("--describe --group {}-group --state"),
    groups("--describe --group {}-group --state --verbose"),
    groups("--describe --group nothing"),
    groups("--describe"),
    groups("--describe --group {}-group --members --state"),
    groups("--reset-offsets --group {}-group --topic {}-lines --to-earliest"),
    groups("--reset-offsets --group {}-group --topic {}-lines --to-latest --dry-run"),
    groups("--reset-offsets --group {}-group --all-topics --shift-by -1 --execute"),
    groups("--reset-offsets --group {}-group --topic {}-lines:0 --to-offset 1000 --execute"),
    groups("--reset-offsets --group {}-group --topic {}-lines --to-datetime 2020-01-01T00:00:00.000 --execute --export"),
    groups("--reset-offsets --group {}-group --topic {}-lines --by-duration PT0S --dry-run"),
    groups("--reset-offsets --group {}-group --topic {}-lines --to-current --dry-run"),
    groups("--reset-offsets --group {}-new --topic {}-one --to-earliest --execute", unordered=True),
    groups("--reset-offsets --group {}-group --topic {}-lines:7 --to-earliest --execute"),
    groups("--reset-offsets --group {}-group --topic {}-lines --execute"),
    groups("--reset-offsets --group {}-group --to-earliest --execute"),
    groups("--describe --all-groups", unordered=True),
    groups("--delete-offsets --group {}-group --topic {}-lines"),
    groups("--delete-offsets --group {}-group --topic nothing"),
    groups("--delete --group {}-group"),
    groups("--delete --group {}-group"),
    groups("--describe --group {}-live --members", needs_members=True),
    groups("--describe --group {}-live --members --verbose", needs_members=True),
    groups("--describe --group {}-live --state", needs_members=True),
    groups("--list --state stable", needs_members=True, unordered=True),
    groups("--reset-offsets --group {}-live --topic {}-lines --to-earliest --execute", needs_members=True),
    groups("--delete --group {}-live", needs_members=True),
    groups("--delete-offsets --group {}-live --topic {}-lines", needs_members=True),
    groups("--validate-regex foo.*", connects=False),
    groups("--list --bogus"),
    groups("--list --describe --group g"),
    groups("--list", connects=False),
    # kafka-configs
    configs("--describe --topic {}-one"),
    configs("--alter --topic {}-one --add-config retention.ms=100000,cleanup.policy=[compact,delete]"),
    configs("--describe --topic {}-one"),
    configs("--describe --entity-type topics --entity-name {}-one --all"),
    configs("--alter --topic {}-one --delete-config retention.ms"),
    configs("--alter --topic {}-one --add-config bogus=1"),
    configs("--alter --topic {}-one --add-config retention.ms=never"),
    configs("--alter --topic {}-one --add-config retention.ms"),
    configs("--alter --topic nothing --add-config retention.ms=1"),
    configs("--alter --topic {}-one"),
    configs("--alter --add-config retention.ms=1"),
    configs("--alter --entity-type topics --add-config retention.ms=1"),
    configs("--describe --topic nothing"),
    configs("--describe --entity-type topics", unordered=True),
    configs("--describe --entity-type brokers --entity-name 1"),
    configs("--describe --broker-defaults"),
    configs("--describe --broker seven"),
    configs("--describe --broker 7"),
    configs("--alter --broker-defaults --add-config log.retention.ms=360000000"),
    configs("--describe --broker-defaults"),
    configs("--alter --broker-defaults --delete-config log.retention.ms"),
    configs("--describe --entity-type bogus"),
    configs("--describe --entity-type topics --topic {}-one"),
    configs("--describe --bogus"),
    configs("--describe --topic {}-one", connects=False),
    configs("--topic {}-one"),
    # kafka-get-offsets
    offsets("--topic {}-lines"),
    offsets("--topic {}-one --time earliest"),
    offsets("--topic {}-one --time -1 --partitions 0,2"),
    offsets("--topic {}-lines --time 1000"),
    offsets("--topic {}-lines --time 99999999999999"),
    offsets("--topic {}-lines --time max-timestamp"),
    offsets("--topic-partitions {}-one:0-2,{}-lines"),
    offsets("--topic-partitions {}-one:1- --topic x"),
    offsets("--topic nothing"),
    offsets("--topic {}-lines --time yesterday"),
    offsets("--topic {}-lines --partitions a"),
    offsets("--topic {}-lines", connects=False),
    offsets("--bogus"),
    offsets(""),
    offsets("", connects=False),
    # kafka-broker-api-versions
    step("kafka-broker-api-versions", ""),
    step("kafka-broker-api-versions", "", connects=False),
    step("kafka-broker-api-versions", "--bogus"),
    # kafka-leader-election
    step("kafka-leader-election", "--election-type preferred --all-topic-partitions"),
    step("kafka-leader-election", "--election-type PREFERRED --topic {}-one --partition 0"),
    step("kafka-leader-election", "--election-type wrong --all-topic-partitions"),
    step("kafka-leader-election", "--election-type preferred"),
    step("kafka-leader-election", "--topic {}-one", connects=False),
    # kafka-cluster
    step("kafka-cluster", "cluster-id"),
    step("kafka-cluster", "list-endpoints --include-fenced-brokers"),
    step("kafka-cluster", "unregister --id 7"),
    # kafka-reassign-partitions
    step("kafka-reassign-partitions", "--list"),
    step("kafka-reassign-partitions", "--verify --list"),
    step("kafka-reassign-partitions", "--execute"),
    step("kafka-reassign-partitions", "--list --throttle 5"),
    # kafka-groups
    step("kafka-groups", "--list", unordered=True),
    step("kafka-groups", "--list --consumer", unordered=True),
    step("kafka-groups", "--list --group-type classic", unordered=True),
    step("kafka-groups", "--list --protocol nothing"),
    step("kafka-groups", "--list --group-type bogus"),
    step("kafka-groups", ""),
    step("kafka-groups", "--list", connects=False),
    # kafka-log-dirs
    step("kafka-log-dirs", "--describe --topic-list {}-lines"),
    step("kafka-log-dirs", "--describe --topic-list nothing --broker-list 1"),
    step("kafka-log-dirs", "--describe --broker-list 1,9"),
    step("kafka-log-dirs", "--describe --broker-list one"),
    step("kafka-log-dirs", ""),
    step("kafka-log-dirs", "--describe", connects=False),
    # kafka-delete-records
    step("kafka-delete-records", "--offset-json-file {folder}/{}-offsets.json", unordered=True),
    step("kafka-delete-records", "--offset-json-file {folder}/{}-twice.json"),
    step("kafka-delete-records", "--offset-json-file {folder}/{}-version.json"),
    step("kafka-delete-records", "--offset-json-file {folder}/nothing.json"),
    step("kafka-delete-records", ""),
    offsets("--topic {}-lines --time earliest"),
    # the end
    topics("--delete --topic {}-one"),
    topics("--delete --topic {}-one"),
    topics("--delete --topic {}-one --if-exists"),
    topics("--delete --topic {}-.*"),
    topics("--list"),
]
