package main

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var franz = commands{
	"transform": franzTransform,
	"transact":  franzTransact,
	"create": func(a []string) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(a[0]))
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = kadm.NewClient(client).CreateTopic(context.Background(), int32(number(a[2])), 1, pairs(a[3:]), a[1])
		if err == nil {
			say(map[string]string{"created": a[1]})
		}
		return err
	},
	"produce": func(a []string) error {
		codec := map[string]kgo.CompressionCodec{
			"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
			"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
		}[a[2]]
		acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[a[3]]
		options := []kgo.Opt{kgo.SeedBrokers(a[0]), kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(acks),
			kgo.ProducerLinger(5 * time.Millisecond)}
		if a[4] == "0" {
			options = append(options, kgo.DisableIdempotentWrite())
		}
		client, err := kgo.NewClient(options...)
		if err != nil {
			return err
		}
		defer client.Close()
		// Not kgo.RecordDeliveryTimeout: that counts from the records' time stamps, which the suite sets to the past.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		base := int64(number(a[6]))
		results := make([]*kgo.Record, number(a[5]))
		failures := make(chan error, len(results))
		for i := range results {
			key, value, header := content(i)
			results[i] = &kgo.Record{Topic: a[1], Key: []byte(key), Value: []byte(value), Timestamp: time.UnixMilli(base + int64(i)),
				Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(header)}}}
			client.Produce(ctx, results[i], func(_ *kgo.Record, err error) { failures <- err })
		}
		for range results {
			if err := <-failures; err != nil {
				return err
			}
		}
		for i, result := range results {
			say(sent{i, result.Partition, result.Offset})
		}
		return nil
	},
	"consume": func(a []string) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(a[0]), kgo.ConsumeTopics(a[1]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return err
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for left := number(a[2]); left > 0; {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return fmt.Errorf("%d records missing: %w", left, err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				headers := map[string]string{}
				for _, header := range r.Headers {
					headers[header.Key] = string(header.Value)
				}
				if left > 0 {
					say(record{r.Partition, r.Offset, r.Timestamp.UnixMilli(), string(r.Key), string(r.Value), headers})
				}
				left--
			})
		}
		return nil
	},
	"member": func(a []string) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(a[0]), kgo.ConsumerGroup(a[2]), kgo.ConsumeTopics(a[1]), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
			kgo.Balancers(kgo.RangeBalancer()), kgo.OnPartitionsAssigned(func(ctx context.Context, client *kgo.Client, added map[string][]int32) {
				owned := append([]int32{}, added[a[1]]...)
				sort.Slice(owned, func(i, j int) bool { return owned[i] < owned[j] })
				say(map[string]any{"assigned": owned})
			}))
		if err != nil {
			return err
		}
		for {
			fetches := client.PollRecords(context.Background(), 1)
			if err := fetches.Err(); err != nil {
				return err
			}
			for _, r := range fetches.Records() {
				say(record{Partition: r.Partition, Offset: r.Offset, Key: string(r.Key), Value: string(r.Value)})
				if err := client.CommitRecords(context.Background(), r); err != nil {
					continue // a rebalance overtook us: the new owner reads the record again
				}
				say(committed{r.Offset + 1, r.Partition})
			}
		}
	},
	"offsets": func(a []string) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(a[0]))
		if err != nil {
			return err
		}
		defer client.Close()
		listed, err := kadm.NewClient(client).ListOffsetsAfterMilli(context.Background(), int64(number(a[2])), a[1])
		if err != nil {
			return err
		}
		// kadm asks again for the end where nothing is that late; the suite wants to know that nothing is.
		listed.Each(func(o kadm.ListedOffset) {
			if o.Timestamp < 0 {
				o.Offset = -1
			}
			say(place{o.Partition, o.Offset})
		})
		return listed.Error()
	},
	"configs": func(a []string) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(a[0]))
		if err != nil {
			return err
		}
		defer client.Close()
		described, err := kadm.NewClient(client).DescribeTopicConfigs(context.Background(), a[1])
		if err != nil {
			return err
		}
		configs := map[string]string{}
		for _, config := range described[0].Configs {
			configs[config.Key] = config.MaybeValue()
		}
		say(map[string]any{"configs": configs})
		return described[0].Err
	},
	"alter": func(a []string) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(a[0]))
		if err != nil {
			return err
		}
		defer client.Close()
		for key, value := range pairs(a[2:]) {
			changes := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: value}}
			altered, err := kadm.NewClient(client).AlterTopicConfigs(context.Background(), changes, a[1])
			if err != nil {
				return err
			}
			if altered[0].Err != nil {
				return altered[0].Err
			}
			say(map[string]string{"altered": key})
		}
		return nil
	},
	"delete": func(a []string) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(a[0]))
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = kadm.NewClient(client).DeleteTopic(context.Background(), a[1])
		if err == nil {
			say(map[string]string{"deleted": a[1]})
		}
		return err
	},
}
