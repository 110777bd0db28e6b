# The shortest producer of the tutorials: no acknowledgement asked for by name, one flush at the end.
import os

from kafka import KafkaProducer

producer = KafkaProducer(bootstrap_servers=[os.environ['BOOTSTRAP']])
for i in range(100):
    producer.send(os.environ['TOPIC'], b'%d' % i)
producer.flush()
