//! The detector, told what happened when.

use super::detector::{Cause, Detector, Expectations, Incarnation, Path, Sign, Verdict};
use milena_quorum::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

const A: NodeId = NodeId(2);
const B: NodeId = NodeId(3);
const LIFE: Incarnation = Incarnation([1; 16]);
const NEXT_LIFE: Incarnation = Incarnation([2; 16]);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A detector of broker 1, with a clock.
struct Run {
    detector: Detector,
    now: Duration,
}

impl Run {
    /// Peers 2 and 3 are heard.
    fn new() -> Run {
        let mut run = Run { detector: Detector::new(Expectations::default(), ms(1000)), now: ms(1000) };
        run.detector.watch(&BTreeSet::from([A, B]), run.now);
        run.all_well(ms(100));
        assert_eq!((run.verdict(A), run.verdict(B)), (Verdict::Alive, Verdict::Alive));
        run
    }

    fn hear(&mut self, node: NodeId) {
        self.hear_of(node, LIFE, Path::Dialled, self.now);
    }

    fn hear_of(&mut self, node: NodeId, incarnation: Incarnation, path: Path, echoed: Duration) -> bool {
        self.detector.heard(node, incarnation, path, Some(echoed), self.now)
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now = until.min(self.now + ms(12));
            self.detector.tick(self.now);
        }
    }

    /// Time passes in which those are heard each beat.
    fn pass_hearing(&mut self, time: Duration, nodes: &[NodeId]) {
        let until = self.now + time;
        while self.now < until {
            self.pass(ms(25).min(until - self.now));
            nodes.iter().for_each(|node| self.hear(*node));
        }
    }

    fn all_well(&mut self, time: Duration) {
        self.pass_hearing(time, &[A, B]);
    }

    fn see(&mut self, node: NodeId, sign: Sign) {
        self.detector.saw(node, sign, self.now);
    }

    fn tell(&mut self, witness: NodeId, node: NodeId, ago: Duration) {
        self.detector.told(witness, node, Some(LIFE), self.now - ago, self.now);
    }

    fn verdict(&self, node: NodeId) -> Verdict {
        self.detector.verdict(node)
    }
}

#[test]
fn refused_connection_is_death_at_once() {
    let mut run = Run::new();
    run.see(A, Sign::Closed);
    assert_eq!(run.verdict(A), Verdict::Alive, "one end of a connection may be a glitch");
    run.see(A, Sign::Refused);
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Refused));
    assert_eq!(run.verdict(B), Verdict::Alive);
}

#[test]
fn two_witnesses_within_fifty_milliseconds_are_death() {
    for (own, others, want) in [
        // Ours now, and one other's some time ago.
        (true, vec![(B, 0)], Verdict::Dead(Cause::Witnesses(2))),
        (true, vec![(B, 50)], Verdict::Dead(Cause::Witnesses(2))),
        (true, vec![(B, 51)], Verdict::Alive),
        (true, vec![], Verdict::Alive),
        // We have seen nothing yet.
        (false, vec![(B, 10)], Verdict::Alive),
        (false, vec![(B, 10), (NodeId(9), 20)], Verdict::Dead(Cause::Witnesses(2))),
        // The same witness twice is one; the victim is none.
        (false, vec![(B, 10), (B, 20)], Verdict::Alive),
        (true, vec![(A, 10)], Verdict::Alive),
    ] {
        let mut run = Run::new();
        // Nothing is heard of it for a while, else older reports are no news.
        run.pass_hearing(ms(75), &[B]);
        if own {
            run.see(A, Sign::Closed);
        }
        for (witness, ago) in &others {
            run.tell(*witness, A, ms(*ago));
        }
        assert_eq!(run.verdict(A), want, "own={own} others={others:?}");
    }
}

#[test]
fn reports_about_another_process_or_from_before_it_was_heard_count_for_nothing() {
    let mut run = Run::new();
    run.see(A, Sign::Closed);
    run.detector.told(B, A, Some(NEXT_LIFE), run.now, run.now);
    assert_eq!(run.verdict(A), Verdict::Alive);
    let mut run = Run::new();
    run.tell(NodeId(8), A, ms(40));
    run.tell(NodeId(9), A, ms(40));
    assert_eq!(run.verdict(A), Verdict::Alive);
}

