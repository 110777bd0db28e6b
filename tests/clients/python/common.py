"""What the Python drivers share: the records they send and the way they answer (see ../README.md)."""

import json
import sys


def record(i, base_ms):
    """Key, value, headers and time stamp of record `i`."""
    key = b"key-%d" % (i % 10)
    value = b"value-%d-" % i + b"x" * 100
    return key, value, [("h", b"%d" % i)], base_ms + i


def say(**fields):
    print(json.dumps(fields), flush=True)


def say_record(partition, offset, timestamp, key, value, headers):
    say(
        partition=partition,
        offset=offset,
        timestamp=timestamp,
        key=key.decode(),
        value=value.decode(),
        headers={name: content.decode() for name, content in headers or []},
    )


def main(commands):
    """Runs the command named by the first argument; an exception becomes the `error` line."""
    name, *arguments = sys.argv[1:]
    try:
        commands[name](*arguments)
    except Exception as error:  # the suite wants one line, whatever the client raises
        say(error=f"{type(error).__name__}: {error}")
        sys.exit(1)
