# A producer as tutorials write it, but for the address.
import os

from kafka import KafkaProducer

producer = KafkaProducer(acks=0, compression_type='gzip', bootstrap_servers=[os.environ['BOOTSTRAP']])

for i in range(int(os.environ.get('COUNT', 10000))):
    producer.send('blog-post', value=('blog post %d' % i).encode('utf-8'))
    producer.flush()