#[test]
fn one_witness_is_enough_where_there_are_only_two() {
    let mut run = Run::new();
    run.see(B, Sign::Refused);
    run.see(A, Sign::Closed);
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Closed));
}

#[test]
fn glitch_is_forgotten_when_the_process_answers_again() {
    let mut run = Run::new();
    run.see(A, Sign::Closed);
    assert!(run.detector.is_doubted(A));
    run.hear(A);
    run.tell(B, A, ms(0));
    assert!(!run.detector.is_doubted(A));
    assert_eq!(run.verdict(A), Verdict::Alive, "one witness, as our own sign is void");
    assert_eq!(run.detector.signs().count(), 0);
}

#[test]
fn silence_is_death_after_a_session_and_not_before() {
    let mut run = Run::new();
    run.pass_hearing(ms(300), &[B]);
    assert_eq!(run.verdict(A), Verdict::Alive);
    run.pass_hearing(ms(25), &[B]);
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Silence));
    assert_eq!(run.verdict(B), Verdict::Alive);
    run.hear(A);
    assert_eq!(run.verdict(A), Verdict::Alive);
}

#[test]
fn peer_that_does_not_hear_us_is_as_good_as_silent() {
    let mut run = Run::new();
    let last_heard_by_it = run.now;
    for _ in 0..14 {
        run.pass(ms(25));
        run.hear_of(A, LIFE, Path::Dialled, last_heard_by_it);
    }
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Silence));
    // Nor is it alive again before it does.
    run.hear_of(A, LIFE, Path::Dialled, last_heard_by_it);
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Silence));
}

#[test]
fn paused_process_does_not_blame_its_peers() {
    let mut run = Run::new();
    run.now += ms(60_000);
    run.detector.tick(run.now);
    assert_eq!((run.verdict(A), run.verdict(B)), (Verdict::Alive, Verdict::Alive));
    // What is silent from then on is dead a session later.
    run.pass(ms(260));
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Silence));
}

#[test]
fn session_follows_what_is_usual() {
    let mut run = Run::new();
    assert_eq!(run.detector.session(A), ms(300));
    run.all_well(ms(30_000));
    assert_eq!(run.detector.session(A), ms(200), "1200 beats in time");
    // A busy machine: every tenth beat is late.
    for _ in 0..400 {
        run.pass_hearing(ms(225), &[A, B]);
        run.pass(ms(100));
        run.all_well(ms(1));
    }
    let busy = run.detector.session(A);
    assert!((ms(400)..ms(700)).contains(&busy), "{busy:?}");
    assert!(Duration::ZERO < busy && busy <= Expectations::default().longest_session);
}

#[test]
fn long_stop_teaches_nothing() {
    let mut run = Run::new();
    run.all_well(ms(30_000));
    for round in 0..100 {
        run.pass_hearing(ms(if round % 2 == 0 { 5_000 } else { 350 }), &[B]);
        assert_eq!(run.verdict(A), Verdict::Dead(Cause::Silence));
        run.all_well(ms(1_000));
    }
    assert_eq!(run.detector.session(A), ms(200));
}

#[test]
fn what_was_held_up_by_a_partition_teaches_nothing() {
    let mut run = Run::new();
    run.all_well(ms(30_000));
    for _ in 0..20 {
        let cut = run.now;
        run.pass_hearing(ms(2_000), &[B]);
        // All its beats of that time, each with an echo of its time, within a millisecond.
        for beat in 1..80 {
            run.hear_of(A, LIFE, Path::Dialled, cut + ms(25) * beat);
        }
        run.all_well(ms(1_000));
        assert_eq!(run.verdict(A), Verdict::Alive);
    }
    assert!(run.detector.session(A) < ms(250), "{:?}", run.detector.session(A));
}

