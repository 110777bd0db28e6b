"""Transactional programs of many clients, what they tell of their work, and the judgement on it."""

import collections
import threading
import time

from confluent_kafka import Producer

from harness.committed import Tail, read
from harness.drivers import BY_NAME
from harness.programs import Program
from harness.wire import Refused

PARTITIONS = 3
# kafka-python 3.0.12 forgets a request when the coordinator refuses the connection, and its commit then waits for ever: what says
# nothing for so many seconds is killed and started again, as its operator would.
WATCHDOG = {"kafka-python": 20}


def program(cluster, driver, name, *words):
    driver = BY_NAME[driver]
    return Program(cluster.directory, f"{name}-{time.monotonic_ns()}", [*driver.command, *words], driver.environment)


def hangs(driver, running):
    """Whether the operator would kill it."""
    return running.alive() and time.time() - running.log.stat().st_mtime > WATCHDOG.get(driver, float("inf"))


def transformer(cluster, driver):
    words = ["transform", cluster.bootstrap, f"{driver}-in", f"{driver}-out", f"{driver}-group", f"{driver}-transform", 7]
    return program(cluster, driver, f"{driver}-transform", *words).start()


class Numbers(threading.Thread):
    """Writes 1, 2, 3 ... to each partition of the topics until it is stopped."""

    def __init__(self, cluster, topics, every_s=0.05):
        super().__init__(daemon=True)
        self.topics, self.every_s = topics, every_s
        settings = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "socket.timeout.ms": 5_000}
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, **settings})
        self.written = 0
        self.failed = []
        self.stopped = threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(self.every_s):
            self.written += 1
            for topic in self.topics:
                for partition in range(PARTITIONS):
                    self.producer.produce(topic, b"%d" % self.written, partition=partition, on_delivery=self.told)
            self.producer.poll(0)

    def told(self, error, _):
        if error:
            self.failed.append(error.str())

    def finish(self):
        self.stopped.set()
        self.join()
        assert self.producer.flush(60) == 0 and not self.failed, self.failed[:3]


class Moved:
    """One client's loop, and what can be seen of its work."""

    def __init__(self, cluster, driver):
        self.cluster, self.driver = cluster, driver
        self.tail = Tail(cluster.bootstrap, f"{driver}-out", PARTITIONS)
        self.loops = [transformer(cluster, driver)]
        self.trouble = None

    @property
    def loop(self):
        return self.loops[-1]

    def words(self):
        return f"{self.driver}: {self.loop.last_words()}"

    def replace(self):
        self.loops.append(transformer(self.cluster, self.driver))

    def revive(self):
        """A loop that its client gave up (fenced, say) or that hangs is started again, as its operator would."""
        if hangs(self.driver, self.loop):
            print(f"hangs and is killed: {self.words()}")
            self.loop.kill()
        if not self.loop.alive() and len(self.loops) < 12:
            self.replace()

    def finish(self):
        """The output of each partition is its input, as it was read committed at the end."""
        wanted = read(self.cluster.bootstrap, f"{self.driver}-in", PARTITIONS, lambda _: True)
        try:
            records = self.tail.finish(self.cluster.bootstrap, lambda records: len(records) >= len(wanted), 60)
        except AssertionError as missing:
            raise AssertionError(f"{missing}, {len(wanted)} were written; {self.words()}") from None
        finally:
            for loop in self.loops:
                loop.kill()
        for partition in range(PARTITIONS):
            had = [it.value for it in wanted if it.partition == partition]
            got = [it.value for it in records if it.partition == partition]
            twice = collections.Counter(got) - collections.Counter(had)
            assert not twice, f"{self.driver}: moved more than once in partition {partition}: {dict(twice)}"
            assert got == had, f"{self.driver}: {len(got)} of {len(had)} in partition {partition}, or not in order"


class Writer:
    """One transactional id: the program that writes under it, its successors, and what they told."""

    def __init__(self, cluster, driver, id, topic, every_ms=20):
        self.cluster, self.driver, self.id, self.topic, self.every_ms = cluster, driver, id, topic, every_ms
        self.programs = []
        self.replace()

    def replace(self):
        """Another program with the same id and numbers of its own; the one before is not told."""
        first = 1 + 1_000_000 * len(self.programs)
        words = ["transact", self.cluster.bootstrap, self.topic, PARTITIONS, self.id, first, self.every_ms, 4]
        self.programs.append(program(self.cluster, self.driver, self.id, *words).start())

    def revive(self):
        if hangs(self.driver, self.programs[-1]):
            self.programs[-1].kill()
        if not self.programs[-1].alive():
            self.replace()

    def told(self):
        return {it["transaction"]: it for each in self.programs for it in each.answers() if "transaction" in it}

    def committed(self):
        return sum(it["outcome"] == "committed" for it in self.told().values())

    def words(self):
        return f"{self.id} has committed {self.committed()}: {self.programs[-1].last_words()}"

    def kill(self):
        for each in self.programs:
            each.kill()


def judge_history(writers, records):
    """Every anomaly that the records read committed show, given what the writers were told."""
    found = []
    places = collections.defaultdict(list)
    last = {}
    for it in records:
        id, number = it.value.split("/")
        places[id, int(number)].append(it.partition)
        if last.get((it.partition, id), 0) >= int(number):
            found.append(f"{it.value} in partition {it.partition} at {it.offset} comes after {last[it.partition, id]}")
        last[it.partition, id] = int(number)
    for writer in writers:
        told = writer.told()
        for number, it in told.items():
            seen, all_of_it = sorted(places.get((writer.id, number), [])), sorted(it["partitions"])
            allowed = {"committed": [all_of_it], "aborted": [[]], "unknown": [all_of_it, []]}[it["outcome"]]
            if seen not in allowed:
                found.append(f"{writer.id}/{number} {it['outcome']} ({it.get('why')}): in partitions {seen} of {all_of_it}")
        for id, number in places:
            # What was under way when its writer was killed: nobody was told, but it is still all or nothing.
            all_of_it = [p for p in range(PARTITIONS) if (number + p) % 3]
            if id == writer.id and number not in told and sorted(places[id, number]) != all_of_it:
                found.append(f"{id}/{number} untold: in partitions {places[id, number]} of {all_of_it}")
    return found


def stable(cluster, topic, partitions=PARTITIONS):
    """Whether nothing is open in any partition: the last stable offset is the end. Not while a partition has no leader."""
    ends = []
    for isolation in (0, 1):
        row = []
        for partition in range(partitions):
            asked = [{"name": topic, "partitions": [{"partition_index": partition, "current_leader_epoch": -1, "timestamp": -1}]}]
            try:
                answer = cluster.ask("ListOffsets", 6, to=cluster.leader(topic, partition), replica_id=-1, isolation_level=isolation, topics=asked)
            except (OSError, Refused):
                return False
            found = answer["topics"][0]["partitions"][0]
            if found["error_code"]:
                return False
            row.append(found["offset"])
        ends.append(row)
    return ends[0] == ends[1]
