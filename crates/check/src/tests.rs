//! A history with each anomaly, and the nearest ones without.

use std::collections::BTreeMap;

use crate::*;

/// Partition that most tests use.
const P: &str = "orders-0";

fn acked(offset: i64, broker: i32) -> Outcome {
    Outcome::Acked { offset: Some(offset), broker: Some(broker) }
}

fn unknown() -> Outcome {
    Outcome::Unknown { why: "disconnected".into() }
}

/// A send by producer 1 at 10 times its value.
fn send(value: Value, outcome: Outcome) -> Event {
    let began = value * 10;
    let partition = P.into();
    Event::Send(Send {
        began,
        ended: began + 5,
        producer: 1,
        number: value,
        partition,
        value,
        transaction: None,
        outcome,
    })
}

fn send_by(producer: u32, began: Micros, value: Value, outcome: Outcome) -> Event {
    let Event::Send(it) = send(value, outcome) else { unreachable!() };
    Event::Send(Send { producer, began, ended: began + 5, ..it })
}

fn poll(consumer: u32, at: Micros, records: &[(i64, Value)]) -> Event {
    Event::Poll(Poll {
        began: at,
        ended: at + 1,
        consumer,
        partition: P.into(),
        records: records.to_vec(),
        isolation: Isolation::Uncommitted,
    })
}

/// The last consumer, number 9, reads `records` and reaches the end.
fn last_read(records: &[(i64, Value)]) -> Vec<Event> {
    let end = records.last().map_or(0, |(offset, _)| offset + 1);
    let driven = Event::Driven(Driven { at: 9_001, consumer: 9, partition: P.into(), end });
    vec![poll(9, 9_000, records), driven]
}

fn assigned(at: Micros, consumer: u32, generation: Option<i32>) -> Event {
    let membership = generation.map(|it| ("billing".to_owned(), it, format!("member-{consumer}")));
    Event::Assigned(Assigned { at, consumer, membership, partitions: vec![P.into()] })
}

fn commit(began: Micros, committer: u32, offset: i64, outcome: Outcome) -> Event {
    Event::Commit(Commit {
        began,
        ended: began + 5,
        group: "billing".into(),
        partition: P.into(),
        committer,
        offset,
        outcome,
    })
}

fn fetched(began: Micros, offset: Option<i64>) -> Event {
    let (group, partition) = ("billing".into(), P.into());
    Event::FetchedCommit(FetchedCommit { began, ended: began + 5, group, partition, offset })
}

fn end_offset(began: Micros, offset: i64) -> Event {
    let isolation = Isolation::Uncommitted;
    Event::EndOffset(EndOffset { began, ended: began + 5, partition: P.into(), offset, isolation })
}

/// Asserts which anomalies `events` show, and how many of each.
#[track_caller]
fn shows(events: impl IntoIterator<Item = Event>, expected: &[(Kind, u64)]) -> Verdict {
    let verdict = check(&events.into_iter().collect());
    assert_eq!(verdict.counts, BTreeMap::from_iter(expected.iter().copied()), "{:#?}", verdict.examples);
    verdict
}

#[track_caller]
fn is_clean(events: impl IntoIterator<Item = Event>) -> Verdict {
    shows(events, &[])
}

