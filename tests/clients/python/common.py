"""What the Python drivers share: the records they send and the way they answer (see ../README.md)."""

import json
import sys
import threading
import time


def record(i, base_ms):
    """Key, value, headers and time stamp of record `i`."""
    key = b"key-%d" % (i % 10)
    value = b"value-%d-" % i + b"x" * 100
    return key, value, [("h", b"%d" % i)], base_ms + i


SPEAKING = threading.Lock()


def say(**fields):
    # Clients report from threads of their own: a line is written in one piece.
    with SPEAKING:
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


def now():
    """Microseconds of the monotonic clock, the same for every process of the machine."""
    return time.monotonic_ns() // 1000


def pace(partitions, every_ms, send):
    """Calls `send(partition, value)` for each partition every `every_ms` until standard input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    due = time.monotonic()
    number = 0
    while not ended.is_set():
        number += 1
        for partition in range(int(partitions)):
            send(partition, partition * 10**12 + number)
        due = max(due + float(every_ms) / 1000, time.monotonic())
        time.sleep(max(0, due - time.monotonic()))


def transactions(partitions, first, every_ms, abort_every, send, commit, abort, abortable):
    """Runs transactions until standard input ends and tells what became of each (`transact` in ../README.md).

    `send(number, partitions)` begins one and writes its records, `commit()` and `abort()` end it; `abortable(error)` says whether
    the client may go on after an abort. Any other error ends the program: only a new producer knows how that transaction ended.
    """
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    due = time.monotonic()
    number = int(first) - 1
    while not ended.is_set():
        number += 1
        chosen = [p for p in range(int(partitions)) if (number + p) % 3]
        began = now()

        def tell(outcome, **more):
            say(transaction=number, outcome=outcome, began=began, ended=now(), partitions=chosen, **more)

        committing = False
        try:
            send(number, chosen)
            if number % int(abort_every):
                committing = True
                commit()
                tell("committed")
            else:
                abort()
                tell("aborted")
        except Exception as failure:  # each client has its own
            if not abortable(failure):
                tell("unknown" if committing else "aborted", why=f"{type(failure).__name__}: {failure}")
                raise
            abort()
            tell("aborted", why=f"{type(failure).__name__}: {failure}")
        due = max(due + float(every_ms) / 1000, time.monotonic())
        time.sleep(max(0, due - time.monotonic()))


def main(commands):
    """Runs the command named by the first argument; an exception becomes the `error` line."""
    name, *arguments = sys.argv[1:]
    try:
        commands[name](*arguments)
    except Exception as error:  # the suite wants one line, whatever the client raises
        say(error=f"{type(error).__name__}: {error}")
        sys.exit(1)
