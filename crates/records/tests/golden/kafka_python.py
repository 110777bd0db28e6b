"""Writes kafka-python-3.0.12-<codec>.bin with that client's builder; the codecs are python-snappy 0.7.3, lz4 4.4.5 and
zstandard 0.25.0."""

from kafka.record.default_records import DefaultRecordBatchBuilder

for name, codec in [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)]:
    batch = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=4711, producer_epoch=3, base_sequence=42,
        batch_size=1 << 16)
    for i in range(20):
        key = None if i % 4 == 3 else b"key-%d" % i
        value = None if i % 5 == 4 else b"value %d " % i * (i * 10)
        headers = [("h\u00e9ader", b"x%d" % i), ("null", None)] if i % 3 == 0 else []
        batch.append(i, 1760000000000 + i * 7919 % 100, key, value, headers)
    with open(f"kafka-python-3.0.12-{name}.bin", "wb") as file:
        file.write(bytes(batch.build()))
