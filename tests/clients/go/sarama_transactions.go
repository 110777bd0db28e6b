package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// saramaPatience is short because it adds up: at a broker that hangs, sarama waits for ApiVersions in its newest and in its
// oldest version before it asks what it came for, and one request waits for another.
const saramaPatience = 2 * time.Second

func saramaTransactional(bootstrap, id string) (sarama.SyncProducer, error) {
	config := saramaConfig()
	config.Producer.Transaction.ID = id
	config.Producer.Transaction.Timeout = 10 * time.Second
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Net.MaxOpenRequests = 1
	config.Net.ReadTimeout = saramaPatience
	return sarama.NewSyncProducer(strings.Split(bootstrap, ","), config)
}

// saramaAgain asks until the producer says that asking is no use: it gives up after a few attempts, whatever the reason.
func saramaAgain(producer sarama.SyncProducer, ask func() error) error {
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := ask()
		if err == nil || producer.TxnStatus()&sarama.ProducerTxnFlagInError != 0 || time.Now().After(deadline) {
			return err
		}
	}
}

type transformation struct {
	producer   sarama.SyncProducer
	sink       string
	group      string
	abortEvery int
	// The claims of a session share the producer: one transaction at a time.
	turn   sync.Mutex
	number int
	broken error
}

func (t *transformation) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (t *transformation) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim ends its transaction before it returns: the next generation asks for the offsets afterwards.
func (t *transformation) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case first, open := <-claim.Messages():
			if !open {
				return nil
			}
			batch := []*sarama.ConsumerMessage{first}
			for more := true; more && len(batch) < 20; {
				select {
				case message, open := <-claim.Messages():
					if more = open; open {
						batch = append(batch, message)
					}
				default:
					more = false
				}
			}
			if !t.move(session, batch) {
				return nil
			}
		}
	}
}

// move repeats the transaction until it is committed; false if the session or the producer is over.
func (t *transformation) move(session sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) bool {
	t.turn.Lock()
	defer t.turn.Unlock()
	for session.Context().Err() == nil && t.broken == nil {
		t.number++
		err := t.attempt(session, batch, t.number%t.abortEvery > 0)
		if err == nil {
			say(map[string]int{"committed": len(batch)})
			return true
		}
		if t.producer.TxnStatus()&sarama.ProducerTxnFlagFatalError == 0 {
			if failed := saramaAgain(t.producer, t.producer.AbortTxn); failed != nil {
				err = failed
			}
		}
		if t.producer.TxnStatus()&sarama.ProducerTxnFlagReady == 0 {
			t.broken = fmt.Errorf("%s: %w", t.producer.TxnStatus(), err)
			return false
		}
		say(map[string]any{"aborted": len(batch), "why": err.Error()})
	}
	return false
}

var errOnPurpose = errors.New("on purpose")

func (t *transformation) attempt(session sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage, commit bool) error {
	if err := t.producer.BeginTxn(); err != nil {
		return err
	}
	messages := []*sarama.ProducerMessage{}
	for _, it := range batch {
		messages = append(messages, &sarama.ProducerMessage{Topic: t.sink, Partition: it.Partition, Value: sarama.ByteEncoder(it.Value)})
	}
	if err := t.producer.SendMessages(messages); err != nil {
		return err
	}
	last := batch[len(batch)-1]
	offsets := map[string][]*sarama.PartitionOffsetMetadata{last.Topic: {{Partition: last.Partition, Offset: last.Offset + 1}}}
	metadata := sarama.NewConsumerGroupMetadataFromSession(session, t.group, nil)
	if err := t.producer.AddOffsetsToTxnWithGroupMetadata(offsets, metadata); err != nil {
		return err
	}
	if !commit {
		return errOnPurpose
	}
	return saramaAgain(t.producer, t.producer.CommitTxn)
}

func saramaTransform(a []string) error {
	// First the end of what a predecessor left open.
	producer, err := saramaTransactional(a[0], a[4])
	if err != nil {
		return err
	}
	config := saramaConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Net.ReadTimeout = saramaPatience
	group, err := sarama.NewConsumerGroup(strings.Split(a[0], ","), a[3], config)
	if err != nil {
		return err
	}
	it := &transformation{producer: producer, sink: a[2], group: a[3], abortEvery: number(a[5])}
	for it.broken == nil {
		if err := group.Consume(context.Background(), []string{a[1]}, it); err != nil {
			// The group's coordinator may be dying: a member goes on asking.
			say(map[string]string{"trouble": err.Error()})
			time.Sleep(100 * time.Millisecond)
		}
	}
	return it.broken
}

func saramaTransact(a []string) error {
	producer, err := saramaTransactional(a[0], a[3])
	if err != nil {
		return err
	}
	return transactor{
		send: func(value string, partitions []int32) error {
			if err := producer.BeginTxn(); err != nil {
				return err
			}
			messages := []*sarama.ProducerMessage{}
			for _, p := range partitions {
				messages = append(messages, &sarama.ProducerMessage{Topic: a[1], Partition: p, Value: sarama.StringEncoder(value)})
			}
			return producer.SendMessages(messages)
		},
		commit: func() error { return saramaAgain(producer, producer.CommitTxn) },
		abort:  func() error { return saramaAgain(producer, producer.AbortTxn) },
		abortable: func(error) bool {
			status := producer.TxnStatus()
			return status&sarama.ProducerTxnFlagFatalError == 0 &&
				status&(sarama.ProducerTxnFlagAbortableError|sarama.ProducerTxnFlagInTransaction) != 0
		},
	}.run(a)
}
