#!/usr/bin/env python3
"""Measures how fast three brokers on this machine notice a death and go on; see docs/failover.md.

    measure.py FAULT [--rounds N] [--partitions P] [--bin PATH] [--namespaces] [--duration S]

FAULT: kill-leader, kill-controller, pause-leader, pause-controller, cut-leader, cut-controller (all its packets are
dropped), deaf-leader (what is sent to it is dropped), mute-leader (what it sends is dropped), half-cut (leader and
one follower do not reach each other, both reach the controller), or calm: no fault, count wrong fencings.

The cuts need --namespaces: each broker runs in a network namespace of its own, joined by a bridge, and root.
Nothing but Python is needed: Metadata and Produce are spoken here.
"""
import argparse
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

IDS = (1, 2, 3)
TOPIC = "drill"


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


class Answer:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.raw, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0]

    def text(self):
        length = self.take("h")
        if length < 0:
            return None
        self.at += length
        return self.raw[self.at - length:self.at].decode()

    def list(self, item):
        return [item() for _ in range(max(0, self.take("i")))]


class Broker:
    """A connection to a broker, made anew when it breaks."""

    def __init__(self, host, port):
        self.address, self.socket = (host, port), None

    def call(self, key, version, body, timeout=0.5):
        try:
            if self.socket is None:
                self.socket = socket.create_connection(self.address, timeout=timeout)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.settimeout(timeout)
            request = struct.pack(">hhi", key, version, 7) + text("measure") + body
            self.socket.sendall(struct.pack(">i", len(request)) + request)
            answer = Answer(self.exactly(struct.unpack(">i", self.exactly(4))[0]))
            answer.take("i")
            return answer
        except OSError:
            self.close()
            return None

    def exactly(self, count):
        parts = b""
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            if not part:
                raise OSError("closed")
            parts += part
        return parts

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def metadata(self):
        """Brokers, controller, and {partition: (leader, isr)}; None without an answer."""
        # Version 4 may say that the topic is not to be created.
        answer = self.call(3, 4, struct.pack(">i", 1) + text(TOPIC) + b"\0")
        if answer is None:
            return None
        answer.take("i")
        brokers = answer.list(lambda: (answer.take("i"), answer.text(), answer.take("i"), answer.text())[0])
        answer.text()
        controller = answer.take("i")

        def partition():
            answer.take("h")
            index, leader = answer.take("i"), answer.take("i")
            answer.list(lambda: answer.take("i"))
            return index, (leader, answer.list(lambda: answer.take("i")))

        def topic():
            answer.take("h"), answer.text(), answer.take("b")
            return dict(answer.list(partition))

        topics = answer.list(topic)
        return set(brokers), controller, topics[0] if topics else {}

    def produce(self, partition, timeout=1.0):
        """Whether one record was acknowledged by all in sync."""
        now = int(time.time() * 1000)
        record = b"\x00\x00\x00\x01" + b"\x02x" + b"\x00"
        record = bytes([len(record) * 2]) + record
        tail = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + record
        batch = struct.pack(">qiibI", 0, 9 + len(tail), 0, 2, crc32c(tail)) + tail
        body = struct.pack(">hhii", -1, -1, int(timeout * 1000), 1) + text(TOPIC)
        body += struct.pack(">iii", 1, partition, len(batch)) + batch
        answer = self.call(0, 3, body, timeout)
        if answer is None:
            return False
        answer.take("i"), answer.text(), answer.take("i"), answer.take("i")
        return answer.take("h") == 0


