"""Everything that the admin clients of librdkafka and kafka-python offer and a single plaintext broker can answer."""

import time

import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, OffsetSpec, ResourceType
from kafka import KafkaAdminClient, KafkaConsumer
from kafka import TopicPartition as Place

from harness.drivers import NEUTRAL, until


@pytest.fixture
def admin(broker):
    return AdminClient({"bootstrap.servers": broker.address})


@pytest.fixture
def pure(broker):
    """kafka-python's admin client."""
    client = KafkaAdminClient(bootstrap_servers=[broker.address])
    yield client
    client.close()


@pytest.fixture
def filled(broker, topic):
    """A topic of two partitions with 60 records."""
    NEUTRAL.run("create", broker.address, topic, 2)
    NEUTRAL.run("produce", broker.address, topic, "none", "all", "0", 60, int(time.time() * 1000) - 60_000)
    return topic


@pytest.fixture
def group(broker, filled):
    """A group with one member, which has read and committed everything."""
    name = f"g-{filled}"
    member = NEUTRAL.start("member", broker.address, filled, name)
    until(lambda: sum(member.committed.values()) == 60, 40, member.state)
    yield name
    member.kill()


def only(futures):
    """The result of the one future; the dictionary must stay whole, as the client finds its futures in it."""
    (future,) = futures.values()
    return future.result(20)


def test_cluster(admin, broker):
    cluster = admin.describe_cluster(request_timeout=30).result(30)
    assert len(cluster.cluster_id) == 22 and cluster.controller is not None
    assert [(node.host, node.port) for node in cluster.nodes] == [("127.0.0.1", broker.port)]


def test_topics_described(admin, filled):
    described = only(admin.describe_topics(TopicCollection([filled])))
    assert described.name == filled and not described.is_internal and len(described.partitions) == 2
    for partition in described.partitions:
        assert [node.id for node in partition.isr] == [node.id for node in partition.replicas] == [partition.leader.id]
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
        only(admin.describe_topics(TopicCollection(["not-there"])))


def test_offsets_listed(admin, filled):
    def offset(spec):
        futures = admin.list_offsets({TopicPartition(filled, p): spec for p in range(2)}, isolation_level=IsolationLevel.READ_COMMITTED)
        return sum(future.result(30).offset for future in futures.values())

    assert offset(OffsetSpec.earliest()) == 0
    assert offset(OffsetSpec.latest()) == 60
    assert offset(OffsetSpec.max_timestamp()) == 58


def test_partitions_added_and_records_deleted(admin, filled):
    admin.create_partitions([NewPartitions(filled, 4)])[filled].result(30)
    until(lambda: len(admin.list_topics(filled, 30).topics[filled].partitions) == 4, 30, lambda: "four partitions")
    with pytest.raises(KafkaException, match="INVALID_PARTITIONS"):
        admin.create_partitions([NewPartitions(filled, 1)])[filled].result(30)
    deleted = only(admin.delete_records([TopicPartition(filled, 0, 3)], request_timeout=20))
    assert deleted.low_watermark == 3


def test_groups(admin, filled, group):
    listed = admin.list_consumer_groups(request_timeout=30).result(30)
    assert group in [each.group_id for each in listed.valid if each.state == ConsumerGroupState.STABLE and not each.is_simple_consumer_group]
    described = admin.describe_consumer_groups([group])[group].result(30)
    (member,) = described.members
    assert described.partition_assignor == "range" and described.state == ConsumerGroupState.STABLE
    assert member.host == "/127.0.0.1" and {p.partition for p in member.assignment.topic_partitions} == {0, 1}
    (offsets,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    assert sum(each.offset for each in offsets.result(30).topic_partitions) == 60
    with pytest.raises(KafkaException, match="NON_EMPTY_GROUP"):
        admin.delete_consumer_groups([group])[group].result(30)
    with pytest.raises(KafkaException, match="UNKNOWN_MEMBER_ID|NON_EMPTY"):
        (refused,) = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(filled, 0, 1)])]).values()
        answer = refused.result(30)
        for place in answer.topic_partitions:
            if place.error:
                raise KafkaException(place.error)


def test_offsets_of_an_empty_group(admin, filled):
    group = f"empty-{filled}"
    wanted = [TopicPartition(filled, 0, 5), TopicPartition(filled, 1, 7)]
    (altered,) = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)]).values()
    assert [place.error for place in altered.result(30).topic_partitions] == [None, None]
    (offsets,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    assert sorted((p.partition, p.offset) for p in offsets.result(30).topic_partitions) == [(0, 5), (1, 7)]
    admin.delete_consumer_groups([group])[group].result(30)
    with pytest.raises(KafkaException, match="GROUP_ID_NOT_FOUND"):
        admin.delete_consumer_groups([group])[group].result(30)


def test_configs_changed_step_by_step(admin, filled):
    def change(operation, key, value=None):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, filled, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result(30)

    def policy():
        resource = ConfigResource(ResourceType.TOPIC, filled)
        entry = admin.describe_configs([resource])[resource].result(30)["cleanup.policy"]
        return entry.value, entry.is_default

    assert policy() == ("delete", True)
    change(AlterConfigOpType.APPEND, "cleanup.policy", "compact")
    assert policy() == ("delete,compact", False)
    change(AlterConfigOpType.SUBTRACT, "cleanup.policy", "delete")
    assert policy() == ("compact", False)
    change(AlterConfigOpType.DELETE, "cleanup.policy")
    assert policy() == ("delete", True)
    with pytest.raises(KafkaException, match="INVALID_CONFIG"):
        change(AlterConfigOpType.SET, "cleanup.policy", "burn")


def test_kafka_python_admin(pure, broker, filled, group):
    assert filled in pure.list_topics()
    (described,) = pure.describe_topics([filled])
    assert described["error_code"] == 0 and len(described["partitions"]) == 2
    assert len(pure.describe_cluster()["brokers"]) == 1
    assert group in [each[0] if isinstance(each, tuple) else each["group_id"] for each in pure.list_groups()]
    assert pure.describe_groups([group])
    assert pure.list_group_offsets(group)
    assert pure.describe_log_dirs()
    reader = KafkaConsumer(bootstrap_servers=[broker.address])
    places = [Place(filled, 0), Place(filled, 1)]
    assert set(reader.beginning_offsets(places).values()) == {0}
    assert sum(reader.end_offsets(places).values()) == 60
    assert filled in reader.topics()
    assert reader.partitions_for_topic(filled) == {0, 1}
    reader.close()
