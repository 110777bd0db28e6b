// A Kafka Streams application as its tutorial has it: words of lines, counted in a state store.
//
//   WordCount BOOTSTRAP APPLICATION STATE_DIR INPUT OUTPUT [NAME=VALUE]...
//
// Runs until it is killed or told to stop (SIGTERM). The count of a word is in OUTPUT each time it changes: nothing is cached,
// so a word counted twice or not at all can be seen. Prints the states it goes through, one per line.

import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

public class WordCount {
    public static void main(String[] a) {
        var settings = new Properties();
        settings.put("bootstrap.servers", a[0]);
        settings.put("application.id", a[1]);
        settings.put("state.dir", a[2]);
        settings.put("default.key.serde", Serdes.StringSerde.class.getName());
        settings.put("default.value.serde", Serdes.StringSerde.class.getName());
        settings.put("statestore.cache.max.bytes", "0");
        for (String pair : Arrays.copyOfRange(a, 5, a.length)) settings.put(pair.split("=", 2)[0], pair.split("=", 2)[1]);

        var builder = new StreamsBuilder();
        builder.stream(a[3], Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.as("counts"))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(a[4], Produced.with(Serdes.String(), Serdes.String()));

        var streams = new KafkaStreams(builder.build(), new StreamsConfig(settings));
        streams.setStateListener((now, before) -> System.out.println(now));
        streams.setUncaughtExceptionHandler(thrown -> {
            thrown.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
