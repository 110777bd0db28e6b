use std::time::Duration;

use super::*;
use crate::Partition;

const LINGER: Duration = Duration::from_millis(5);

/// A topic of which broker `1 + index % 2` leads partition `index`.
fn topic(partitions: i32) -> Topic {
    let partition = |index| Partition {
        index,
        leader: leader("t", index),
        leader_epoch: 0,
        replicas: vec![],
        in_sync_replicas: vec![],
    };
    Topic {
        name: "t".into(),
        id: Default::default(),
        is_internal: false,
        partitions: (0..partitions).map(partition).collect(),
        learnt: std::time::Instant::now(),
    }
}

fn leader(_: &str, partition: i32) -> Option<i32> {
    Some(1 + partition % 2)
}

struct Test {
    accumulator: Accumulator,
    options: ProducerOptions,
    start: Instant,
}

impl Test {
    fn new(options: ProducerOptions) -> Self {
        Self { accumulator: Accumulator::new(1), options, start: Instant::now() }
    }

    /// Adds a record of about `size` bytes; whether the sender is to look.
    fn append(&mut self, partition: i32, size: usize, after: Duration) -> bool {
        let value = vec![0; size];
        let partition = Some(partition);
        let record = ProducerRecord { topic: "t", partition, value: Some(&value), ..Default::default() };
        let now = self.start + after;
        self.accumulator.append(&topic(4), &record, 0, &self.options, now).unwrap().1
    }

    fn drain(&mut self, after: Duration) -> Round {
        self.accumulator.drain(self.start + after, &self.options, leader)
    }

    /// Batches that go out, as (broker, partition, first sequence number, records), and when to look again.
    fn sent(&mut self, after: Duration) -> (Vec<Sent>, Option<Duration>) {
        let round = self.drain(after);
        let wake_at = round.wake_at.map(|at| at - self.start);
        let mut sent: Vec<_> = round.drained.iter().flat_map(describe).collect();
        sent.sort();
        (sent, wake_at)
    }
}

type Sent = (i32, i32, Option<i32>, usize);

fn describe(drained: &Drained) -> Vec<Sent> {
    let count = |batch: &Batch| match &batch.content {
        Content::Open(builder) => builder.record_count(),
        Content::Built(batch) => batch.header().record_count as usize,
    };
    let describe =
        |(_, partition, batch): &(_, i32, Batch)| (drained.broker, *partition, batch.sequence, count(batch));
    drained.batches.iter().map(describe).collect()
}

const NOW: Duration = Duration::ZERO;

#[test]
fn a_batch_goes_out_after_its_linger_or_when_it_is_full() {
    let mut test = Test::new(ProducerOptions { linger: LINGER, batch_size: 1_000, ..Default::default() });
    let delivery_timeout = test.options.delivery_timeout;
    assert!(test.append(0, 100, NOW), "the sender learns when to wake");
    assert!(!test.append(0, 100, NOW));
    assert_eq!(test.sent(NOW), (vec![], Some(LINGER)));
    assert_eq!(test.sent(LINGER).0, [(1, 0, Some(0), 2)]);
    // Nine of these fill a batch; the tenth begins another.
    let looks: Vec<_> = (0..10).map(|_| test.append(1, 100, LINGER)).collect();
    assert_eq!(looks.iter().filter(|it| **it).count(), 2, "{looks:?}");
    let (sent, wake_at) = test.sent(LINGER);
    let [(2, 1, Some(0), count)] = sent[..] else { panic!("{sent:?}") };
    assert!((6..10).contains(&count), "{count} records");
    assert_eq!(wake_at, Some(2 * LINGER));
    assert!(delivery_timeout > 2 * LINGER);
}

#[test]
fn flushing_and_full_memory_end_every_linger() {
    let hour = Duration::from_secs(3_600);
    for press in [false, true] {
        let mut test = Test::new(ProducerOptions { linger: hour, ..Default::default() });
        test.append(0, 10, NOW);
        assert_eq!(test.sent(NOW).0, []);
        match press {
            true => test.accumulator.pressed = true,
            false => drop(test.accumulator.flush()),
        }
        assert_eq!(test.sent(NOW).0, [(1, 0, Some(0), 1)], "press={press}");
        // A flush is for what was there; memory is for everybody.
        test.append(0, 10, NOW);
        assert_eq!(test.sent(NOW).0.len(), usize::from(press));
    }
}

