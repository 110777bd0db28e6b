"""Three brokers as processes, and what happens to them: Milena, or Apache Kafka as the oracle."""

import concurrent.futures
import json
import os
import signal
import subprocess
import time

from harness import wire
from harness.broker import KIND, REPO, Broker, free_port
from harness.drivers import until
from harness.wire import Peer, Refused

NOT_LEADER_OR_FOLLOWER = 6
MILENA = os.environ.get("MILENA_BIN", str(REPO / "target/release/milena"))


class Cluster:
    """`count` brokers on loopback that vote with each other; `settings` are the same for all."""

    def __init__(self, directory, settings=None, count=3, kind=None):
        self.directory = directory
        self.brokers = {i: Broker(directory / f"broker-{i}", kind=kind) for i in range(1, count + 1)}
        voters = ",".join(f"{i}@127.0.0.1:{broker.port + 1}" for i, broker in self.brokers.items())
        replicas = str(min(count, 3))
        for i, broker in self.brokers.items():
            broker.settings = {
                "node.id": str(i),
                "process.roles": "broker,controller",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": voters,
                "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},CONTROLLER://127.0.0.1:{broker.port + 1}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port}",
                "offsets.topic.replication.factor": replicas,
                "transaction.state.log.replication.factor": replicas,
                "group.initial.rebalance.delay.ms": "0",
                **(settings or {}),
            }

    @property
    def bootstrap(self):
        return ",".join(broker.address for broker in self.brokers.values())

    def start(self, patience=60):
        """No broker is ready before a majority runs: they start side by side."""
        with concurrent.futures.ThreadPoolExecutor(len(self.brokers)) as pool:
            for started in [pool.submit(broker.start) for broker in self.brokers.values()]:
                started.result()
        until(lambda: len(self.metadata([])["brokers"]) == len(self.brokers), patience, lambda: "the brokers do not see each other")

    def stop(self):
        for broker in self.brokers.values():
            if broker.pid and broker.alive():
                os.kill(broker.pid, signal.SIGCONT)
                broker.kill()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def ask(self, name, version, to=None, patience=15.0, **fields):
        """The answer of broker `to`, or of the first that gives one."""
        last = None
        for i in [to] if to else list(self.brokers):
            try:
                with Peer(self.brokers[i].address, patience=patience) as peer:
                    return peer.ask(name, version, **fields)
            except (OSError, Refused) as error:
                last = error
        raise last

    def metadata(self, topics, to=None):
        named = None if topics is None else [{"name": topic, "topic_id": None} for topic in topics]
        return self.ask("Metadata", 12, to=to, patience=5.0, topics=named)

    def partitions(self, topic, to=None):
        """Leader, replicas and in-sync replicas of each partition, as one broker sees them."""
        (found,) = self.metadata([topic], to)["topics"]
        return {it["partition_index"]: it for it in found["partitions"]}

    def leader(self, topic, partition=0, to=None):
        """Who leads, or will in a moment: a machine that stood still elects anew."""
        return self.elected(lambda: self.partitions(topic, to).get(partition, {}).get("leader_id", -1), f"nobody leads {topic}-{partition}")

    def controller(self):
        asked = [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]
        return self.elected(lambda: self.ask("DescribeQuorum", 1, topics=asked)["topics"][0]["partitions"][0]["leader_id"], "no controller")

    def elected(self, ask, missing):
        """The first answer of `ask` that is a broker's id."""
        broker = -1

        def known():
            nonlocal broker
            broker = ask()
            return broker >= 0

        until(known, 30, lambda: missing)
        return broker

    def produce(self, topic, records, partition=0, patience=30, wanted=0, **options):
        """Until whoever leads answers `wanted`. What a leader took whose followers chose another may be there twice."""
        answer = None

        def answered():
            nonlocal answer
            try:
                with Peer(self.brokers[self.leader(topic, partition)].address) as peer:
                    answer = wire.produce(peer, topic, records, partition=partition, **options)["error_code"]
            except (OSError, Refused) as error:
                answer = error
            return answer == wanted

        until(answered, patience, lambda: f"{topic}-{partition} answered with {answer}, not {wanted}")

    def coordinator(self, group, key_type=0):
        """Of a group, or with 1 as `key_type` of a transactional id."""
        answer = None

        def found():
            nonlocal answer
            answer = self.ask("FindCoordinator", 4, key_type=key_type, coordinator_keys=[group])["coordinators"][0]
            return answer["error_code"] == 0

        until(found, 30, lambda: f"no coordinator for {group}")
        return answer["node_id"]

    def create(self, topic, partitions=3, replication=3, assignment=None, **configs):
        assignments = [{"partition_index": p, "broker_ids": brokers} for p, brokers in enumerate(assignment or [])]
        answer = self.ask(
            "CreateTopics",
            5,
            topics=[
                {
                    "name": topic,
                    "num_partitions": -1 if assignment else partitions,
                    "replication_factor": -1 if assignment else replication,
                    "assignments": assignments,
                    "configs": [{"name": name.replace("_", "."), "value": str(value)} for name, value in configs.items()],
                }
            ],
            timeout_ms=15_000,
            validate_only=False,
        )["topics"][0]
        assert answer["error_code"] == 0, answer
        self.wait_whole(topic)

    def is_whole(self, topic):
        try:
            partitions = self.partitions(topic).values()
        except (OSError, Refused, ValueError):
            return False
        return bool(partitions) and all(p["leader_id"] >= 0 and len(p["isr_nodes"]) == len(p["replica_nodes"]) for p in partitions)

    def make_whole(self):
        """Starts what is dead and continues what is stopped, until no broker is fenced."""
        dead = [broker for broker in self.brokers.values() if not broker.alive()]
        for broker in self.brokers.values():
            if broker not in dead:
                os.kill(broker.pid, signal.SIGCONT)
        # Side by side: a majority must run before one is ready.
        with concurrent.futures.ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(Broker.start, dead))
        self.wait_all_alive()

    def wait_all_alive(self, patience=60):
        """Until no broker is fenced. Metadata goes on naming one that died for some seconds."""

        def fenced():
            answer = self.ask("DescribeCluster", 0, patience=5.0, include_cluster_authorized_operations=False)
            return len(self.brokers) - len(answer["brokers"])

        until(lambda: not fenced(), patience, lambda: "a broker did not come back")

    def wait_whole(self, topic, patience=30):
        until(lambda: self.is_whole(topic), patience, lambda: f"not in sync: {self.partitions(topic)}")


