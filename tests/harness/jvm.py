"""How the suites start Java: small, on two cores that it shares with brokers.

Half of the time that one of Apache's tools takes is the reading and verifying of classes that are the same for all of them, and
the suites start hundreds. `tests/lib/archive_classes.py` stores these classes as the JVM has them in memory (class data
sharing). A JVM that an archive does not fit, or that finds none, does without.
"""

from harness.broker import CACHE


def libraries(version):
    """The class path of Apache Kafka."""
    return f"{CACHE}/kafka-{version}/libs/*"


def archive(version):
    """Where its classes are stored; of use only where `libraries` come first in the class path."""
    return CACHE / f"kafka-{version}" / "classes.jsa"


def java(heap, version):
    """The start of a command line."""
    options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    if archive(version).exists():
        # The JVM would say on standard output why it does without.
        options += [f"-XX:SharedArchiveFile={archive(version)}", "-Xlog:disable", "-Xlog:all=error:stderr"]
    return ["java", *options]
