// Writes java-4.3.1-<codec>.bin with the builder of Apache's Java client, from the jar of kafka-clients 4.3.1 and
// the codec libraries it depends on: javac -cp "lib/*" Golden.java && java -cp "lib/*:." Golden

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;

public class Golden {
    public static void main(String[] args) throws Exception {
        Map<String, Compression> codecs = new LinkedHashMap<>();
        codecs.put("none", Compression.NONE);
        codecs.put("gzip", Compression.gzip().build());
        codecs.put("snappy", Compression.snappy().build());
        codecs.put("lz4", Compression.lz4().build());
        codecs.put("zstd", Compression.zstd().build());
        for (Map.Entry<String, Compression> codec : codecs.entrySet()) {
            MemoryRecordsBuilder batch = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), (byte) 2, codec.getValue(),
                    TimestampType.CREATE_TIME, 0L, -1L, 4711L, (short) 3, 42, false, -1);
            for (int i = 0; i < 20; i++) {
                byte[] key = i % 4 == 3 ? null : ("key-" + i).getBytes("UTF-8");
                byte[] value = i % 5 == 4 ? null : ("value " + i + " ").repeat(i * 10).getBytes("UTF-8");
                Header[] headers = i % 3 != 0 ? new Header[0] : new Header[] {
                    new RecordHeader("h\u00e9ader", ("x" + i).getBytes()), new RecordHeader("null", (byte[]) null)};
                batch.append(1760000000000L + i * 7919L % 100, key, value, headers);
            }
            ByteBuffer built = batch.build().buffer();
            byte[] bytes = new byte[built.remaining()];
            built.get(bytes);
            Files.write(Paths.get("java-4.3.1-" + codec.getKey() + ".bin"), bytes);
        }
    }
}
