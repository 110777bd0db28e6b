//! A coordinator for one term, with what it has proposed and nobody has agreed on yet.

use std::collections::VecDeque;

use milena_bugs::{Bug, is_on};
use milena_group::{
    Answer, Command, Coordinator, Effect, Event, Failure, Groups, Now, ProposalId, Reply, RequestId, Settings,
};

use super::GROUP;
use super::member::TOPIC;

/// What was answered.
pub(super) type Outcomes = Vec<(RequestId, Reply)>;

/// An entry that is not committed.
pub(super) struct Proposed {
    id: ProposalId,
    pub(super) command: Command,
    /// The coordinator was told that nobody knows.
    is_given_up: bool,
    /// What it is known by on its way through the quorum, in the second mode.
    pub(super) ticket: Option<u64>,
}

/// A broker that coordinates, or believes to.
pub(super) struct Office {
    pub(super) term: u64,
    /// Where it is, in the second mode.
    pub(super) node: usize,
    coordinator: Coordinator,
    /// What it has applied.
    pub(super) groups: Groups,
    pub(super) proposed: VecDeque<Proposed>,
}

impl Office {
    pub(super) fn new(term: u64, node: usize, now: Now, groups: Groups, settings: Settings) -> Self {
        let coordinator = Coordinator::new(term, now, &groups, settings);
        Self { term, node, coordinator, groups, proposed: VecDeque::new() }
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        self.coordinator.next_deadline().is_some_and(|at| at <= now.monotonic_ms)
    }

    pub(super) fn step(&mut self, now: Now, event: Event) -> Outcomes {
        let mut effects = Vec::new();
        self.coordinator.step(now, event, &self.groups, &mut effects);
        let mut outcomes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply(request, reply) => outcomes.push((request, reply)),
                Effect::Propose(id, command) => {
                    // What was written is what is read.
                    let command = Command::decode(&command.encode()[..]).expect("own bytes decode");
                    self.proposed.push_back(Proposed { id, command, is_given_up: false, ticket: None });
                }
            }
        }
        outcomes
    }

    /// The committed offset of a partition, to whoever asks: once a majority has confirmed that nobody else leads.
    pub(super) fn read(&self, partition: i32, is_confirmed: bool) -> Option<Option<i64>> {
        (is_confirmed || is_on(Bug::G2))
            .then(|| self.groups.offset(GROUP, TOPIC, partition).map(|it| it.offset))
    }

    /// An entry of this term is committed, and `groups` has it.
    pub(super) fn committed(
        &mut self,
        now: Now,
        groups: Groups,
        entry: &Proposed,
        answer: Answer,
    ) -> Outcomes {
        self.groups = groups;
        match entry.is_given_up {
            true => Vec::new(),
            false => self.step(now, Event::Committed { proposal: entry.id, answer }),
        }
    }

    /// A successor's entry is committed where this one had proposed its own: nothing that concerns it, but with G1 it
    /// takes its offsets for committed.
    pub(super) fn passed_by(&mut self, now: Now, index: u64) -> Outcomes {
        if !is_on(Bug::G1) {
            return Vec::new();
        }
        let Some(entry) = self.proposed.pop_front() else { return Vec::new() };
        let mut groups = self.groups.clone();
        let answer = groups.apply(index, &entry.command, &mut Vec::new());
        match answer {
            Answer::Commits(_) => self.committed(now, groups, &entry, answer),
            _ => Vec::new(),
        }
    }

    /// An entry is not committed, or nobody knows.
    pub(super) fn failed(&mut self, now: Now, entry: &Proposed, failure: Failure) -> Outcomes {
        match entry.is_given_up {
            true => Vec::new(),
            false => self.step(now, Event::ProposalFailed { proposal: entry.id, failure }),
        }
    }

    /// No quorum has answered: all that was proposed may or may not be committed.
    pub(super) fn time_out(&mut self, now: Now) -> Outcomes {
        let given_up: Vec<ProposalId> =
            self.proposed.iter().filter(|it| !it.is_given_up).map(|it| it.id).collect();
        self.proposed.iter_mut().for_each(|it| it.is_given_up = true);
        let failed = |proposal| Event::ProposalFailed { proposal, failure: Failure::Indeterminate };
        given_up.into_iter().flat_map(|id| self.step(now, failed(id))).collect()
    }

    /// It hears that another leads: what it had proposed came to nothing as far as it knows.
    pub(super) fn resign(mut self, now: Now) -> Outcomes {
        let mut outcomes = Vec::new();
        for entry in std::mem::take(&mut self.proposed).into_iter().filter(|it| !it.is_given_up) {
            let failed = Event::ProposalFailed { proposal: entry.id, failure: Failure::LeadershipLost };
            outcomes.extend(self.step(now, failed));
        }
        let mut effects = Vec::new();
        self.coordinator.resign(&mut effects);
        for effect in effects {
            let Effect::Reply(request, reply) = effect else { panic!("a proposal after the term") };
            outcomes.push((request, reply));
        }
        outcomes
    }
}
