// What the Streams applications of this folder have in common: settings from the command line, and a life that ends when it
// is told to.

import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

final class App {
    private App() {}

    // BOOTSTRAP APPLICATION STATE_DIR, two words that are the application's own, then NAME=VALUE.
    static Properties settings(String[] words) {
        var settings = new Properties();
        settings.put("bootstrap.servers", words[0]);
        settings.put("application.id", words[1]);
        settings.put("state.dir", words[2]);
        settings.put("default.key.serde", Serdes.StringSerde.class.getName());
        settings.put("default.value.serde", Serdes.StringSerde.class.getName());
        // What a cache holds back is not seen in the output, and is joined twice: as it is found there, and when it is let go.
        settings.put("statestore.cache.max.bytes", "0");
        for (String pair : Arrays.copyOfRange(words, 5, words.length)) settings.put(pair.split("=", 2)[0], pair.split("=", 2)[1]);
        return settings;
    }

    // Runs until it is killed or told to stop (SIGTERM); prints the states it goes through, one per line.
    static void run(Topology topology, Properties settings) {
        var streams = new KafkaStreams(topology, new StreamsConfig(settings));
        streams.setStateListener((now, before) -> System.out.println(now));
        streams.setUncaughtExceptionHandler(thrown -> {
            thrown.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