#[test]
fn evidence_that_keeps_being_wrong_is_not_trusted_for_a_minute() {
    let mut run = Run::new();
    for _ in 0..3 {
        run.see(A, Sign::Refused);
        assert!(run.verdict(A).is_evident());
        run.all_well(ms(1_000));
        assert_eq!(run.verdict(A), Verdict::Alive);
    }
    run.see(A, Sign::Refused);
    assert_eq!(run.verdict(A), Verdict::Alive);
    run.pass_hearing(ms(350), &[B]);
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Silence), "silence still counts");
    run.all_well(ms(61_000));
    run.see(A, Sign::Refused);
    assert_eq!(run.verdict(A), Verdict::Dead(Cause::Refused));
}

#[test]
fn next_process_replaces_the_last_and_leaves_nothing_of_its_record() {
    let mut run = Run::new();
    run.see(A, Sign::Refused);
    run.pass_hearing(ms(2_000), &[B]);
    // What the old process had sent on its own connection is read late.
    assert!(!run.hear_of(A, LIFE, Path::Accepted, run.now));
    assert!(run.verdict(A).is_dead());
    // The new one dials first; it counts when it answers.
    assert!(!run.hear_of(A, NEXT_LIFE, Path::Accepted, run.now));
    assert!(run.hear_of(A, NEXT_LIFE, Path::Dialled, run.now));
    assert_eq!((run.verdict(A), run.detector.incarnation(A)), (Verdict::Alive, Some(NEXT_LIFE)));
    assert!(!run.hear_of(A, LIFE, Path::Accepted, run.now));
    assert_eq!(run.detector.incarnation(A), Some(NEXT_LIFE));
}

#[test]
fn nobody_is_judged_before_it_had_time_to_be_heard() {
    let mut run = Run::new();
    let late = NodeId(4);
    run.detector.watch(&BTreeSet::from([A, B, late]), run.now);
    run.all_well(ms(290));
    assert_eq!(run.verdict(late), Verdict::Unknown);
    run.all_well(ms(50));
    assert_eq!(run.verdict(late), Verdict::Dead(Cause::Silence));
    run.detector.watch(&BTreeSet::from([A]), run.now);
    assert_eq!(run.verdict(B), Verdict::Unknown);
    assert!(!run.hear_of(B, LIFE, Path::Dialled, run.now));
}

#[test]
fn silence_within_a_promise_is_not_held_against_a_peer() {
    let mut run = Run::new();
    run.all_well(ms(30_000));
    assert_eq!(run.detector.session(A), ms(200));
    run.pass_hearing(ms(50), &[B]);
    let now = run.now;
    assert_eq!(run.detector.promise(A, ms(0), now), Some(ms(150)));
    assert_eq!(run.detector.promise(A, ms(120), now), Some(ms(80)));
    assert_eq!(run.detector.promise(A, ms(200), now), None, "no quorum for as long as a session");
    run.pass_hearing(ms(150), &[B]);
    assert_eq!(run.verdict(A), Verdict::Alive);
    run.pass_hearing(ms(25), &[B]);
    assert!(run.verdict(A).is_dead());
    assert_eq!(run.detector.promise(A, ms(0), run.now), None);
}

/// Whatever happens: a promise is never broken by silence, and a peer that answers each beat is never dead.
#[test]
fn random_histories_keep_the_promises() {
    for seed in 1..=200_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut run = Run::new();
        let mut promised_until = Duration::ZERO;
        for step in 0..2_000 {
            // Sometimes this process itself does not run for a while.
            let passed = if draw(100) == 0 { ms(draw(2_000)) } else { ms(draw(20)) };
            run.now += passed;
            run.hear(B);
            run.detector.tick(run.now);
            let echoed = run.now - ms(draw(60)).min(run.now);
            match draw(40) {
                0..=2 => drop(run.hear_of(A, LIFE, Path::Dialled, echoed)),
                3..=5 => {
                    if let Some(left) = run.detector.promise(A, ms(draw(100)), run.now) {
                        promised_until = promised_until.max(run.now + left);
                    }
                }
                _ => {}
            }
            let silent = run.verdict(A) == Verdict::Dead(Cause::Silence);
            assert!(!silent || run.now >= promised_until, "seed={seed} step={step}");
            assert_eq!(run.verdict(B), Verdict::Alive, "seed={seed} step={step}");
        }
    }
}
