# A consumer as tutorials write it, but for the address.
import os

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    os.environ.get('TOPIC', 'blog-post'),
    bootstrap_servers=[os.environ['BOOTSTRAP']],
    auto_offset_reset='earliest',
    enable_auto_commit=True,
    consumer_timeout_ms=1000,
)

print('[begin] get consumer list')
for message in consumer:
    print("Topic: %s, Partition: %d, Offset: %d, Key: %s, Value: %s" % (
        message.topic, message.partition, message.offset, message.key, message.value.decode('utf-8')))
print('[end] get consumer list')
