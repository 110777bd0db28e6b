package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"time"
)

// What the two clients share of `transact` (see ../README.md): which transaction writes where, and what is told of it.

// ended is closed when standard input ends.
func ended() <-chan struct{} {
	over := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
		close(over)
	}()
	return over
}

// now is in microseconds of the system's monotonic clock, as near as Go lets a program come to it.
func now() int64 { return time.Now().UnixMicro() }

// transactor is one client's way to run a transaction.
type transactor struct {
	// send begins a transaction and writes a value to each partition.
	send func(value string, partitions []int32) error
	// commit says whether it committed; with an error nobody knows, unless abortable.
	commit func() error
	abort  func() error
	// abortable tells whether the client may go on after an abort.
	abortable func(error) bool
}

// run does transactions until standard input ends. An error that is not abortable ends it: only a new producer knows how
// that transaction ended.
func (t transactor) run(a []string) error {
	over := ended()
	pace := time.NewTicker(time.Duration(number(a[5])) * time.Millisecond)
	for n := number(a[4]); ; n++ {
		select {
		case <-over:
			return nil
		case <-pace.C:
		}
		chosen := []int32{}
		for p := range number(a[2]) {
			if (n+p)%3 > 0 {
				chosen = append(chosen, int32(p))
			}
		}
		began := now()
		tell := func(outcome string, why error) {
			answer := map[string]any{"transaction": n, "outcome": outcome, "began": began, "ended": now(), "partitions": chosen}
			if why != nil {
				answer["why"] = why.Error()
			}
			say(answer)
		}
		err, committing := t.send(a[3]+"/"+strconv.Itoa(n), chosen), false
		if err == nil && n%number(a[6]) > 0 {
			if committing, err = true, t.commit(); err == nil {
				tell("committed", nil)
				continue
			}
		}
		if err != nil && !t.abortable(err) {
			if committing {
				tell("unknown", err)
			} else {
				tell("aborted", err)
			}
			return err
		}
		if failed := t.abort(); failed != nil {
			tell("aborted", failed)
			return failed
		}
		tell("aborted", err)
	}
}
