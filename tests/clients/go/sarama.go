package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"sort"
	"time"

	"github.com/IBM/sarama"
)

func saramaConfig() *sarama.Config {
	sarama.Logger = log.New(io.Discard, "", 0)
	config := sarama.NewConfig()
	config.ClientID = "suite"
	// It asks a broker one thing at a time: a commit waits until the fetch before it is answered.
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.Rebalance.Timeout = 6 * time.Second
	config.Producer.Return.Successes = true
	return config
}

func withAdmin(bootstrap string, ask func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	return ask(admin)
}

func withClient(bootstrap string, ask func(sarama.Client) error) error {
	client, err := sarama.NewClient([]string{bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	defer client.Close()
	return ask(client)
}

// connect opens the connections that producing to a topic needs, one after the other.
//
// Left to itself, the producer opens them from one goroutine per partition. Where two meet (sarama 1.61, once in some
// hundred starts on a busy machine, at Apache Kafka too), one finds the broker "not connected" and closes the connection
// on which the other's first request is under way. A producer without idempotence then writes that batch twice.
func connect(client sarama.Client, topic string) error {
	partitions, err := client.Partitions(topic)
	if err != nil {
		return err
	}
	for _, partition := range partitions {
		leader, err := client.Leader(topic, partition)
		if err != nil {
			return err
		}
		if _, err := leader.Connected(); err != nil {
			return err
		}
	}
	return nil
}

var saramaCommands = commands{
	"transform": saramaTransform,
	"transact":  saramaTransact,
	"create": func(a []string) error {
		return withAdmin(a[0], func(admin sarama.ClusterAdmin) error {
			detail := sarama.TopicDetail{NumPartitions: int32(number(a[2])), ReplicationFactor: 1, ConfigEntries: pairs(a[3:])}
			if err := admin.CreateTopic(a[1], &detail, false); err != nil {
				return err
			}
			say(map[string]string{"created": a[1]})
			return nil
		})
	},
	"produce": func(a []string) error {
		config := saramaConfig()
		config.Producer.Compression = map[string]sarama.CompressionCodec{
			"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
			"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
		}[a[2]]
		config.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
			"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll,
		}[a[3]]
		if a[4] == "1" {
			config.Producer.Idempotent = true
			config.Net.MaxOpenRequests = 1
		}
		client, err := sarama.NewClient([]string{a[0]}, config)
		if err != nil {
			return err
		}
		defer client.Close()
		if err := connect(client, a[1]); err != nil {
			return err
		}
		producer, err := sarama.NewSyncProducerFromClient(client)
		if err != nil {
			return err
		}
		defer producer.Close()
		messages := make([]*sarama.ProducerMessage, number(a[5]))
		for i := range messages {
			key, value, header := content(i)
			messages[i] = &sarama.ProducerMessage{Topic: a[1], Key: sarama.StringEncoder(key), Value: sarama.StringEncoder(value),
				Timestamp: time.UnixMilli(int64(number(a[6])) + int64(i)),
				Headers:   []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(header)}}}
		}
		if err := producer.SendMessages(messages); err != nil {
			var failures sarama.ProducerErrors
			if errors.As(err, &failures) && len(failures) > 0 {
				return failures[0].Err
			}
			return err
		}
		for i, message := range messages {
			if a[3] == "0" {
				message.Offset = -1
			}
			say(sent{i, message.Partition, message.Offset})
		}
		return nil
	},
	"consume": func(a []string) error {
		consumer, err := sarama.NewConsumer([]string{a[0]}, saramaConfig())
		if err != nil {
			return err
		}
		partitions, err := consumer.Partitions(a[1])
		if err != nil {
			return err
		}
		messages := make(chan *sarama.ConsumerMessage)
		for _, partition := range partitions {
			stream, err := consumer.ConsumePartition(a[1], partition, sarama.OffsetOldest)
			if err != nil {
				return err
			}
			go func() {
				for message := range stream.Messages() {
					messages <- message
				}
			}()
		}
		late := time.After(20 * time.Second)
		for left := number(a[2]); left > 0; left-- {
			select {
			case m := <-messages:
				headers := map[string]string{}
				for _, header := range m.Headers {
					headers[string(header.Key)] = string(header.Value)
				}
				say(record{m.Partition, m.Offset, m.Timestamp.UnixMilli(), string(m.Key), string(m.Value), headers})
			case <-late:
				return fmt.Errorf("%d records missing after 20 s", left)
			}
		}
		return nil
	},
	"member": func(a []string) error {
		group, err := sarama.NewConsumerGroup([]string{a[0]}, a[2], saramaConfig())
		if err != nil {
			return err
		}
		for {
			if err := group.Consume(context.Background(), []string{a[1]}, reader{a[1]}); err != nil {
				return err
			}
		}
	},
	"offsets": func(a []string) error {
		return withClient(a[0], func(client sarama.Client) error {
			partitions, err := client.Partitions(a[1])
			for _, partition := range partitions {
				var offset int64
				if offset, err = client.GetOffset(a[1], partition, int64(number(a[2]))); err != nil {
					return err
				}
				say(place{partition, offset})
			}
			return err
		})
	},
	"configs": func(a []string) error {
		return withAdmin(a[0], func(admin sarama.ClusterAdmin) error {
			entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: a[1]})
			configs := map[string]string{}
			for _, entry := range entries {
				configs[entry.Name] = entry.Value
			}
			say(map[string]any{"configs": configs})
			return err
		})
	},
	"alter": func(a []string) error {
		return withAdmin(a[0], func(admin sarama.ClusterAdmin) error {
			for key, value := range pairs(a[2:]) {
				change := map[string]sarama.IncrementalAlterConfigsEntry{key: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}}
				if err := admin.IncrementalAlterConfig(sarama.TopicResource, a[1], change, false); err != nil {
					return err
				}
				say(map[string]string{"altered": key})
			}
			return nil
		})
	},
	"delete": func(a []string) error {
		return withAdmin(a[0], func(admin sarama.ClusterAdmin) error {
			if err := admin.DeleteTopic(a[1]); err != nil {
				return err
			}
			say(map[string]string{"deleted": a[1]})
			return nil
		})
	},
}

// reader is a member of a group: it tells what it was given and commits after each record.
type reader struct{ topic string }

func (r reader) Setup(session sarama.ConsumerGroupSession) error {
	owned := append([]int32{}, session.Claims()[r.topic]...)
	sort.Slice(owned, func(i, j int) bool { return owned[i] < owned[j] })
	say(map[string]any{"assigned": owned})
	return nil
}

func (r reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (r reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, open := <-claim.Messages():
			if !open {
				return nil
			}
			say(record{Partition: m.Partition, Offset: m.Offset, Key: string(m.Key), Value: string(m.Value)})
			session.MarkMessage(m, "")
			session.Commit()
			if session.Context().Err() == nil {
				say(committed{m.Offset + 1, m.Partition})
			}
		case <-session.Context().Done():
			return nil
		}
	}
}
