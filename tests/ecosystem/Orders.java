// A Kafka Streams application with what word count leaves out: a pattern subscription, a global table, joins of stream and
// table, of two streams and of two tables by foreign key, a window whose count is told once, and standby replicas.
//
//   Orders BOOTSTRAP APPLICATION STATE_DIR PREFIX OUTPUT [NAME=VALUE]...
//
// Reads orders from all topics PREFIX-orders-* (key: number of the order, value: CUSTOMER,ITEM), payments of orders from
// PREFIX-payments, the region of each customer from PREFIX-customers, the price of each item from PREFIX-prices. Writes to
// OUTPUT, for each order: `priced:ORDER` with customer and price, `paid:ORDER` when its payment is there, `placed:ORDER`
// with the customer's region; and `counted:CUSTOMER@START` with the orders of a customer in a window of ten seconds, once, when
// it is closed. Runs until it is killed or told to stop; prints the states it goes through.

import java.time.Duration;
import java.util.regex.Pattern;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;

public class Orders {
    // Of the time in records. Nothing comes later than this, and nothing is closed before it.
    static final Duration GRACE = Duration.ofHours(1);

    public static void main(String[] a) {
        var settings = App.settings(a);
        settings.put("topology.optimization", "all");

        var builder = new StreamsBuilder();
        KStream<String, String> orders = builder.stream(Pattern.compile(Pattern.quote(a[3]) + "-orders-.*"));
        KStream<String, String> payments = builder.stream(a[3] + "-payments");
        var customers = builder.<String, String>table(a[3] + "-customers");
        var prices = builder.<String, String>globalTable(a[3] + "-prices");

        var priced = orders.join(
            prices, (order, value) -> value.split(",")[1], (value, price) -> value.split(",")[0] + "," + price);
        var paid = orders.join(
            payments, (order, payment) -> payment, JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMinutes(5), GRACE));
        var placed = orders.mapValues(value -> value.split(",")[0]).toTable()
            .join(customers, customer -> customer, (customer, region) -> customer + "," + region);
        var counted = orders.groupBy((order, value) -> value.split(",")[0], Grouped.with("by-customer", Serdes.String(), Serdes.String()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), GRACE))
            .count(Materialized.with(Serdes.String(), Serdes.Long()))
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()));

        priced.map((order, value) -> KeyValue.pair("priced:" + order, value))
            .merge(paid.map((order, value) -> KeyValue.pair("paid:" + order, value)))
            .merge(placed.toStream().map((order, value) -> KeyValue.pair("placed:" + order, value)))
            .merge(counted.toStream().map((window, count) ->
                KeyValue.pair("counted:" + window.key() + "@" + window.window().start(), Long.toString(count))))
            .to(a[4]);

        App.run(builder.build(settings), settings);
    }
}