class Isolated(Cluster):
    """Controllers with ids from 101 on that keep no partitions, and brokers with ids from 1 on that do not vote. With `bootstrap`
    nodes are told where the controllers are, and not who they are."""

    def __init__(self, directory, settings=None, brokers=3, controllers=3, bootstrap=False):
        super().__init__(directory, settings, brokers)
        self.controllers = {i: Broker(directory / f"controller-{i}") for i in range(101, 101 + controllers)}
        at = {i: f"127.0.0.1:{controller.port}" for i, controller in self.controllers.items()}
        quorum = {"controller.quorum.bootstrap.servers": ",".join(at.values())}
        if not bootstrap:
            quorum = {"controller.quorum.voters": ",".join(f"{i}@{address}" for i, address in at.items())}
        quorum |= {"controller.listener.names": "CONTROLLER"}
        for broker in self.brokers.values():
            del broker.settings["controller.quorum.voters"]
            broker.settings |= quorum | {
                "process.roles": "broker",
                "listeners": f"PLAINTEXT://{broker.address}",
                "milena.peer.listener": f"127.0.0.1:{broker.port + 1}",
            }
        for i, controller in self.controllers.items():
            controller.settings = {
                "node.id": str(i),
                "process.roles": "controller",
                "listeners": f"CONTROLLER://{at[i]}",
                "advertised.listeners": f"CONTROLLER://{at[i]}",
                **quorum,
                **(settings or {}),
            }

    @property
    def nodes(self):
        return [*self.controllers.values(), *self.brokers.values()]

    def start(self, patience=60):
        with concurrent.futures.ThreadPoolExecutor(len(self.nodes)) as pool:
            for started in [pool.submit(node.start) for node in self.nodes]:
                started.result()
        until(lambda: len(self.metadata([])["brokers"]) == len(self.brokers), patience, lambda: "the brokers do not see each other")

    def stop(self):
        super().stop()
        for controller in self.controllers.values():
            if controller.pid and controller.alive():
                controller.kill()

    def make_whole(self):
        dead = [controller for controller in self.controllers.values() if not controller.alive()]
        if dead:
            with concurrent.futures.ThreadPoolExecutor(len(dead)) as pool:
                list(pool.map(Broker.start, dead))
        super().make_whole()


