//! A broker without sockets and without Raft: commits proposals at once, or when told, or not at all.
//!
//! Checks on the way what must hold always: no request is answered twice, commands survive their encoding,
//! and the stored pairs restore to the live state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::stored::command::Kind;
use crate::{
    Answer, Command, Coordinator, Effect, Event, Failure, Groups, Now, ProposalId, Reply, RequestId, Settings,
};

pub struct Lab {
    pub now: Now,
    pub groups: Groups,
    pub coordinator: Coordinator,
    pub settings: Settings,
    /// Every command as the log has it, with its index.
    pub log: Vec<(u64, Vec<u8>)>,
    /// Stored pairs, as the quorum would keep them.
    pub pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What happened, in order; whoever reads it takes it.
    pub trace: Vec<Trace>,
    pub answered: BTreeSet<RequestId>,
    /// Proposals that are not committed until [`Lab::release`].
    pub held: VecDeque<(ProposalId, Command)>,
    pub holds: bool,
    term: u64,
    index: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Trace {
    Logged(String),
    Replied(RequestId, Reply),
}

impl Lab {
    pub fn new(settings: Settings) -> Self {
        let now = Now { monotonic_ms: 0, unix_ms: 1_000_000 };
        let groups = Groups::default();
        let coordinator = Coordinator::new(1, now, &groups, settings.clone());
        Self {
            now,
            groups,
            coordinator,
            settings,
            log: Vec::new(),
            pairs: BTreeMap::new(),
            trace: Vec::new(),
            answered: BTreeSet::new(),
            held: VecDeque::new(),
            holds: false,
            term: 1,
            index: 0,
        }
    }

    pub fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.coordinator.step(self.now, event, &self.groups, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Reply(request, reply) => self.record(request, reply),
                    Effect::Propose(proposal, command) if self.holds => {
                        self.held.push_back((proposal, command));
                    }
                    Effect::Propose(proposal, command) => {
                        let answer = self.apply(&command);
                        events.push_back(Event::Committed { proposal, answer });
                    }
                }
            }
        }
    }

    fn record(&mut self, request: RequestId, reply: Reply) {
        assert!(self.answered.insert(request), "{request:?} answered twice, now with {reply:?}");
        self.trace.push(Trace::Replied(request, reply));
    }

    pub fn apply(&mut self, command: &Command) -> Answer {
        let bytes = command.encode();
        assert_eq!(bytes.len(), command.encoded_len());
        let decoded = Command::decode(bytes.as_slice()).expect("own bytes decode");
        assert_eq!(&decoded, command);
        self.index += 1;
        self.trace.push(Trace::Logged(render_command(&decoded).trim_end().to_owned()));
        self.log.push((self.index, bytes));
        let mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let answer = self.groups.apply(self.index, &decoded, &mut changes);
        for (key, value) in changes {
            match value {
                Some(value) => self.pairs.insert(key, value),
                None => self.pairs.remove(&key),
            };
        }
        answer
    }

    /// Whether replay of the log, and the stored pairs, both give the live state.
    pub fn check_state(&self) {
        assert_eq!(Groups::restore(&self.pairs).as_ref(), Ok(&self.groups), "restored from pairs");
        let mut replayed = Groups::default();
        for (index, bytes) in &self.log {
            let command = Command::decode(bytes.as_slice()).expect("own bytes decode");
            replayed.apply(*index, &command, &mut Vec::new());
        }
        assert_eq!(replayed, self.groups, "replayed");
    }

    /// Commits what is held, and what that leads to, in the order of the proposals.
    pub fn release(&mut self) {
        self.holds = true;
        while let Some((proposal, command)) = self.held.pop_front() {
            let answer = self.apply(&command);
            self.step(Event::Committed { proposal, answer });
        }
        self.holds = false;
    }

    /// What is held is reported as failed. With `applies` it is applied all the same, but before anything
    /// that was proposed later: the log keeps the order of proposals.
    pub fn fail(&mut self, failure: Failure, applies: bool) {
        self.holds = true;
        let held = std::mem::take(&mut self.held);
        for (proposal, _) in &held {
            self.step(Event::ProposalFailed { proposal: *proposal, failure });
        }
        if applies {
            for (_, command) in &held {
                self.apply(command);
            }
        }
        self.release();
    }

    /// Lets time pass, stopping at each deadline.
    pub fn advance(&mut self, by_ms: u64, mut at_stop: impl FnMut(&mut Self)) {
        let until = self.now.monotonic_ms + by_ms;
        while let Some(deadline) = self.coordinator.next_deadline()
            && deadline <= until
        {
            self.set_clock(deadline.max(self.now.monotonic_ms));
            self.step(Event::Tick);
            at_stop(self);
        }
        self.set_clock(until);
    }

    /// Time passes and nobody looks at the deadlines.
    pub fn stand_still(&mut self, for_ms: u64) {
        self.set_clock(self.now.monotonic_ms + for_ms);
        self.step(Event::Tick);
    }

    fn set_clock(&mut self, monotonic_ms: u64) {
        self.now.unix_ms += i64::try_from(monotonic_ms - self.now.monotonic_ms).expect("small");
        self.now.monotonic_ms = monotonic_ms;
    }

    /// Another broker becomes coordinator: the old one's requests are refused, and the new one has only
    /// what was stored. Of the proposals on their way the first `survive` were in its log; the rest is
    /// lost.
    pub fn fail_over(&mut self, survive: usize) {
        self.term += 1;
        self.holds = false;
        for (_, command) in std::mem::take(&mut self.held).into_iter().take(survive) {
            self.apply(&command);
        }
        self.groups = Groups::restore(&self.pairs).expect("own pairs restore");
        let new = Coordinator::new(self.term, self.now, &self.groups, self.settings.clone());
        let mut effects = Vec::new();
        std::mem::replace(&mut self.coordinator, new).resign(&mut effects);
        for effect in effects {
            let Effect::Reply(request, reply) = effect else { panic!("proposal after the term") };
            self.record(request, reply);
        }
    }
}

