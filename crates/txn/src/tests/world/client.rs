//! A producer: an old one, which adds partitions itself and keeps its epoch, or a new one (KIP-890 part 2).

use super::message::{Call, Place, Request, Unit};
use super::random::Random;
use crate::{ProducerIdAndEpoch, Refusal};

#[derive(Debug, Clone)]
enum Step {
    Add(Place),
    AddGroup,
    Produce(Place),
    Offsets,
    End { commit: bool },
}

#[derive(Debug)]
pub struct Client {
    pub number: usize,
    pub id: String,
    pub is_new: bool,
    pub is_dead: bool,
    pub producer: Option<ProducerIdAndEpoch>,
    /// The transaction it is in, or was in last.
    pub unit: Unit,
    /// The call that waits for its answer.
    pub waiting: Option<Request>,
    /// Ends that were answered.
    pub done: u64,
    /// Answers in a row that said CONCURRENT_TRANSACTIONS.
    pub told_to_wait: u32,
    plan: Vec<Step>,
    calls: u64,
}

/// What a client learns that the oracles want to know.
pub enum Learnt {
    Nothing,
    /// EndTxn was acknowledged.
    Ended {
        commit: bool,
    },
    /// The abort of its own transaction was refused as impossible.
    AbortRefused,
}

impl Client {
    pub fn new(number: usize, id: &str, is_new: bool) -> Self {
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
        }
    }

    /// The next call, if none is waiting; begins a transaction under `unit` if it `may_begin`. Returns whether it
    /// did.
    pub fn go_on(&mut self, random: &mut Random, unit: Unit, may_begin: bool, places: &[Place]) -> bool {
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
            if random.one_in(12) {
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
            Step::Produce(place) => Call::Produce { producer, place, adds },
            Step::Offsets => Call::Offsets { producer, adds },
            Step::End { commit } => Call::End { producer, commit, bumps: self.is_new },
        };
        self.ask(call);
        begins
    }

    fn make_plan(&mut self, random: &mut Random, places: &[Place]) {
        for _ in 0..random.below(4) {
            let place = places[random.below(places.len())];
            if !self.is_new {
                self.plan.push(Step::Add(place));
            }
            self.plan.push(Step::Produce(place));
        }
        if random.one_in(3) {
            if !self.is_new {
                self.plan.push(Step::AddGroup);
            }
            self.plan.push(Step::Offsets);
        }
        if self.plan.is_empty() {
            // An old client knows that it added nothing, and says nothing; here it adds something.
            self.plan.push(if self.is_new { Step::End { commit: false } } else { Step::AddGroup });
            if self.is_new {
                return;
            }
        }
        self.plan.push(Step::End { commit: !random.one_in(3) });
    }

    fn ask(&mut self, call: Call) {
        self.calls += 1;
        self.told_to_wait = 0;
        let (client, number, id, unit) = (self.number, self.calls, self.id.clone(), self.unit);
        self.waiting = Some(Request { client, number, id, unit, call });
    }

    /// An answer arrives; returns what it means, or `None` if nobody waits for it.
    pub fn hear(
        &mut self,
        number: u64,
        outcome: Result<Option<ProducerIdAndEpoch>, Refusal>,
    ) -> Option<Learnt> {
        let request = self.waiting.take_if(|it| it.number == number && !self.is_dead)?;
        let call = &request.call;
        match (outcome, call) {
            (Err(Refusal::ConcurrentTransactions | Refusal::NeedsProducerId), _) => {
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
            (Ok(_), _) => {}
            (Err(Refusal::InvalidTxnState), Call::End { commit: false, .. }) if self.is_new => {
                self.is_dead = true;
                return Some(Learnt::AbortRefused);
            }
            // An old client that was refused its first partition has nothing to abort, and starts again.
            (Err(Refusal::TransactionAbortable), _) if self.is_new => {
                self.plan = vec![Step::End { commit: false }]
            }
            (Err(Refusal::ProducerFenced), Call::Produce { .. } | Call::Offsets { .. }) if self.is_new => {
                // INVALID_PRODUCER_EPOCH: perhaps only a time-out.
                self.plan = vec![Step::End { commit: false }];
            }
            (Err(_), _) => self.is_dead = true,
        }
        Some(Learnt::Nothing)
    }
}
