"""What one broker answers to transactional requests in and out of turn, step by step; part of `probe.observe`.

Each scenario has a transactional id of its own. Noted are error codes, epochs as what they are beyond the first, and states: what
a client decides upon.
"""

import time

from harness.wire import Peer, batch

TOPIC = "transacted"
TRANSACTIONAL, CONTROL = 0x10, 0x20
CONCURRENT = 51


class Life:
    """One transactional id and the steps of a scenario, noted under its name."""

    def __init__(self, observer, peer, name):
        self.observer, self.peer, self.id, self.steps = observer, peer, f"txn {name}", 0
        self.producer = (-1, -1)
        self.first = None

    def note(self, what, outcome):
        self.steps += 1
        self.observer.note(f"Transactions/{self.id[4:]}/{self.steps:02} {what}", outcome)

    def ask(self, name, version, code, **fields):
        """Again while the transaction before is being completed."""
        deadline = time.monotonic() + 15
        while True:
            answer = self.peer.ask(name, version, **fields)
            if code(answer) != CONCURRENT or time.monotonic() > deadline:
                return answer
            time.sleep(0.02)

    def claim(self, epoch_by=0, producer=None):
        producer_id, epoch = producer or self.producer
        return {"producer_id": producer_id, "producer_epoch": epoch + epoch_by}

    def told(self, answer):
        """Code, and how the producer differs from the one that was given first."""
        if answer["error_code"]:
            return answer["error_code"]
        now = (answer["producer_id"], answer["producer_epoch"])
        if self.first is None:
            self.first = now
        if now[0] < 0:
            return "0, nobody"
        self.producer = now
        return f"0, {'the same id' if now[0] == self.first[0] else 'another id'}, epoch {now[1]}"

    def init(self, version=4, claim=None, timeout_ms=60_000, what=""):
        fields = {"transactional_id": self.id, "transaction_timeout_ms": timeout_ms}
        if version >= 3:
            fields |= claim or {"producer_id": -1, "producer_epoch": -1}
        answer = self.ask("InitProducerId", version, lambda a: a["error_code"], **fields)
        self.note(f"InitProducerId v{version} {what}", self.told(answer))

    def add(self, version=3, partitions=(0,), topic=TOPIC, epoch_by=0, producer=None, verify=False, what=""):
        topics = [{"name": topic, "partitions": list(partitions)}]
        claim = self.claim(epoch_by, producer)
        if version < 4:
            fields = {f"v3_and_below_{key}": value for key, value in {"transactional_id": self.id, **claim, "topics": topics}.items()}
        else:
            fields = {"transactions": [{"transactional_id": self.id, **claim, "verify_only": verify, "topics": topics}]}

        def codes(answer):
            if version < 4:
                topics = answer["results_by_topic_v3_and_below"]
            elif answer["error_code"]:
                return [answer["error_code"]]
            else:
                topics = [topic for it in answer["results_by_transaction"] for topic in it["topic_results"]]
            # Kafka's order is that of its checks.
            return sorted(it["partition_error_code"] for topic in topics for it in topic["results_by_partition"])

        answer = self.ask("AddPartitionsToTxn", version, lambda a: max(codes(a), default=0), **fields)
        self.note(f"AddPartitionsToTxn v{version} {what}", codes(answer))

    def add_offsets(self, version=3, epoch_by=0, group="g", what=""):
        fields = {"transactional_id": self.id, "group_id": group, **self.claim(epoch_by)}
        answer = self.ask("AddOffsetsToTxn", version, lambda a: a["error_code"], **fields)
        self.note(f"AddOffsetsToTxn v{version} {what}", answer["error_code"])

    def commit_offsets(self, version=3, epoch_by=0, group="g", generation=-1, member="", topic=TOPIC, what=""):
        partition = {"partition_index": 0, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": ""}
        fields = {"transactional_id": self.id, "group_id": group, **self.claim(epoch_by), "topics": [{"name": topic, "partitions": [partition]}]}
        if version >= 3:
            fields |= {"generation_id": generation, "member_id": member, "group_instance_id": None}

        def code(answer):
            return answer["topics"][0]["partitions"][0]["error_code"]

        answer = self.ask("TxnOffsetCommit", version, code, **fields)
        self.note(f"TxnOffsetCommit v{version} {what}", code(answer))

    def produce(self, sequence, version=11, epoch_by=0, attributes=TRANSACTIONAL, id=None, partition=0, what="", count=1):
        producer_id, epoch = self.producer
        records = batch([(b"k", b"v")] * count, producer=(producer_id, epoch + epoch_by, sequence), attributes=attributes)
        fields = {"transactional_id": self.id if id is None else id or None, "acks": -1, "timeout_ms": 10_000}
        fields["topic_data"] = [{"name": TOPIC, "partition_data": [{"index": partition, "records": records}]}]

        def code(answer):
            return answer["responses"][0]["partition_responses"][0]["error_code"]

        answer = self.ask("Produce", version, code, **fields)
        self.note(f"Produce v{version} {what}", code(answer))

    def end(self, commit, version=4, epoch_by=0, producer=None, what=""):
        fields = {"transactional_id": self.id, "committed": commit, **self.claim(epoch_by, producer)}
        answer = self.ask("EndTxn", version, lambda a: a["error_code"], **fields)
        outcome = self.told(answer) if version >= 5 else answer["error_code"]
        self.note(f"EndTxn v{version} {'commit' if commit else 'abort'} {what}", outcome)

    def described(self, what=""):
        def busy(answer):
            return CONCURRENT if answer["transaction_states"][0]["transaction_state"].startswith("Prepare") else 0

        it = self.ask("DescribeTransactions", 0, busy, transactional_ids=[self.id])["transaction_states"][0]
        epoch = it["producer_epoch"]
        self.note(f"DescribeTransactions {what}", f"{it['error_code']} {it['transaction_state']} epoch {epoch} {[topic['partitions'] for topic in it['topics']]} started {it['transaction_start_time_ms'] > 0}")

    def producers(self, what=""):
        answer = self.peer.ask("DescribeProducers", 0, topics=[{"name": TOPIC, "partition_indexes": [0]}])
        found = [it for it in answer["topics"][0]["partitions"][0]["active_producers"] if it["producer_id"] == self.producer[0]]
        shown = [f"epoch {it['producer_epoch']} last {it['last_sequence']} open {it['current_txn_start_offset'] >= 0}" for it in found]
        self.note(f"DescribeProducers {what}", shown or "none")

    def mark(self, commit=False, epoch_by=0, coordinator_epoch=100, version=1, partition=0, transaction_version=0, what=""):
        marker = {**self.claim(epoch_by), "transaction_result": commit, "coordinator_epoch": coordinator_epoch}
        marker["topics"] = [{"name": TOPIC, "partition_indexes": [partition]}]
        if version >= 2:
            marker["transaction_version"] = transaction_version
        answer = self.peer.ask("WriteTxnMarkers", version, markers=[marker])
        self.note(f"WriteTxnMarkers v{version} {what}", answer["markers"][0]["topics"][0]["partitions"][0]["error_code"])


def transactions(observer):
    from harness.probe import make

    make(observer, TOPIC, partitions=3)
    with Peer(observer.address, patience=30) as peer:
        # Kafka makes the topics behind its coordinators when somebody first asks for one.
        for key_type in (0, 1):
            observer.until_ok("FindCoordinator", 4, lambda a: a["coordinators"][0]["error_code"], key_type=key_type, coordinator_keys=["g"])
        offsets = {"group_id": "g", "require_stable": True, "topics": None}
        observer.until_ok("OffsetFetch", 7, lambda a: a["error_code"], **offsets)
        first = {"transactional_id": "txn first", "transaction_timeout_ms": 60_000, "producer_id": -1, "producer_epoch": -1}
        observer.until_ok("InitProducerId", 4, lambda a: a["error_code"], **first)
        for scenario in SCENARIOS:
            name = scenario.__name__.replace("_", " ")
            scenario(Life(observer, peer, name))
        listed(observer, peer)


def initializing(it):
    it.init(0)
    it.init(2, what="again")
    it.init(4, what="again")
    it.init(3, it.claim(), what="with its epoch")
    it.init(4, it.claim(-1), what="with the epoch before")
    it.init(4, it.claim(-2), what="with a stale epoch")
    it.init(4, it.claim(5), what="with an epoch to come")
    it.init(3, it.claim(-3), what="with a stale epoch")
    it.init(4, {"producer_id": 4711, "producer_epoch": 0}, what="with a strange id")
    it.init(4, {"producer_id": it.producer[0], "producer_epoch": -1}, what="with an id but no epoch")
    it.init(4, {"producer_id": -1, "producer_epoch": 3}, what="with an epoch but no id")
    it.init(4, timeout_ms=0, what="time-out 0")
    it.init(4, timeout_ms=-1, what="time-out -1")
    it.init(4, timeout_ms=900_001, what="time-out too long")
    it.init(4, timeout_ms=900_000, what="time-out as long as may be")


def unknown_to_all(it):
    it.init(4, {"producer_id": 4711, "producer_epoch": 3}, what="with a strange id")
    for version in range(6):
        it.add(version, producer=(4711, 0))
    it.add(5, producer=(4711, 0), verify=True, what="verify")
    for version in range(5):
        it.producer = (4711, 0)
        it.add_offsets(version)
    for version in range(6):
        it.end(True, version)
    for version in range(6):
        it.commit_offsets(version)
    it.described()


def in_turn_with_the_first_protocol(it):
    it.init()
    it.described("before")
    it.end(True, what="of nothing")
    it.end(False, what="of nothing")
    it.produce(0, what="before it was added")
    it.add(3, (0, 1))
    it.add(3, (0, 1), what="again")
    it.produce(0)
    it.produce(1, attributes=0, what="not transactional")
    it.produce(0, partition=2, what="to another partition")
    it.producers("open")
    it.described("open")
    it.add(4, (0, 2), verify=True, what="verify one of two")
    it.add(5, (0,), verify=True, what="verify")
    it.end(True)
    it.end(True, what="again")
    it.end(False, what="after commit")
    it.described("committed")
    it.producers("committed")
    it.produce(1, what="after the end")
    it.add()
    it.produce(1)
    it.end(False)
    it.end(False, what="again")
    it.end(True, what="after abort")
    it.described("aborted")
    it.init(what="at the end")
    it.end(False, epoch_by=-1, what="of the predecessor")
    it.end(True, 1, epoch_by=-1, what="of the predecessor")


def in_turn_with_the_second_protocol(it):
    it.init()
    it.end(True, 5, what="of nothing")
    it.end(False, 5, what="of nothing")
    it.produce(0, 12)
    it.produce(1, 12)
    it.described("open")
    before = it.producer
    it.end(True, 5)
    it.end(True, 5, producer=before, what="again")
    it.end(False, 5, producer=before, what="after commit, with the old epoch")
    it.end(True, 5, what="of nothing after commit")
    it.produce(0, 12, epoch_by=-1, what="with the old epoch")
    it.produce(0, 12)
    before = it.producer
    it.end(False, 5)
    it.end(False, 5, producer=before, what="again")
    it.end(True, 5, producer=before, what="after abort, with the old epoch")
    it.end(False, 5, what="of nothing after abort")
    it.described("aborted")
    it.producers("aborted")
    it.commit_offsets(5, what="that begins a transaction")
    it.described("offsets only")
    it.end(True, 5)


def out_of_turn(it):
    it.init()
    for version in (0, 1, 2, 3):
        it.add(version, epoch_by=-1, what="stale epoch")
        it.add(version, epoch_by=1, what="epoch to come")
        it.add_offsets(version, epoch_by=-1, what="stale epoch")
    it.add(3, producer=(4711, 0), what="strange id")
    it.add(3, topic="not-there", what="no such topic")
    it.add(3, (0, 9), what="no such partition")
    it.add(4, (0, 9), what="no such partition")
    it.add(4, (0,), verify=True, what="verify without a transaction")
    it.add(3, (0,))
    for version in (0, 1, 2, 4, 5):
        it.end(True, version, epoch_by=-1, what="stale epoch")
        it.end(True, version, epoch_by=1, what="epoch to come")
        it.end(True, version, producer=(4711, 0), what="strange id")
    it.produce(5, what="sequence from the middle")
    it.produce(0, epoch_by=1, what="epoch to come")
    it.produce(0, epoch_by=-1, what="stale epoch")
    it.produce(0, id="", what="without an id")
    it.produce(0, id="txn somebody", what="with a strange id")
    it.produce(0)
    it.produce(7, what="sequence with a gap")
    it.produce(0, what="repeated")
    it.produce(1, attributes=TRANSACTIONAL | CONTROL, what="a control batch")
    it.end(False)


def offsets_in_and_out_of_turn(it):
    it.init()
    it.commit_offsets(3, what="before the group was added")
    it.commit_offsets(5, epoch_by=-1, what="stale epoch")
    it.add_offsets(what="")
    it.commit_offsets(0)
    it.commit_offsets(2, epoch_by=-1, what="stale epoch")
    it.commit_offsets(3, generation=3, member="nobody", what="unknown member")
    it.commit_offsets(3, generation=3, what="unknown generation")
    it.commit_offsets(3, generation=-1, member="nobody", what="member without generation")
    it.commit_offsets(3, group="unknown group", generation=1, member="nobody", what="unknown group with a member")
    it.commit_offsets(3, group="", what="group without a name")
    it.commit_offsets(3, topic="not-there", what="no such topic")
    it.commit_offsets(4)
    it.end(True)
    it.described("committed")
    it.commit_offsets(3, what="after the end")
    it.add_offsets(group="", what="group without a name")


def fenced_by_a_successor(it):
    it.init()
    it.add()
    it.produce(0)
    zombie = it.producer
    it.init(what="by the successor")
    it.described("fenced")
    it.producers("fenced")
    successor, it.producer = it.producer, zombie
    it.add(1, what="by the zombie")
    it.add(3, what="by the zombie")
    it.produce(1, what="by the zombie")
    it.produce(1, 12, what="by the zombie")
    it.add_offsets(1, what="by the zombie")
    it.add_offsets(3, what="by the zombie")
    it.commit_offsets(3, what="by the zombie")
    it.end(True, 1, what="by the zombie")
    it.end(True, 4, what="by the zombie")
    it.end(False, 5, what="by the zombie")
    it.init(4, it.claim(), what="by the zombie")
    it.producer = successor


def marked_by_hand(it):
    it.init()
    it.mark(what="of an unknown producer")
    it.add()
    it.produce(0)
    it.mark(epoch_by=-1, what="stale epoch")
    it.mark(version=2, transaction_version=2, what="of the second protocol, same epoch")
    it.mark(partition=9, what="no such partition")
    it.mark(coordinator_epoch=100, what="")
    it.producers("marked")
    it.mark(coordinator_epoch=99, what="of an old coordinator")
    it.mark(coordinator_epoch=101, commit=True, what="again")
    it.end(False)


SCENARIOS = [
    initializing,
    unknown_to_all,
    in_turn_with_the_first_protocol,
    in_turn_with_the_second_protocol,
    out_of_turn,
    offsets_in_and_out_of_turn,
    fenced_by_a_successor,
    marked_by_hand,
]


def listed(observer, peer):
    for label, version, fields in (
        ("all", 0, {}),
        ("complete", 0, {"state_filters": ["CompleteCommit", "CompleteAbort"]}),
        ("no such state", 0, {"state_filters": ["Ongoing", "Sleeping"]}),
        ("strange producer", 0, {"producer_id_filters": [4711]}),
        ("for long", 1, {"duration_filter": 600_000}),
        ("for any time", 1, {"duration_filter": 0}),
        ("pattern", 2, {"duration_filter": -1, "transactional_id_pattern": "txn (in turn|fenced).*"}),
        ("pattern of a part", 2, {"duration_filter": -1, "transactional_id_pattern": "fenced"}),
        ("empty pattern", 2, {"duration_filter": -1, "transactional_id_pattern": ""}),
        ("bad pattern", 2, {"duration_filter": -1, "transactional_id_pattern": "(["}),
    ):
        answer = peer.ask("ListTransactions", version, **{"state_filters": [], "producer_id_filters": [], **fields})
        states = sorted(f"{it['transactional_id']}: {it['transaction_state']}" for it in answer["transaction_states"])
        observer.note(f"ListTransactions/{label}/v{version}", {"error_code": answer["error_code"], "unknown": answer["unknown_state_filters"], "states": states})
