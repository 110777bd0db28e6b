"""Driver of kcat (Debian's, librdkafka 2.0.2). It makes no topics and knows no configs: those commands are absent."""

import json
import re
import subprocess
import sys

from common import main, record, say


def kcat(bootstrap, *arguments, **options):
    return ["kcat", "-b", bootstrap, *arguments]


def produce(bootstrap, topic, codec, acks, idempotent, count, base_ms):
    # kcat sends no time stamps of its own choice and reports no offsets: the suite reads them back.
    lines = []
    for i in range(int(count)):
        key, value, _, _ = record(i, int(base_ms))
        lines.append(key + b"\t" + value)
    arguments = ["-P", "-t", topic, "-K", "\t", "-z", codec, "-X", f"acks={acks}"]
    arguments += ["-X", f"enable.idempotence={'true' if idempotent == '1' else 'false'}", "-H", "h=kcat"]
    run = subprocess.run(kcat(bootstrap, *arguments), input=b"\n".join(lines), capture_output=True, timeout=60)
    if run.returncode:
        raise RuntimeError(run.stderr.decode().strip())


def tell(envelope):
    headers = envelope.get("headers") or []
    say(
        partition=envelope["partition"],
        offset=envelope["offset"],
        timestamp=envelope["ts"],
        key=envelope["key"],
        value=envelope["payload"],
        headers=dict(zip(headers[::2], headers[1::2])),
    )


def consume(bootstrap, topic, count):
    if count == "0":
        return
    arguments = ["-C", "-t", topic, "-o", "beginning", "-c", count, "-J", "-e", "-q"]
    run = subprocess.run(kcat(bootstrap, *arguments), capture_output=True, timeout=60)
    if run.returncode:
        raise RuntimeError(run.stderr.decode().strip())
    for line in run.stdout.splitlines():
        tell(json.loads(line))


def member(bootstrap, topic, group):
    # Commits by time, not by record: the suite is told the position that a fresh member would find, once it has passed.
    arguments = ["-G", group, "-J", "-u", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"]
    arguments += ["-X", "heartbeat.interval.ms=500", "-X", "auto.commit.interval.ms=100", topic]
    process = subprocess.Popen(kcat(bootstrap, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if line.startswith("{"):
            envelope = json.loads(line)
            say(partition=envelope["partition"], offset=envelope["offset"], key=envelope["key"], value=envelope["payload"])
        elif "rebalanced" in line and "assigned" in line:
            say(assigned=sorted(int(p) for p in re.findall(r"\[(\d+)\]", line)))
        elif "rror" in line:
            print(line.strip(), file=sys.stderr)
    sys.exit(process.wait())


def offsets(bootstrap, topic, timestamp):
    listing = json.loads(subprocess.run(kcat(bootstrap, "-L", "-J", "-t", topic), capture_output=True, timeout=20).stdout)
    for partition in listing["topics"][0]["partitions"]:
        asked = f"{topic}:{partition['partition']}:{timestamp}"
        answer = subprocess.run(kcat(bootstrap, "-Q", "-t", asked), capture_output=True, timeout=20, text=True).stdout
        say(partition=partition["partition"], offset=int(answer.split("offset ")[1]))


if __name__ == "__main__":
    main({f.__name__: f for f in (produce, consume, member, offsets)})
