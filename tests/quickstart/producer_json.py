# A producer with a JSON serializer as tutorials write it, but for the address.
import json
import os

from kafka import KafkaProducer

producer = KafkaProducer(
    acks=0,
    compression_type='gzip',
    bootstrap_servers=[os.environ['BOOTSTRAP']],
    value_serializer=lambda x: json.dumps(x).encode('utf-8'),
)

for i in range(1000):
    data = {'name': 'post-' + str(i), 'views': i}
    producer.send('json-post', value=data)
    producer.flush()
