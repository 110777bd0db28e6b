// A Kafka Streams application as its tutorial has it: words of lines, counted in a state store.
//
//   WordCount BOOTSTRAP APPLICATION STATE_DIR INPUT OUTPUT [NAME=VALUE]...
//
// Runs until it is killed or told to stop (SIGTERM). The count of a word is in OUTPUT each time it changes: nothing is cached,
// so a word counted twice or not at all can be seen. Prints the states it goes through, one per line.

import java.util.Arrays;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

public class WordCount {
    public static void main(String[] a) {
        var builder = new StreamsBuilder();
        builder.stream(a[3], Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.as("counts"))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(a[4], Produced.with(Serdes.String(), Serdes.String()));

        App.run(builder.build(), App.settings(a));
    }
}
