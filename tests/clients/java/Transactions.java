// The transactional commands of Driver (see ../README.md).

import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

class Transactions {
    static KafkaProducer<String, String> producer(String bootstrap, String id) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id", id,
            "transaction.timeout.ms", 10_000, "request.timeout.ms", 10_000, "linger.ms", 0);
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        patiently(producer::initTransactions);
        return producer;
    }

    /** What timed out may be asked for again: the client then waits for the same answer. */
    static void patiently(Runnable ask) {
        while (true) {
            try {
                ask.run();
                return;
            } catch (TimeoutException again) {
                System.err.println(again);
            }
        }
    }

    /** Whether the producer may go on after an abort, as the documentation of KafkaProducer has it. */
    static boolean abortable(KafkaException failure) {
        for (Class<?> type = failure.getClass(); type != null; type = type.getSuperclass()) {
            // By name: Java's old client has it not.
            if (type.getSimpleName().equals("ApplicationRecoverableException")) return false;
        }
        return !(failure instanceof ProducerFencedException || failure instanceof OutOfOrderSequenceException
            || failure instanceof AuthorizationException || failure instanceof InvalidProducerEpochException);
    }

    static void transform(String[] a) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", a[0], "group.id", a[3], "enable.auto.commit", false,
            "auto.offset.reset", "earliest", "isolation.level", "read_committed", "session.timeout.ms", 6000,
            "heartbeat.interval.ms", 500, "max.poll.records", 50, "request.timeout.ms", 10_000));
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        var producer = producer(a[0], a[4]);
        consumer.subscribe(List.of(a[1]));
        for (int number = 1; ; number++) {
            var records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) {
                number--;
                continue;
            }
            Map<TopicPartition, OffsetAndMetadata> following = new HashMap<>();
            String why = "on purpose";
            producer.beginTransaction();
            try {
                for (var record : records) {
                    producer.send(new ProducerRecord<>(a[2], record.partition(), null, record.value()));
                    following.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                patiently(() -> producer.sendOffsetsToTransaction(following, consumer.groupMetadata()));
                if (number % Integer.parseInt(a[5]) != 0) {
                    patiently(producer::commitTransaction);
                    System.out.printf("{\"committed\": %d}%n", records.count());
                    continue;
                }
                producer.flush();
            } catch (KafkaException failure) {
                if (!abortable(failure)) throw failure;
                why = failure.toString();
            }
            patiently(producer::abortTransaction);
            System.out.printf("{\"aborted\": %d, \"why\": %s}%n", records.count(), Driver.quoted(why));
            for (var partition : records.partitions()) {
                if (consumer.assignment().contains(partition)) {
                    consumer.seek(partition, records.records(partition).stream().min(Comparator.comparing(it -> it.offset())).get().offset());
                }
            }
        }
    }

    static void transact(String[] a) throws Exception {
        var ended = new CountDownLatch(1);
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
        var producer = producer(a[0], a[3]);
        for (long number = Long.parseLong(a[4]); !ended.await(Long.parseLong(a[5]), TimeUnit.MILLISECONDS); number++) {
            List<Integer> chosen = new ArrayList<>();
            for (int partition = 0; partition < Integer.parseInt(a[2]); partition++) {
                if ((number + partition) % 3 != 0) chosen.add(partition);
            }
            long began = System.nanoTime() / 1000;
            boolean committing = false;
            String outcome = "aborted", why = "on purpose";
            try {
                producer.beginTransaction();
                for (int partition : chosen) producer.send(new ProducerRecord<>(a[1], partition, null, a[3] + "/" + number));
                producer.flush();
                if (number % Integer.parseInt(a[6]) != 0) {
                    committing = true;
                    patiently(producer::commitTransaction);
                    outcome = "committed";
                } else {
                    patiently(producer::abortTransaction);
                }
            } catch (KafkaException failure) {
                why = failure.toString();
                if (!abortable(failure)) {
                    tell(number, committing ? "unknown" : "aborted", began, chosen, why);
                    throw failure;
                }
                patiently(producer::abortTransaction);
            }
            tell(number, outcome, began, chosen, why);
        }
    }

    static void tell(long number, String outcome, long began, List<Integer> partitions, String why) {
        System.out.printf("{\"transaction\": %d, \"outcome\": \"%s\", \"began\": %d, \"ended\": %d, \"partitions\": %s, \"why\": %s}%n",
            number, outcome, began, System.nanoTime() / 1000, partitions, Driver.quoted(why));
    }
}
