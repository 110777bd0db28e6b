// Driver of Apache's Java client (see ../README.md); run from source: `java -cp '<jars>/*' Driver.java COMMAND ...`.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Driver {
    public static void main(String[] words) throws Exception {
        String[] a = Arrays.copyOfRange(words, 1, words.length);
        try {
            switch (words[0]) {
                case "create" -> create(a);
                case "produce" -> produce(a);
                case "load" -> load(a);
                case "consume" -> consume(a);
                case "member" -> member(a);
                case "transform" -> Transactions.transform(a);
                case "transact" -> Transactions.transact(a);
                case "offsets" -> offsets(a);
                case "configs" -> configs(a);
                case "alter" -> alter(a);
                case "delete" -> delete(a);
                default -> throw new IllegalArgumentException("no such command: " + words[0]);
            }
        } catch (Exception thrown) {
            Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            System.out.println("{\"error\": " + quoted(cause.getClass().getSimpleName() + ": " + cause.getMessage()) + "}");
            System.exit(1);
        }
    }

    static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + "\"";
    }

    static Admin admin(String bootstrap) {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    static void create(String[] a) throws Exception {
        try (Admin admin = admin(a[0])) {
            Map<String, String> configs = new HashMap<>();
            for (int i = 3; i < a.length; i++) configs.put(a[i].split("=", 2)[0], a[i].split("=", 2)[1]);
            NewTopic topic = new NewTopic(a[1], Integer.parseInt(a[2]), (short) 1).configs(configs);
            admin.createTopics(List.of(topic)).all().get();
        }
        System.out.println("{\"created\": " + quoted(a[1]) + "}");
    }

    static void produce(String[] a) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", a[0], "compression.type", a[2], "acks", a[3],
            "enable.idempotence", a[4].equals("1"), "linger.ms", 5, "batch.size", 4096));
        long base = Long.parseLong(a[6]);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < Integer.parseInt(a[5]); i++) {
                var record = new ProducerRecord<>(a[1], null, base + i, "key-" + i % 10, "value-" + i + "-" + "x".repeat(100));
                record.headers().add("h", Integer.toString(i).getBytes());
                sent.add(producer.send(record));
            }
        }
        for (int i = 0; i < sent.size(); i++) {
            RecordMetadata at = sent.get(i).get();
            System.out.printf("{\"i\": %d, \"partition\": %d, \"offset\": %d}%n", i, at.partition(), at.hasOffset() ? at.offset() : -1);
        }
    }

    static void load(String[] a) throws Exception {
        var ended = new java.util.concurrent.CountDownLatch(1);
        var listener = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException gone) {
                // The end as well.
            }
            ended.countDown();
        });
        listener.setDaemon(true);
        listener.start();
        Map<String, Object> settings = Map.of("bootstrap.servers", a[0], "acks", "all", "enable.idempotence", true, "linger.ms", 0);
        double every = Double.parseDouble(a[3]) * 1e6;
        long began = System.nanoTime();
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (long number = 1; !ended.await((long) Math.max(0, began + number * every - System.nanoTime()), java.util.concurrent.TimeUnit.NANOSECONDS); number++) {
                for (int partition = 0; partition < Integer.parseInt(a[2]); partition++) {
                    int to = partition;
                    long value = partition * 1_000_000_000_000L + number;
                    long sent = System.nanoTime();
                    producer.send(new ProducerRecord<>(a[1], partition, "load", Long.toString(value)), (at, failed) -> System.out.printf(
                        "{\"partition\": %d, \"value\": %d, \"began\": %d, \"ended\": %d, %s}%n", to, value, sent / 1000, System.nanoTime() / 1000,
                        failed == null ? "\"offset\": " + at.offset() : "\"failed\": " + quoted(failed.getClass().getSimpleName())));
                }
            }
        }
    }

    static KafkaConsumer<String, String> consumer(Map<String, Object> settings) {
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static List<TopicPartition> partitions(KafkaConsumer<String, String> consumer, String topic) {
        return consumer.partitionsFor(topic).stream().map(it -> new TopicPartition(topic, it.partition())).collect(Collectors.toList());
    }

    static void tell(ConsumerRecord<String, String> record) {
        String headers = Arrays.stream(record.headers().toArray())
            .map(header -> quoted(header.key()) + ": " + quoted(new String(header.value())))
            .collect(Collectors.joining(", "));
        System.out.printf("{\"partition\": %d, \"offset\": %d, \"timestamp\": %d, \"key\": %s, \"value\": %s, \"headers\": {%s}}%n",
            record.partition(), record.offset(), record.timestamp(), quoted(record.key()), quoted(record.value()), headers);
    }

    static void consume(String[] a) {
        try (var consumer = consumer(Map.of("bootstrap.servers", a[0], "enable.auto.commit", false))) {
            var partitions = partitions(consumer, a[1]);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            int left = Integer.parseInt(a[2]);
            long deadline = System.currentTimeMillis() + 20_000;
            while (left > 0) {
                if (System.currentTimeMillis() > deadline) throw new IllegalStateException(left + " records missing after 20 s");
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    if (left-- > 0) tell(record);
                }
            }
        }
    }

    static class Announce implements ConsumerRebalanceListener {
        public void onPartitionsRevoked(Collection<TopicPartition> revoked) { }

        public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
            String list = assigned.stream().map(TopicPartition::partition).sorted().map(String::valueOf).collect(Collectors.joining(", "));
            System.out.println("{\"assigned\": [" + list + "]}");
        }
    }

    static void member(String[] a) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", a[0], "group.id", a[2], "enable.auto.commit", false,
            "auto.offset.reset", "earliest", "session.timeout.ms", 6000, "heartbeat.interval.ms", 500, "max.poll.records", 1));
        settings.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
        var consumer = consumer(settings);
        consumer.subscribe(List.of(a[1]), new Announce());
        while (true) {
            for (var record : consumer.poll(Duration.ofMillis(500))) {
                tell(record);
                var partition = new TopicPartition(record.topic(), record.partition());
                try {
                    consumer.commitSync(Map.of(partition, new OffsetAndMetadata(record.offset() + 1)));
                } catch (CommitFailedException | RebalanceInProgressException overtaken) {
                    continue; // the new owner reads the record again
                }
                System.out.printf("{\"committed\": %d, \"partition\": %d}%n", record.offset() + 1, record.partition());
            }
        }
    }

    static void offsets(String[] a) {
        try (var consumer = consumer(Map.of("bootstrap.servers", a[0]))) {
            Map<TopicPartition, Long> asked = new HashMap<>();
            for (var partition : partitions(consumer, a[1])) asked.put(partition, Long.parseLong(a[2]));
            consumer.offsetsForTimes(asked).forEach((partition, hit) ->
                System.out.printf("{\"partition\": %d, \"offset\": %d}%n", partition.partition(), hit == null ? -1 : hit.offset()));
        }
    }

    static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    static void configs(String[] a) throws Exception {
        try (Admin admin = admin(a[0])) {
            var described = admin.describeConfigs(List.of(resource(a[1]))).all().get().get(resource(a[1]));
            Map<String, String> configs = new TreeMap<>();
            for (ConfigEntry entry : described.entries()) configs.put(entry.name(), entry.value());
            System.out.println("{\"configs\": {" + configs.entrySet().stream()
                .map(entry -> quoted(entry.getKey()) + ": " + (entry.getValue() == null ? "null" : quoted(entry.getValue())))
                .collect(Collectors.joining(", ")) + "}}");
        }
    }

    static void alter(String[] a) throws Exception {
        try (Admin admin = admin(a[0])) {
            var entry = new ConfigEntry(a[2].split("=", 2)[0], a[2].split("=", 2)[1]);
            var change = List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.SET));
            admin.incrementalAlterConfigs(Map.of(resource(a[1]), change)).all().get();
            System.out.println("{\"altered\": " + quoted(entry.name()) + "}");
        }
    }

    static void delete(String[] a) throws Exception {
        try (Admin admin = admin(a[0])) {
            admin.deleteTopics(List.of(a[1])).all().get();
        }
        System.out.println("{\"deleted\": " + quoted(a[1]) + "}");
    }
}
