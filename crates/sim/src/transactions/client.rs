//! A transactional producer: an old one, which adds partitions itself and keeps its epoch, or a new one (KIP-890
//! part 2).

use std::collections::BTreeMap;

use milena_txn::{ProducerIdAndEpoch, Refusal};

use super::message::{Call, Failure, Heard, Place, Produce, Request, Unit};
use crate::random::Random;

#[derive(Debug, Clone)]
enum Step {
    Add(Place),
    AddGroup,
    Produce(Place),
    Offsets,
    End { commit: bool },
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) id: String,
    pub(super) is_new: bool,
    pub(super) is_dead: bool,
    producer: Option<ProducerIdAndEpoch>,
    /// The transaction it is in, or was in last.
    pub(super) unit: Unit,
    /// The call that waits for its answer.
    pub(super) waiting: Option<Request>,
    /// Ends that were answered.
    pub(super) done: u64,
    /// Answers in a row that said CONCURRENT_TRANSACTIONS.
    pub(super) told_to_wait: u32,
    plan: Vec<Step>,
    calls: u64,
    /// The next sequence, by place, of this producer.
    sequences: BTreeMap<Place, (ProducerIdAndEpoch, i32)>,
}

/// What a client learns that the oracles want to know.
pub(super) enum Learnt {
    Nothing,
    /// A batch was acknowledged.
    Stored(Produce),
    /// EndTxn was acknowledged.
    Ended {
        commit: bool,
    },
    /// The abort of its own transaction was refused as impossible.
    AbortRefused,
}

impl Client {
    pub(super) fn new(number: usize, id: &str, is_new: bool) -> Self {
        Self {
            number,
            id: id.to_owned(),
            is_new,
            is_dead: false,
            producer: None,
            unit: Unit(0),
            waiting: None,
            done: 0,
            told_to_wait: 0,
            plan: Vec::new(),
            calls: 0,
            sequences: BTreeMap::new(),
        }
    }

    /// The next call, if none is waiting; begins a transaction under `unit` if it `may_begin`. Returns whether it
    /// did.
    pub(super) fn go_on(
        &mut self,
        random: &mut Random,
        unit: Unit,
        may_begin: bool,
        places: &[Place],
    ) -> bool {
        if self.is_dead || self.waiting.is_some() {
            return false;
        }
        let Some(producer) = self.producer else {
            self.ask(Call::Init { expected: None });
            return false;
        };
        let begins = self.plan.is_empty();
        if begins {
            if !may_begin {
                return false;
            }
            if random.below(12) == 0 {
                // As after an error: the same producer wants another epoch.
                self.ask(Call::Init { expected: Some(producer) });
                return false;
            }
            self.unit = unit;
            self.make_plan(random, places);
        }
        let adds = self.is_new;
        let call = match self.plan.remove(0) {
            Step::Add(place) => Call::Add { producer, place },
            Step::AddGroup => Call::AddGroup { producer },
            Step::Produce(place) => {
                let sequence = self.next_sequence(producer, place);
                Call::Produce(Produce { producer, place, sequence, unit: self.unit, adds })
            }
            Step::Offsets => Call::Offsets { producer, adds },
            Step::End { commit } => Call::End { producer, commit, bumps: self.is_new },
        };
        self.ask(call);
        begins
    }

    fn next_sequence(&mut self, producer: ProducerIdAndEpoch, place: Place) -> i32 {
        let known = self.sequences.entry(place).or_insert((producer, 0));
        if known.0 != producer {
            *known = (producer, 0);
        }
        known.1 += 1;
        known.1 - 1
    }

    fn make_plan(&mut self, random: &mut Random, places: &[Place]) {
        for _ in 0..random.below(4) {
            let place = places[random.below(places.len())];
            if !self.is_new {
                self.plan.push(Step::Add(place));
            }
            self.plan.push(Step::Produce(place));
        }
        if random.below(3) == 0 {
            if !self.is_new {
                self.plan.push(Step::AddGroup);
            }
            self.plan.push(Step::Offsets);
        }
        if self.plan.is_empty() && self.is_new {
            return self.plan.push(Step::End { commit: false });
        }
        if self.plan.is_empty() {
            // An old client knows that it added nothing, and would say nothing; here it adds something.
            self.plan.push(Step::AddGroup);
        }
        self.plan.push(Step::End { commit: random.below(3) > 0 });
    }

    fn ask(&mut self, call: Call) {
        self.calls += 1;
        self.told_to_wait = 0;
        let (client, number, id, unit) = (self.number, self.calls, self.id.clone(), self.unit);
        self.waiting = Some(Request { client, number, id, unit, call });
    }

    /// An answer arrives; returns what it means, or `None` if nobody waits for it.
    pub(super) fn hear(&mut self, number: u64, heard: Heard) -> Option<Learnt> {
        let request = self.waiting.take_if(|it| it.number == number && !self.is_dead)?;
        let abort = vec![Step::End { commit: false }];
        match (heard, &request.call) {
            (Err(Failure::Again | Failure::Refused(Refusal::NeedsProducerId)), _) => {
                self.waiting = Some(request);
            }
            (Err(Failure::Refused(Refusal::ConcurrentTransactions)), _) => {
                self.told_to_wait += 1;
                self.waiting = Some(request);
            }
            (Ok(producer), Call::Init { .. }) => self.producer = producer,
            (Ok(producer), Call::End { commit, .. }) => {
                self.done += 1;
                if self.is_new {
                    self.producer = producer;
                }
                return Some(Learnt::Ended { commit: *commit });
            }
            (Ok(_), Call::Produce(produce)) => return Some(Learnt::Stored(*produce)),
            (Ok(_), _) => {}
            // An old client that cannot go on starts again.
            (Err(_), _) if !self.is_new => self.is_dead = true,
            (Err(Failure::Refused(Refusal::InvalidTxnState)), Call::End { commit: false, .. }) => {
                self.is_dead = true;
                return Some(Learnt::AbortRefused);
            }
            (Err(Failure::Refused(Refusal::TransactionAbortable) | Failure::Broken), _) => self.plan = abort,
            (Err(_), Call::Produce(_) | Call::Offsets { .. }) => {
                // INVALID_PRODUCER_EPOCH: perhaps only a time-out.
                self.plan = abort;
            }
            (Err(_), _) => self.is_dead = true,
        }
        Some(Learnt::Nothing)
    }
}