class Load:
    """A driver's `load` command, and the history of what it was told."""

    def __init__(self, driver, cluster, topic, partitions, every_ms=2):
        self.topic, self.partitions = topic, partitions
        words = [*driver.command, "load", cluster.bootstrap, topic, str(partitions), str(every_ms)]
        self.log = (cluster.directory / f"{driver.name}-{topic}.jsonl").open("w+")
        self.trouble = (cluster.directory / f"{driver.name}-{topic}.err").open("w+")
        self.read_up_to, self.told = 0, []
        self.process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=self.log, stderr=self.trouble, env=driver.environment
        )

    def outcomes(self):
        """All so far. Tests ask many times a second, of many thousands: only what is new is read."""
        with open(self.log.name, "rb") as log:
            log.seek(self.read_up_to)
            content = log.read()
        # The last line may still be on its way.
        lines = content[: content.rfind(b"\n") + 1]
        self.read_up_to += len(lines)
        self.told += [json.loads(line) for line in lines.splitlines() if line.startswith(b"{")]
        return self.told

    def acked(self):
        return [it for it in self.outcomes() if "offset" in it]

    def wait_acked(self, count, patience=60):
        """Waits until `count` more records are acknowledged in every partition."""
        before = self.per_partition()

        def there():
            now = self.per_partition()
            return all(now.get(p, 0) >= before.get(p, 0) + count for p in range(self.partitions))

        until(there, patience, lambda: f"{self.per_partition()} after {before}, {self.words()}")

    def per_partition(self):
        counts = {}
        for it in self.acked():
            counts[it["partition"]] = counts.get(it["partition"], 0) + 1
        return counts

    def words(self):
        self.trouble.seek(0)
        return self.trouble.read()[-500:]

    def finish(self, patience=90):
        self.process.stdin.close()
        self.process.wait(patience)
        assert self.process.returncode == 0, self.words()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()

    def longest_gap(self, since_us):
        """Seconds between two successive acknowledgements of a partition, the longest that ends after `since_us`."""
        longest = 0
        for partition in range(self.partitions):
            ended = sorted(it["ended"] for it in self.acked() if it["partition"] == partition)
            longest = max([longest, *(after - before for before, after in zip(ended, ended[1:]) if after > since_us)])
        return longest / 1e6


def now_us():
    """The clock by which drivers tell when a record was sent and acknowledged."""
    return time.monotonic_ns() // 1000


def read_all(bootstrap, topic):
    """Every record of a topic as (partition, offset, value), from the start to the end."""
    words = [MILENA, "consume", topic, "-b", bootstrap, "--from-beginning", "--exit-at-end", "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [(it["partition"], it["offset"], int(it["value"])) for it in records]


def verdict(load, records, directory):
    """What the checker says of a load and of what was read at the end; raises if it finds anything."""
    events = []
    for it in load.outcomes():
        outcome = {"acked": {"offset": it["offset"]}} if "offset" in it else {"unknown": {"why": it.get("failed", "")}}
        name = f"{load.topic}-{it['partition']}"
        number = it["value"] % 10**12
        events.append({"op": "send", "producer": 1, "number": number, "partition": name, "outcome": outcome} | {key: it[key] for key in ("began", "ended", "value")})
    at = now_us()
    known = {it["value"] for it in load.outcomes()}
    for partition in range(load.partitions):
        name = f"{load.topic}-{partition}"
        read = [(offset, value) for p, offset, value in records if p == partition]
        # What the client never told of because it was ended is of unknown outcome, not a phantom.
        for offset, value in read:
            if value not in known:
                unknown = {"unknown": {"why": "never told"}}
                events.append({"op": "send", "producer": 1, "number": value % 10**12, "partition": name, "outcome": unknown, "began": 0, "ended": at, "value": value})
        events.append({"op": "poll", "began": at, "ended": at, "consumer": 1, "partition": name, "records": read})
        end = read[-1][0] + 1 if read else 0
        events.append({"op": "driven", "at": at, "consumer": 1, "partition": name, "end": end})
    file = directory / f"history-{load.topic}.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    done = subprocess.run([MILENA, "check", str(file), "--format", "json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def judged(cluster, load):
    """Ends the load: every record that was acknowledged is there once, in order, at its offset. Returns what the client gave up."""
    load.finish()
    seen = verdict(load, read_all(cluster.bootstrap, load.topic), cluster.directory)
    assert seen["acked"] == len(load.acked()) > 0
    return [it for it in load.outcomes() if "failed" in it]
