"""Apache's command line tools, by version, as their scripts would start them."""

import os
import subprocess

from harness.broker import REPO
from harness.jvm import java, libraries

# Class of each tool: where 2.8.0 keeps it, where 4.3.1 does.
CLASSES = {
    "kafka-topics": ("kafka.admin.TopicCommand", "org.apache.kafka.tools.TopicCommand"),
    "kafka-console-producer": ("kafka.tools.ConsoleProducer", "org.apache.kafka.tools.ConsoleProducer"),
    "kafka-console-consumer": ("kafka.tools.ConsoleConsumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    "kafka-consumer-groups": ("kafka.admin.ConsumerGroupCommand", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    "kafka-configs": ("kafka.admin.ConfigCommand",) * 2,
    "kafka-get-offsets": ("kafka.tools.GetOffsetShell", "org.apache.kafka.tools.GetOffsetShell"),
    "kafka-broker-api-versions": ("kafka.admin.BrokerApiVersionsCommand", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    "kafka-delete-records": ("kafka.admin.DeleteRecordsCommand", "org.apache.kafka.tools.DeleteRecordsCommand"),
    "kafka-log-dirs": ("kafka.admin.LogDirsCommand", "org.apache.kafka.tools.LogDirsCommand"),
    "kafka-leader-election": ("kafka.admin.LeaderElectionCommand", "org.apache.kafka.tools.LeaderElectionCommand"),
    "kafka-reassign-partitions": ("kafka.admin.ReassignPartitionsCommand", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    "kafka-dump-log": ("kafka.tools.DumpLogSegments", "org.apache.kafka.tools.DumpLogSegments"),
    "kafka-producer-perf-test": ("org.apache.kafka.tools.ProducerPerformance",) * 2,
    "kafka-consumer-perf-test": ("kafka.tools.ConsumerPerformance", "org.apache.kafka.tools.ConsumerPerformance"),
    "kafka-verifiable-producer": ("org.apache.kafka.tools.VerifiableProducer",) * 2,
    "kafka-verifiable-consumer": ("org.apache.kafka.tools.VerifiableConsumer",) * 2,
    "kafka-cluster": ("kafka.tools.ClusterTool", "org.apache.kafka.tools.ClusterTool"),
    "kafka-features": ("kafka.admin.FeatureCommand", "org.apache.kafka.tools.FeatureCommand"),
    "kafka-metadata-quorum": (None, "org.apache.kafka.tools.MetadataQuorumCommand"),
    "kafka-streams-application-reset": ("kafka.tools.StreamsResetter", "org.apache.kafka.tools.StreamsResetter"),
    "kafka-groups": (None, "org.apache.kafka.tools.GroupsCommand"),
    "kafka-acls": ("kafka.admin.AclCommand", "org.apache.kafka.tools.AclCommand"),
    "kafka-transactions": (None, "org.apache.kafka.tools.TransactionsCommand"),
    "kafka-groups": (None, "org.apache.kafka.tools.GroupsCommand"),
    "kafka-storage": (None, "kafka.tools.StorageTool"),
}
VERSIONS = ("2.8.0", "4.3.1")


class Tools:
    """The tools of one Kafka version."""

    def __init__(self, version):
        self.version = version

    def command(self, tool, *arguments):
        name = CLASSES[tool][VERSIONS.index(self.version)]
        folder = REPO / "tests/java"
        logging = [f"-Dlog4j2.configurationFile={folder}/log4j2.xml", f"-Dlog4j.configuration=file:{folder}/log4j.properties"]
        return [*java("192m", self.version), *logging, "-cp", libraries(self.version), name, *(str(each) for each in arguments)]

    def attempt(self, tool, *arguments, stdin="", patience=90):
        """Exit code, standard output, standard error."""
        done = subprocess.run(self.command(tool, *arguments), input=stdin, capture_output=True, text=True, timeout=patience, env=os.environ)
        return done.returncode, done.stdout, done.stderr

    def run(self, tool, *arguments, stdin="", patience=90):
        """Standard output; fails with the tool's last words when it fails."""
        code, out, error = self.attempt(tool, *arguments, stdin=stdin, patience=patience)
        words = " | ".join((out + error).strip().splitlines()[-3:])
        assert code == 0, f"{tool} {self.version} ended with {code}: {words}"
        return out
