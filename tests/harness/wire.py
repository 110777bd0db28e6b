"""Kafka's protocol by hand: frames as bytes, any request at any version, record batches with any fault in them.

Messages are encoded and decoded with kafka-python 3's tables, which come from Apache's schemas and know nothing of Milena's.
"""

import gzip
import importlib
import socket
import struct
import time

import crc32c
import cramjam
import lz4.frame
import zstandard

PACKAGES = [importlib.import_module(f"kafka.protocol.{name}") for name in ("admin", "consumer", "metadata", "producer")]


def message_class(name):
    for package in PACKAGES:
        if hasattr(package, name):
            return getattr(package, name)
    raise KeyError(name)


def build(holder, version, fields):
    """An instance of `holder` at `version` from plain dictionaries and lists."""
    struct_fields = holder._struct.fields
    values = {}
    for name, value in fields.items():
        field = struct_fields[name]
        if isinstance(value, dict) and field.is_struct():
            value = build(field.data_class, version, value)
        elif isinstance(value, list) and field.is_struct_array():
            value = [build(field.data_class, version, each) for each in value]
        values[name] = value
    return holder(version=version, **values)


class Refused(Exception):
    """The broker closed the connection instead of answering."""


class Peer:
    """One connection."""

    def __init__(self, address, patience=15.0):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 100

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def encode(self, name, version, **fields):
        """The whole frame of a request; the next correlation id is used."""
        self.correlation += 1
        request = build(message_class(name + "Request"), version, fields)
        request.with_header(correlation_id=self.correlation, client_id="raw")
        return bytes(request.encode(version=version, header=True, framed=True))

    def send(self, name, version, **fields):
        self.socket.sendall(self.encode(name, version, **fields))
        return self.correlation

    def frame(self):
        """The next frame without its length; raises Refused when the peer closes."""
        (size,) = struct.unpack(">i", self.exactly(4))
        return self.exactly(size)

    def exactly(self, size):
        got = bytearray()
        while len(got) < size:
            try:
                part = self.socket.recv(size - len(got))
            except ConnectionError as error:
                raise Refused(str(error)) from error
            if not part:
                raise Refused(f"closed after {len(got)} of {size} bytes")
            got += part
        return bytes(got)

    def receive(self, name, version):
        answer = message_class(name + "Response").decode(self.frame(), version=version, header=True)
        assert answer.header.correlation_id == self.correlation, f"answer to {answer.header.correlation_id}, wanted {self.correlation}"
        return answer.to_dict(json=False)

    def ask(self, name, version, **fields):
        """Sends a request and returns its answer as dictionaries and lists."""
        self.send(name, version, **fields)
        return self.receive(name, version)

    def closed(self, patience=10.0):
        """Whether the broker closes the connection without another byte."""
        self.socket.settimeout(patience)
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def varint(value):
    """Zig-zag, as inside record batches."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while True:
        low = value & 0x7F
        value >>= 7
        if not value:
            return bytes(out + bytes([low]))
        out.append(low | 0x80)


def sized(content):
    return varint(-1) if content is None else varint(len(content)) + content


def record(delta, key, value, timestamp_delta=0, headers=()):
    body = b"\0" + varint(timestamp_delta) + varint(delta) + sized(key) + sized(value) + varint(len(headers))
    for name, content in headers:
        body += sized(name) + sized(content)
    return varint(len(body)) + body


def xerial(content):
    block = bytes(cramjam.snappy.compress_raw(content))
    return b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, len(block)) + block


def compress_lz4(content):
    """Independent blocks: Kafka refuses linked ones, which the package writes by default."""
    return lz4.frame.compress(content, block_linked=False)


COMPRESS = {
    "none": (0, lambda content: content),
    "gzip": (1, lambda content: gzip.compress(content, mtime=0)),
    "snappy": (2, xerial),
    "snappy-raw": (2, lambda content: bytes(cramjam.snappy.compress_raw(content))),
    "lz4": (3, compress_lz4),
    "zstd": (4, zstandard.compress),
}


def batch(
    records=None,
    *,
    codec="none",
    payload=None,
    count=None,
    timestamp=None,
    max_timestamp=None,
    producer=(-1, -1, -1),
    attributes=0,
    magic=2,
    base_offset=0,
    last_delta=None,
    crc=None,
):
    """A record batch. Everything that the header says can be made wrong; `payload` replaces the compressed records."""
    records = [(b"k", b"v")] if records is None else records
    number, compress = COMPRESS[codec]
    if payload is None:
        payload = compress(b"".join(record(i, key, value) for i, (key, value) in enumerate(records)))
    count = len(records) if count is None else count
    timestamp = int(time.time() * 1000) if timestamp is None else timestamp
    checked = struct.pack(
        ">hiqqqhii",
        attributes | number,
        count - 1 if last_delta is None else last_delta,
        timestamp,
        timestamp if max_timestamp is None else max_timestamp,
        producer[0],
        producer[1],
        producer[2],
        count,
    )
    checked += payload
    crc = crc32c.crc32c(checked) if crc is None else crc
    return struct.pack(">qiibI", base_offset, len(checked) + 9, -1, magic, crc) + checked


def produce_fields(topic, records, acks=-1, partition=0):
    partitions = [{"index": partition, "records": records}]
    return {"transactional_id": None, "acks": acks, "timeout_ms": 10_000, "topic_data": [{"name": topic, "partition_data": partitions}]}


def produce(peer, topic, records, version=9, acks=-1, partition=0):
    """The answer for the one partition."""
    answer = peer.ask("Produce", version, **produce_fields(topic, records, acks, partition))
    return answer["responses"][0]["partition_responses"][0]


def fetch(peer, topic, offset, version=11, max_wait_ms=0, partition=0, max_bytes=1 << 20, session=(0, -1), epoch=-1, isolation=0):
    """The whole answer to a fetch of one partition."""
    asked = {"partition": partition, "current_leader_epoch": epoch, "fetch_offset": offset, "partition_max_bytes": max_bytes}
    return peer.ask(
        "Fetch",
        version,
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        max_bytes=max_bytes,
        isolation_level=isolation,
        session_id=session[0],
        session_epoch=session[1],
        topics=[{"topic": topic, "partitions": [asked]}],
    )


def create_topic(peer, name, partitions=1, replicas=1, configs=None, version=7, validate_only=False):
    configs = [{"name": key, "value": value} for key, value in (configs or {}).items()]
    topic = {"name": name, "num_partitions": partitions, "replication_factor": replicas, "assignments": [], "configs": configs}
    answer = peer.ask("CreateTopics", version, topics=[topic], timeout_ms=10_000, validate_only=validate_only)
    return answer["topics"][0]