/// What a command does, in a line.
fn render_command(command: &Command) -> String {
    match &command.0 {
        Kind::FormGeneration(it) => {
            let members: Vec<_> = it.members.iter().map(|it| it.member_id.as_str()).collect();
            format!(
                "form {} generation {} {}/{} leader {} members {}",
                it.group,
                it.generation,
                it.protocol_type,
                it.protocol_name,
                it.leader,
                members.join(" ")
            )
        }
        Kind::StoreAssignment(it) => {
            let assigned: Vec<_> = it
                .assignments
                .iter()
                .map(|it| format!("{}={}", it.member_id, String::from_utf8_lossy(&it.assignment)))
                .collect();
            format!("assign {} {}", it.group, assigned.join(" "))
        }
        Kind::ReplaceMember(it) => {
            let member = it.member.as_ref().map_or("", |it| it.member_id.as_str());
            format!("replace {} {} by {member}", it.group, it.old_member_id)
        }
        Kind::EmptyGroup(it) => format!("empty {}", it.group),
        Kind::DeleteGroup(it) => format!("delete {}", it.group),
        Kind::CommitBatch(it) => {
            let items: Vec<_> = it
                .items
                .iter()
                .flat_map(|item| {
                    item.offsets
                        .iter()
                        .map(move |it| format!("{}:{}-{}={}", item.group, it.topic, it.partition, it.offset))
                })
                .collect();
            format!("commit {}", items.join(" "))
        }
        Kind::DeleteOffsets(it) => format!("delete {} offsets of {}", it.partitions.len(), it.group),
        Kind::ExpireOffsets(it) => {
            let groups: Vec<_> = it.groups.iter().map(|it| it.group.as_str()).collect();
            format!("expire {}", groups.join(" "))
        }
        Kind::DeleteTopics(it) => format!("forget {} topics", it.topic_ids.len()),
        Kind::TxnCommitOffsets(it) => format!("pend {} offsets of {}", it.offsets.len(), it.group),
    }
}
