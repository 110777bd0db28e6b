# A consumer in a group, which commits what it has read when it is closed.
import os

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    os.environ.get('TOPIC', 'blog-post'),
    bootstrap_servers=[os.environ['BOOTSTRAP']],
    auto_offset_reset='earliest',
    enable_auto_commit=True,
    group_id=os.environ['GROUP'],
    consumer_timeout_ms=6000,
)

print('[begin] get consumer list')
for message in consumer:
    print("Topic: %s, Partition: %d, Offset: %d, Key: %s, Value: %s" % (
        message.topic, message.partition, message.offset, message.key, message.value.decode('utf-8')))
print('[end] get consumer list')
consumer.close()