#[test]
fn what_was_promised_and_kept_is_clean() {
    let sends = [send(1, acked(0, 1)), send(2, acked(1, 1)), send(3, unknown()), send(4, acked(3, 2))];
    let polls = [poll(1, 100, &[(0, 1), (1, 2)]), poll(1, 110, &[(2, 3)]), poll(1, 120, &[(3, 4)])];
    let last = last_read(&[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let verdict = is_clean(sends.into_iter().chain(polls).chain(last));
    assert_eq!((verdict.sent, verdict.acked, verdict.unknown_writes, verdict.unread), (4, 3, 1, 0));
}

#[test]
fn an_acked_value_below_what_was_read_is_lost() {
    let events = [send(1, acked(0, 1)), send(2, acked(1, 1)), send(3, acked(2, 1))];
    let verdict = shows(events.into_iter().chain(last_read(&[(0, 1), (2, 3)])), &[(Kind::LostWrite, 1)]);
    assert_eq!(
        verdict.examples,
        [Anomaly {
            kind: Kind::LostWrite,
            subject: P.into(),
            at: 25,
            what: "value 2 was acknowledged at offset 1, and nobody read it".into(),
        }]
    );
}

#[test]
fn an_acked_value_without_an_offset_is_looked_for_too() {
    let repeat = Outcome::Acked { offset: None, broker: None };
    let found = [send(1, repeat.clone())].into_iter().chain(last_read(&[(0, 1)]));
    is_clean(found);
    let lost = [send(1, acked(0, 1)), send(2, repeat)].into_iter().chain(last_read(&[(0, 1)]));
    shows(lost, &[(Kind::LostWrite, 1)]);
}

#[test]
fn an_acked_value_at_the_end_is_unseen() {
    let events = || [send(1, acked(0, 1)), send(2, acked(1, 1))];
    shows(events().into_iter().chain(last_read(&[(0, 1)])), &[(Kind::Unseen, 1)]);
    // Nobody was driven to the end: it may be there.
    let verdict = is_clean(events().into_iter().chain([poll(1, 100, &[(0, 1)])]));
    assert_eq!(verdict.unread, 1);
}

#[test]
fn an_unknown_write_may_be_there_or_not() {
    let events = || [send(1, acked(0, 1)), send(2, unknown()), send(3, acked(1, 1))];
    is_clean(events().into_iter().chain(last_read(&[(0, 1), (1, 3)])));
    let events = [send(1, acked(0, 1)), send(2, unknown())];
    is_clean(events.into_iter().chain(last_read(&[(0, 1), (1, 2)])));
}

#[test]
fn a_value_that_was_read_and_is_gone_was_dirty() {
    let events = [send(1, acked(0, 1)), send(2, unknown()), poll(1, 100, &[(0, 1), (1, 2)])];
    shows(events.into_iter().chain(last_read(&[(0, 1)])), &[(Kind::DirtyRead, 1)]);
}

#[test]
fn two_values_at_one_offset_are_inconsistent() {
    let events = [send(1, acked(0, 1)), send(2, acked(0, 2)), poll(1, 100, &[(0, 1)])];
    shows(
        events.into_iter().chain(last_read(&[(0, 2)])),
        &[(Kind::InconsistentOffsets, 1), (Kind::DirtyRead, 1)],
    );
}

#[test]
fn a_value_elsewhere_than_acked_is_inconsistent() {
    let events = [send(1, acked(0, 1)), send(2, acked(2, 1)), send(3, acked(3, 1))];
    let last = last_read(&[(0, 1), (1, 2), (3, 3)]);
    shows(events.into_iter().chain(last), &[(Kind::InconsistentOffsets, 1)]);
}

#[test]
fn one_send_at_two_offsets_is_a_duplicate() {
    let events = [send(1, acked(0, 1)), send(2, acked(2, 1))];
    shows(events.into_iter().chain(last_read(&[(0, 1), (1, 1), (2, 2)])), &[(Kind::Duplicate, 1)]);
}

#[test]
fn values_that_nobody_sent_or_that_were_refused_are_not_read() {
    let refused = Outcome::Refused { code: "NOT_ENOUGH_REPLICAS".into() };
    let events = || [send(1, acked(0, 1)), send(2, refused.clone())];
    is_clean(events().into_iter().chain(last_read(&[(0, 1)])));
    shows(
        events().into_iter().chain(last_read(&[(0, 1), (1, 2), (2, 77)])),
        &[(Kind::RefusedWriteSeen, 1), (Kind::Phantom, 1)],
    );
}

#[test]
fn later_sends_of_a_producer_are_behind_earlier_ones() {
    let events = [send(1, acked(1, 1)), send(2, acked(0, 1))];
    shows(events.into_iter().chain(last_read(&[(0, 2), (1, 1)])), &[(Kind::NonmonotonicSend, 1)]);
    // Of different producers, as long as they overlap.
    let events = [send_by(1, 10, 1, acked(1, 1)), send_by(2, 12, 2, acked(0, 1))];
    is_clean(events.into_iter().chain(last_read(&[(0, 2), (1, 1)])));
    let events = [send_by(1, 10, 1, acked(1, 1)), send_by(2, 20, 2, acked(0, 1))];
    shows(events.into_iter().chain(last_read(&[(0, 2), (1, 1)])), &[(Kind::NonmonotonicSend, 1)]);
}

#[test]
fn a_deposed_leader_does_not_acknowledge() {
    // Broker 2 leads and has acknowledged offset 5 when value 2 is sent to broker 1, which says offset 3.
    let events = [send_by(1, 10, 1, acked(5, 2)), send_by(2, 20, 2, acked(3, 1))];
    shows(events, &[(Kind::ZombieReply, 1)]);
    // It was sent before: the old leader may have had it in time.
    let events = [send_by(1, 10, 1, acked(5, 2)), send_by(2, 14, 2, acked(3, 1))];
    is_clean(events);
    // The leadership has come back.
    is_clean([send_by(1, 10, 1, acked(5, 2)), send_by(2, 20, 2, acked(6, 1))]);
}

#[test]
fn a_consumer_passes_over_nothing_that_exists() {
    let sends = || [send(1, acked(0, 1)), send(2, acked(1, 1)), send(3, acked(3, 1))];
    // Offset 2 is a marker or was never filled.
    is_clean(sends().into_iter().chain([poll(1, 100, &[(0, 1), (1, 2)]), poll(1, 110, &[(3, 3)])]));
    let skipping =
        [poll(1, 100, &[(0, 1)]), poll(1, 110, &[(3, 3)]), poll(2, 100, &[(0, 1), (1, 2), (3, 3)])];
    shows(sends().into_iter().chain(skipping), &[(Kind::PollSkip, 1)]);
    let moved = [
        poll(1, 100, &[(0, 1)]),
        assigned(105, 1, None),
        poll(1, 110, &[(3, 3)]),
        poll(2, 100, &[(0, 1), (1, 2)]),
    ];
    is_clean(sends().into_iter().chain(moved));
}

#[test]
fn a_consumer_does_not_go_back_by_itself() {
    let sends = || [send(1, acked(0, 1)), send(2, acked(1, 1))];
    let back = [poll(1, 100, &[(0, 1), (1, 2)]), poll(1, 110, &[(1, 2)])];
    shows(sends().into_iter().chain(back.clone()), &[(Kind::NonmonotonicPoll, 1)]);
    let [first, second] = back;
    is_clean(sends().into_iter().chain([first, assigned(105, 1, Some(3)), second]));
}

#[test]
fn readers_of_committed_records_see_no_others() {
    let sent = |value, transaction| match send(value, acked(value as i64, 1)) {
        Event::Send(it) => Event::Send(Send { transaction: Some(transaction), ..it }),
        other => other,
    };
    let end = |transaction, began, settled| {
        Event::Transaction(Transaction { began, ended: began + 5, transaction, settled })
    };
    let read = |at, records: &[(i64, Value)]| match poll(1, at, records) {
        Event::Poll(it) => Event::Poll(Poll { isolation: Isolation::Committed, ..it }),
        other => other,
    };
    let sends = || {
        [
            sent(1, 1),
            sent(2, 2),
            end(1, 100, Settled::Committed),
            end(2, 100, Settled::Aborted),
            send(3, acked(3, 1)),
        ]
    };
    is_clean(sends().into_iter().chain([read(120, &[(1, 1), (3, 3)])]));
    shows(sends().into_iter().chain([read(120, &[(1, 1), (2, 2), (3, 3)])]), &[(Kind::G1a, 1)]);
    shows(sends().into_iter().chain([read(90, &[(1, 1)])]), &[(Kind::PrecommittedRead, 1)]);
    // A reader of everything may see both.
    is_clean(sends().into_iter().chain([poll(1, 90, &[(1, 1), (2, 2), (3, 3)])]));
    // Nobody asked for the end of transaction 5.
    shows([sent(4, 5), read(900, &[(4, 4)])], &[(Kind::PrecommittedRead, 1)]);
}

#[test]
fn what_is_committed_is_there_at_the_end_and_what_nobody_knows_of_may_be() {
    let sent = |value, transaction| match send(value, acked(value as i64, 1)) {
        Event::Send(it) => Event::Send(Send { transaction: Some(transaction), ..it }),
        other => other,
    };
    let end = |transaction, settled| {
        Event::Transaction(Transaction { began: 100, ended: 105, transaction, settled })
    };
    let happened = || {
        [
            sent(1, 1),
            sent(2, 2),
            sent(3, 3),
            end(1, Settled::Committed),
            end(2, Settled::Aborted),
            end(3, Settled::Unknown),
            // By a reader of everything.
            poll(1, 200, &[(1, 1), (2, 2), (3, 3)]),
        ]
    };
    is_clean(happened().into_iter().chain(last_read(&[(1, 1)])));
    is_clean(happened().into_iter().chain(last_read(&[(1, 1), (3, 3)])));
    shows(happened().into_iter().chain(last_read(&[(3, 3)])), &[(Kind::DirtyRead, 1)]);
}

#[test]
fn the_end_of_a_partition_does_not_go_back() {
    shows([end_offset(10, 7), end_offset(20, 5)], &[(Kind::EndOffsetWentBack, 1)]);
    is_clean([end_offset(10, 7), end_offset(12, 5), end_offset(20, 7)]);
}

#[test]
fn a_committed_offset_is_the_last_that_was_acknowledged() {
    let commits = || [commit(10, 1, 5, acked(0, 1)), commit(20, 1, 8, acked(0, 1))];
    is_clean(commits().into_iter().chain([fetched(15, Some(5)), fetched(22, Some(5)), fetched(30, Some(8))]));
    shows(commits().into_iter().chain([fetched(30, Some(5))]), &[(Kind::CommittedOffsetWentBack, 1)]);
    shows(commits().into_iter().chain([fetched(30, None)]), &[(Kind::CommittedOffsetLost, 1)]);
    shows(commits().into_iter().chain([fetched(30, Some(6))]), &[(Kind::CommittedOffsetPhantom, 1)]);
    is_clean([fetched(5, None), commit(10, 1, 5, acked(0, 1))]);
    // A consumer that goes back on purpose.
    is_clean([commit(10, 1, 5, acked(0, 1)), commit(20, 1, 2, acked(0, 1)), fetched(30, Some(2))]);
}

#[test]
fn a_commit_of_unknown_outcome_counts_until_a_later_one() {
    let doubtful = || [commit(10, 1, 5, acked(0, 1)), commit(20, 1, 8, unknown())];
    is_clean(doubtful().into_iter().chain([fetched(30, Some(5))]));
    is_clean(doubtful().into_iter().chain([fetched(30, Some(8))]));
    // The retry of 5 arrives after 8 was acknowledged (row G10).
    let late = [commit(10, 1, 5, unknown()), commit(20, 1, 8, acked(0, 1)), fetched(30, Some(5))];
    shows(late, &[(Kind::CommittedOffsetWentBack, 1)]);
    // Another committer's may land at any time.
    is_clean([commit(10, 2, 5, unknown()), commit(20, 1, 8, acked(0, 1)), fetched(30, Some(5))]);
    let refused = Outcome::Refused { code: "ILLEGAL_GENERATION".into() };
    shows([commit(10, 1, 5, refused), fetched(30, Some(5))], &[(Kind::CommittedOffsetPhantom, 1)]);
}

#[test]
fn a_partition_has_one_owner_in_a_generation() {
    is_clean([assigned(10, 1, Some(1)), assigned(20, 2, Some(2)), assigned(30, 1, Some(3))]);
    is_clean([assigned(10, 1, Some(1)), assigned(20, 1, Some(1))]);
    shows([assigned(10, 1, Some(1)), assigned(20, 2, Some(1))], &[(Kind::TwoOwners, 1)]);
}

#[test]
fn unavailability_is_the_longest_gap_beyond_the_normal_one() {
    let sent = (1..=5).chain(30..=33).map(|value| send(value, acked(value as i64, 1)));
    let history: History = sent.collect();
    let gaps = windows(&history, P, |_| true);
    assert_eq!(gaps.len(), 8);
    let (window, beyond) = longest_window(&gaps, 55).unwrap();
    assert_eq!((window, beyond), (Window { from: 55, to: 305 }, 240));
    assert_eq!(longest_window(&gaps, 400), None);
    assert_eq!(windows(&history, P, |producer| producer == 2), []);
}

#[test]
fn examples_are_bounded() {
    let lost = (1..100).map(|value| send(value, acked(value as i64, 1)));
    let verdict =
        shows(lost.chain(last_read(&[(100, 100)])).chain([send(100, unknown())]), &[(Kind::LostWrite, 99)]);
    assert_eq!(verdict.examples.len(), 3);
}

#[test]
fn histories_survive_their_written_form() {
    let history: History = [
        send(1, acked(0, 1)),
        send(2, unknown()),
        send(3, Outcome::Refused { code: "NOT_ENOUGH_REPLICAS".into() }),
        assigned(5, 1, Some(4)),
        commit(10, 1, 5, acked(0, 1)),
        fetched(20, None),
        end_offset(30, 1),
        Event::Fault(Fault { at: 40, what: "kill -9 of broker 2".into() }),
        Event::Transaction(Transaction { began: 1, ended: 2, transaction: 3, settled: Settled::Unknown }),
    ]
    .into_iter()
    .chain(last_read(&[(0, 1)]))
    .collect();
    let text = history.to_json_lines();
    assert_eq!(History::parse(&text).unwrap(), history);
    assert!(text.starts_with(r#"{"op":"send","began":10,"ended":15,"producer":1,"number":1,"partition":"orders-0","value":1,"outcome":{"acked":{"offset":0,"broker":1}}}"#), "{text}");
    let wrong = History::parse("\n{\"op\":\"sing\"}\n").unwrap_err();
    assert_eq!(wrong.line, 2);
}

#[test]
fn every_kind_has_its_name() {
    for kind in Kind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}
