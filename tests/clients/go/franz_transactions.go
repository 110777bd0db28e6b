package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func franzTransactional(bootstrap, id string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.TransactionalID(id), kgo.TransactionTimeout(10 * time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.RequestTimeoutOverhead(5 * time.Second),
	}
}

func franzTransform(a []string) error {
	options := append(franzTransactional(a[0], a[4]), kgo.ConsumerGroup(a[3]), kgo.ConsumeTopics(a[1]),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond))
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return err
	}
	for round := 1; ; round++ {
		polling, stop := context.WithTimeout(context.Background(), 200*time.Millisecond)
		records := session.PollRecords(polling, 50).Records()
		stop()
		if len(records) == 0 {
			round--
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		failed := kgo.AbortingFirstErrPromise(session.Client())
		for _, r := range records {
			session.Produce(context.Background(), &kgo.Record{Topic: a[2], Partition: r.Partition, Value: r.Value}, failed.Promise())
		}
		why := "on purpose"
		if err := failed.Err(); err != nil {
			why = err.Error()
		}
		committed, err := session.End(context.Background(), kgo.TransactionEndTry(why == "on purpose" && round%number(a[5]) > 0))
		if err != nil {
			return err
		}
		if committed {
			say(map[string]int{"committed": len(records)})
		} else {
			// The session has gone back to what was committed.
			say(map[string]any{"aborted": len(records), "why": why})
		}
	}
}

func franzTransact(a []string) error {
	client, err := kgo.NewClient(franzTransactional(a[0], a[3])...)
	if err != nil {
		return err
	}
	return transactor{
		send: func(value string, partitions []int32) error {
			if err := client.BeginTransaction(); err != nil {
				return err
			}
			failed := kgo.AbortingFirstErrPromise(client)
			for _, p := range partitions {
				client.Produce(context.Background(), &kgo.Record{Topic: a[1], Partition: p, Value: []byte(value)}, failed.Promise())
			}
			return failed.Err()
		},
		commit: func() error { return client.EndTransaction(context.Background(), kgo.TryCommit) },
		abort: func() error {
			if err := client.AbortBufferedRecords(context.Background()); err != nil {
				return err
			}
			return client.EndTransaction(context.Background(), kgo.TryAbort)
		},
		// As the documentation of EndTransaction has it; a record that failed leaves its transaction to be aborted.
		abortable: func(err error) bool {
			return !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) &&
				(errors.Is(err, kerr.OperationNotAttempted) || errors.Is(err, kerr.TransactionAbortable) ||
					errors.Is(err, kgo.ErrAborting) || errors.Is(err, kgo.ErrRecordRetries) || errors.Is(err, kgo.ErrRecordTimeout))
		},
	}.run(a)
}