#[test]
fn requests_in_flight_are_bounded_per_broker() {
    let options = ProducerOptions { linger: NOW, max_in_flight: 2, batch_size: 50, ..Default::default() };
    let mut test = Test::new(options);
    for _ in 0..3 {
        for partition in 0..4 {
            test.append(partition, 100, NOW);
        }
    }
    // One request per broker and round, one batch per partition and request.
    let one = |sequence| {
        [
            (1, 0, Some(sequence), 1),
            (1, 2, Some(sequence), 1),
            (2, 1, Some(sequence), 1),
            (2, 3, Some(sequence), 1),
        ]
    };
    assert_eq!(test.sent(NOW).0, one(0));
    assert_eq!(test.sent(NOW).0, one(1));
    assert_eq!(test.sent(NOW).0, []);
}

#[test]
fn failed_batches_go_first_and_alone_in_their_old_order() {
    let options = ProducerOptions { linger: NOW, batch_size: 50, ..Default::default() };
    let mut test = Test::new(options);
    for _ in 0..4 {
        test.append(0, 100, NOW);
    }
    let mut next = || {
        let mut round = test.accumulator.drain(test.start, &test.options, leader);
        round.drained.pop().and_then(|mut it| it.batches.pop()).map(|(_, _, batch)| batch)
    };
    let (first, second, third) = (next().unwrap(), next().unwrap(), next().unwrap());
    let later = test.start + LINGER;
    test.accumulator.batch_failed("t", 0, second, test.start);
    test.accumulator.request_done(1);
    assert_eq!(test.sent(NOW).0, [], "two are still in flight");
    test.accumulator.batch_failed("t", 0, first, later);
    assert!(test.accumulator.has_earlier("t", 0, &third));
    test.accumulator.batch_done("t", 0, &third);
    (0..2).for_each(|_| test.accumulator.request_done(1));
    assert_eq!(test.sent(NOW), (vec![], Some(LINGER)), "the back-off is not over");
    for sequence in [0, 1, 3] {
        assert_eq!(test.sent(LINGER).0, [(1, 0, Some(sequence), 1)]);
    }
}

#[test]
fn a_request_is_no_larger_than_allowed_and_nobody_is_always_left_out() {
    let options =
        ProducerOptions { linger: NOW, batch_size: 50, max_request_size: 500, ..Default::default() };
    let mut test = Test::new(options);
    // Two of these fit in a request to broker 1, which leads partitions 0 and 2.
    let mut sent = Vec::new();
    for _ in 0..4 {
        test.append(0, 300, NOW);
        test.append(2, 300, NOW);
    }
    for _ in 0..4 {
        let round = test.sent(NOW).0;
        assert_eq!(round.len(), 1, "{round:?}");
        test.accumulator.request_done(1);
        sent.extend(round.into_iter().map(|(_, partition, ..)| partition));
    }
    assert!(sent.contains(&0) && sent.contains(&2), "{sent:?}");
}

#[test]
fn what_is_not_delivered_in_time_is_given_back() {
    let options =
        ProducerOptions { linger: NOW, delivery_timeout: Duration::from_secs(1), ..Default::default() };
    let mut test = Test::new(options);
    test.append(0, 10, NOW);
    let nowhere = |_: &str, _| None;
    let round = test.accumulator.drain(test.start, &test.options, nowhere);
    assert!(round.expired.is_empty() && round.drained.is_empty());
    assert_eq!(round.leaderless.into_iter().collect::<Vec<_>>(), ["t"]);
    let number = test.accumulator.flush();
    let round = test.accumulator.drain(test.start + Duration::from_secs(1), &test.options, nowhere);
    assert_eq!(round.expired.len(), 1);
    assert!(!test.accumulator.is_flushed(number));
    test.accumulator.forget(&round.expired[0]);
    assert!(test.accumulator.is_flushed(number));
}

#[test]
fn sequences_begin_anew_and_doubtful_batches_are_told() {
    let options = ProducerOptions { linger: NOW, batch_size: 50, ..Default::default() };
    let mut test = Test::new(options);
    for _ in 0..3 {
        test.append(0, 100, NOW);
    }
    let (_, _, lost) = test.drain(NOW).drained.pop().unwrap().batches.pop().unwrap();
    let (_, _, failed) = test.drain(NOW).drained.pop().unwrap().batches.pop().unwrap();
    test.accumulator.batch_done("t", 0, &lost);
    test.accumulator.batch_failed("t", 0, failed, test.start);
    test.accumulator.needs_producer_id = true;
    assert!(!test.accumulator.is_quiet());
    assert_eq!(test.sent(NOW).0, []);
    (0..2).for_each(|_| test.accumulator.request_done(1));
    assert!(test.accumulator.is_quiet());
    let doubtful: Vec<_> = test.accumulator.restart_sequences().iter().map(|it| it.sequence).collect();
    assert_eq!(doubtful, [Some(1)]);
    assert_eq!(test.sent(NOW).0, [(1, 0, Some(0), 1)]);
}