class Cluster:
    def __init__(self, binary, namespaces):
        self.binary, self.namespaces = binary, namespaces
        self.dir = tempfile.mkdtemp(prefix="milena-failover-")
        self.tag = "mf%d" % (os.getpid() % 10000)
        self.base = random.randrange(20000, 28000, 10)
        self.processes, self.logs = {}, {}
        if namespaces:
            self.build_network()
        self.clients = {node: Broker(self.host(node), self.port(node)) for node in IDS}
        for node in IDS:
            self.start(node)

    def form(self, partitions):
        self.wait("the cluster is there", lambda: all(len((self.clients[n].metadata() or [()])[0]) == 3 for n in IDS))
        created = [self.binary, "kafka-topics", "--bootstrap-server", "%s:%d" % (self.host(1), self.port(1)), "--create",
                   "--topic", TOPIC, "--partitions", str(partitions), "--replication-factor", "3",
                   "--config", "min.insync.replicas=2"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.wait("the topic is there", lambda: subprocess.run(created, **quiet).returncode == 0 or self.is_healthy())

    def host(self, node):
        return "10.99.%d.%d" % (os.getpid() % 250, node) if self.namespaces else "127.0.0.1"

    def port(self, node):
        return self.base + node

    def peer_port(self, node):
        return self.base + 1000 + node

    def build_network(self):
        bridge = self.tag + "b"
        sh("ip link add %s type bridge && ip link set %s up" % (bridge, bridge))
        sh("ip addr add %s/24 dev %s" % (self.host(254), bridge))
        # Docker has machines drop what is bridged.
        self.forward = "FORWARD -i %s -o %s -j ACCEPT" % (bridge, bridge)
        sh("iptables -w -I " + self.forward)
        for node in IDS:
            name = "%sn%d" % (self.tag, node)
            sh("ip netns add %s && ip link add %s type veth peer name eth0 netns %s" % (name, name, name))
            sh("ip link set %s master %s && ip link set %s up" % (name, bridge, name))
            sh("ip -n %s addr add %s/24 dev eth0 && ip -n %s link set eth0 up && ip -n %s link set lo up"
               % (name, self.host(node), name, name))

    def start(self, node):
        voters = ",".join("%d@%s:%d" % (n, self.host(n), self.peer_port(n)) for n in IDS)
        command = [self.binary, "serve", "--data-dir", "%s/%d" % (self.dir, node)]
        for setting in ("node.id=%d" % node, "controller.listener.names=CONTROLLER", "milena.http.listener=",
                        "listeners=PLAINTEXT://%s:%d,CONTROLLER://%s:%d"
                        % (self.host(node), self.port(node), self.host(node), self.peer_port(node)),
                        "controller.quorum.voters=" + voters):
            command += ["--set", setting]
        if self.namespaces:
            command = ["ip", "netns", "exec", "%sn%d" % (self.tag, node)] + command
        log = open(self.log(node), "ab")
        self.processes[node] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def log(self, node):
        return "%s/%d.log" % (self.dir, node)

    def wait(self, what, done, seconds=60):
        until = time.time() + seconds
        while not done():
            if time.time() > until:
                sys.exit("%s: not within %d s; logs are in %s" % (what, seconds, self.dir))
            time.sleep(0.05)

    def is_healthy(self, views=None):
        views = views or [self.clients[node].metadata() for node in IDS]
        return all(view is not None and len(view[0]) == 3 and view[2]
                   and all(leader > 0 and len(isr) == 3 for leader, isr in view[2].values()) for view in views)

    def lines(self, text):
        for node in IDS:
            with open(self.log(node), errors="replace") as log:
                yield from ((node, line) for line in log if text in line)

    def controller(self):
        newest = max(((line.split()[0], node) for node, line in self.lines("this broker is the controller")))
        return newest[1]

    def cut(self, node, what):
        """Drops packets: of all, to it, from it, or between it and one other."""
        name = "%sn%d" % (self.tag, node)
        rules = {"both": ["INPUT", "OUTPUT"], "to": ["INPUT"], "from": ["OUTPUT"]}
        if what in rules:
            for chain in rules[what]:
                sh("ip netns exec %s iptables -w -I %s -j DROP" % (name, chain))
        else:
            for chain, flag in (("INPUT", "-s"), ("OUTPUT", "-d")):
                sh("ip netns exec %s iptables -w -I %s %s %s -j DROP" % (name, chain, flag, self.host(what)))

    def heal(self, node):
        sh("ip netns exec %sn%d iptables -w -F" % (self.tag, node))

    def stop(self, keep):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        if self.namespaces:
            for node in IDS:
                sh("ip netns del %sn%d" % (self.tag, node))
            sh("ip link del %sb" % self.tag)
            sh("iptables -w -D " + self.forward)
        if not keep:
            shutil.rmtree(self.dir)


def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


def one_round(cluster, fault):
    cluster.wait("all replicas are in sync", cluster.is_healthy)
    # The fault comes at any moment between two beats.
    time.sleep(random.uniform(0.3, 0.6))
    controller = cluster.controller()
    view = cluster.clients[controller].metadata()
    leads = {node: [p for p, (leader, _) in view[2].items() if leader == node] for node in IDS}
    others = [node for node in IDS if node != controller and leads[node]]
    victim = controller if fault.endswith("controller") else random.choice(others)
    survivors = [node for node in IDS if node != victim]
    process = cluster.processes[victim]
    began = time.time()
    if fault.startswith("kill"):
        process.kill()
    elif fault.startswith("pause"):
        process.send_signal(signal.SIGSTOP)
    elif fault.startswith("cut"):
        cluster.cut(victim, "both")
    elif fault.startswith("deaf"):
        cluster.cut(victim, "to")
    elif fault.startswith("mute"):
        cluster.cut(victim, "from")
    elif fault == "half-cut":
        cluster.cut(victim, next(node for node in survivors if node != controller))
    known, acked = {}, None
    probe = leads[victim][0] if leads[victim] else next(iter(view[2]))
    hosts = survivors if fault != "half-cut" else list(IDS)
    until = began + 15
    while time.time() < until and (len(known) < len(hosts) or acked is None):
        for node in hosts:
            if node not in known:
                now = cluster.clients[node].metadata()
                moved = now and now[2] and all(leader not in (victim, -1) for leader, _ in now[2].values())
                if moved or (fault == "half-cut" and now):
                    known[node] = time.time() - began
            if acked is None and cluster.clients[node].produce(probe, 2.0):
                acked = time.time() - began
    if fault.startswith("kill"):
        process.wait()
        time.sleep(0.2)
        cluster.start(victim)
    elif fault.startswith("pause"):
        time.sleep(random.uniform(0.5, 3))
        process.send_signal(signal.SIGCONT)
    else:
        time.sleep(random.uniform(0.5, 3))
        cluster.heal(victim)
    cluster.clients[victim].close()
    return max(known.values(), default=None) if len(known) == len(hosts) else None, acked


def figures(name, values):
    values = sorted(value * 1000 for value in values if value is not None)
    if not values:
        return "%-34s none" % name
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]
    return "%-34s n=%-4d p50=%6.1f ms  p99=%6.1f ms  max=%6.1f ms" % (name, len(values), at(0.5), at(0.99), values[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--bin", default="target/release/milena")
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--duration", type=float, default=60, help="seconds of calm")
    parser.add_argument("--hogs", type=int, default=0, help="busy loops beside the brokers while calm")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    args = parser.parse_args()
    # A time-out around this script must not leave brokers and namespaces behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    cluster = Cluster(os.path.abspath(args.bin), args.namespaces)
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.hogs)]
    try:
        cluster.form(args.partitions)
        if args.fault == "calm":
            cluster.wait("all replicas are in sync", cluster.is_healthy)
            time.sleep(args.duration)
            fenced = len(list(cluster.lines("broker fenced")))
            deaths = len(list(cluster.lines("held for dead")))
            print("calm for %d s with %d busy loops: fenced %d, suspected %d, controllers %d" % (
                args.duration, args.hogs, fenced, deaths, len(list(cluster.lines("this broker is the controller")))))
            return
        rounds = [one_round(cluster, args.fault) for _ in range(args.rounds)]
        print(args.fault, "with %d partitions" % args.partitions)
        print(figures("all survivors name new leaders", [known for known, _ in rounds]))
        print(figures("first acks=all on a moved one", [acked for _, acked in rounds]))
        print("rounds without either: %d" % sum(None in it for it in rounds))
    finally:
        for hog in hogs:
            hog.kill()
        cluster.stop(args.keep)
        if args.keep:
            print("logs:", cluster.dir)


if __name__ == "__main__":
    main()
