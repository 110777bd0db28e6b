//! Consumer groups, from members over coordinators that come and go to the replicated log, and back to readers.
//!
//! The decisions are the product's: both halves of `group`. Raft is modelled as a log that is always right: of what a
//! deposed coordinator had proposed, its successor's log holds a beginning, and nothing else of it is ever committed.
//! The deposed one does not know for a while, and goes on. Requests and answers are delayed and lost; members die, leave,
//! lose patience and come back, and those that were removed go on as zombies until they hear of it.
//!
//! What a seed does follows from it alone. Broken promises are panics, caught by [`run`].

mod member;
mod office;
mod oracle;
mod rest;
mod second_mode;

use std::collections::BTreeMap;

use milena_group::{Event, Groups, Now, Reply, RequestId, Settings};

use crate::promise::broken_promise;
use crate::random::Random;
use crate::{Incidents, Mode};
use member::Member;
use office::{Office, Outcomes};
use oracle::Oracle;
use second_mode::SecondMode;

/// Steps of a run, enough for every mistake that is known.
pub const STEPS: usize = 6_000;

const GROUP: &str = "g";
const PARTITIONS: i32 = 4;
/// Members that are alive at the same time.
const MEMBERS: usize = 3;
/// Messages on their way, at most; more are lost.
const NETWORK: usize = 24;
const SESSION_MS: i32 = 6_000;
const REBALANCE_MS: i32 = 10_000;
/// Longer than members that live pause between commits, shorter than a run.
const RETENTION_MS: i64 = 20_000;

/// What a run came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Generations that members heard of.
    pub generations: usize,
    /// Commits that were acknowledged.
    pub committed: usize,
    /// Commits that were refused.
    pub refused: usize,
    /// Offsets that were read back.
    pub read: usize,
    /// Hash over every event of the quorum, in the second mode.
    pub trace_hash: u64,
    /// What befell the group.
    pub incidents: Incidents,
    /// The promise that was broken.
    pub violation: Option<String>,
}

/// Runs `steps` under the seed, then heals everything and waits until it has come to rest. So much of what befalls the
/// group happens as `incidents` say.
pub fn run(seed: u64, steps: usize, mode: Mode, incidents: Incidents) -> Outcome {
    let mut world = World::new(seed, mode);
    world.incidents = incidents;
    let violation = broken_promise(|| {
        world.begin();
        (0..steps).for_each(|_| world.step());
        world.come_to_rest();
    });
    let Oracle { committed, refused, read, .. } = world.oracle;
    let trace_hash = world.second.as_ref().map_or(0, SecondMode::hash);
    let (generations, incidents) = (world.oracle.generations(), world.incidents);
    Outcome { generations, committed, refused, read, trace_hash, incidents, violation }
}

/// What travels.
enum Message {
    /// To the coordinator of a term.
    Asked { term: u64, event: Event },
    /// To whoever asked.
    Answered { request: RequestId, reply: Reply },
}

struct World {
    random: Random,
    now: Now,
    settings: Settings,
    /// State with everything applied that is committed.
    groups: Groups,
    /// Entries that are committed.
    index: u64,
    /// Coordinators, the present one last; those before it do not know yet.
    offices: Vec<Office>,
    network: Vec<Message>,
    members: Vec<Member>,
    /// By whom each request was asked.
    asked: BTreeMap<RequestId, usize>,
    next_request: u64,
    next_uuid: u64,
    next_offset: i64,
    oracle: Oracle,
    /// Whether messages are lost.
    is_rough: bool,
    /// What takes the log's place in the second mode.
    second: Option<SecondMode>,
    incidents: Incidents,
}

impl World {
    fn new(seed: u64, mode: Mode) -> Self {
        let mut random = Random::new(seed, 11);
        let settings = Settings {
            initial_rebalance_delay_ms: 500,
            offsets_retention_ms: RETENTION_MS,
            offsets_retention_check_interval_ms: 1_000,
            max_batch_commits: 1 + random.below(3),
            max_batches_in_flight: 1 + random.below(3),
            ..Settings::default()
        };
        let now = Now { monotonic_ms: 1_000, unix_ms: 1_000_000 };
        Self {
            random,
            now,
            settings,
            groups: Groups::default(),
            index: 0,
            offices: Vec::new(),
            network: Vec::new(),
            members: Vec::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            next_uuid: 0,
            next_offset: 0,
            oracle: Oracle::default(),
            is_rough: true,
            second: SecondMode::new(seed, mode),
            incidents: Incidents::default(),
        }
    }

    /// The first coordinator, the group, and its members.
    fn begin(&mut self) {
        if self.second.is_some() {
            self.found_on_nodes();
        } else {
            self.offices.push(Office::new(1, 0, self.now, self.groups.clone(), self.settings.clone()));
            self.found();
        }
        (0..MEMBERS).for_each(|_| self.start_member());
    }

    /// An offset that no member commits and that never expires: a group without any is forgotten when its members are
    /// gone, and its generations begin anew.
    fn foundation(&mut self) -> Event {
        let mut commit = Member::new(usize::MAX, None).commit_of_nobody(&mut self.next_offset);
        for offset in &mut commit.offsets {
            offset.partition = PARTITIONS;
        }
        commit.retention_ms = Some(i64::MAX / 2);
        Event::CommitOffsets(self.request(0), commit)
    }

    fn found(&mut self) {
        let commit = self.foundation();
        let now = self.now;
        self.leader().step(now, commit);
        let entry = self.leader().proposed.pop_front().expect("nobody else is there");
        let answer = self.apply(&entry.command);
        let groups = self.groups.clone();
        self.leader().committed(now, groups, &entry, answer);
    }

    fn step(&mut self) {
        let ms = self.random.below(10);
        self.pass(ms as u64);
        match self.random.below(1_000) {
            0..380 => self.deliver(),
            380..640 => {
                let member = self.some_member();
                self.go_on(member);
            }
            640..850 if self.second.is_some() => self.pass(1),
            640..850 => self.commit(),
            850..870 => {
                let member = self.some_member();
                if self.happens(|| format!("member {member} loses patience")) {
                    self.members[member].lose_patience();
                }
            }
            870..880 => self.replace_member(false),
            880..888 => self.replace_member(true),
            888..900 => {
                // A quorum did not answer in time; the entry may still be committed.
                if self.happens(|| "proposals time out".to_owned()) {
                    self.time_out();
                }
            }
            900..915 if self.second.is_some() => self.befall(),
            900..915 => {
                if self.happens(|| "another node coordinates".to_owned()) {
                    self.fail_over();
                }
            }
            915..935 if self.second.is_some() => self.pass(1),
            915..935 => {
                if self.happens(|| "a coordinator hears that it is none".to_owned()) {
                    self.depose();
                }
            }
            935..945 => self.commit_as_administrator(),
            945..955 if self.second.is_some() => self.read_on_nodes(),
            945..955 => self.read(),
            _ => {
                // Now and then longer than a session lasts without a sign of life.
                let longest = if self.random.below(12) == 0 { 9_000 } else { 600 };
                let ms = self.random.below(longest);
                self.pass(ms as u64);
            }
        }
    }

    /// Whether what was drawn happens.
    fn happens(&mut self, what: impl FnOnce() -> String) -> bool {
        let ms = self.now.monotonic_ms;
        self.incidents.happens(|| format!("{:>8.3} s {}", ms as f64 / 1e3, what()))
    }

    fn time_out(&mut self) {
        let now = self.now;
        if let Some(newest) = self.offices.last_mut() {
            let outcomes = newest.time_out(now);
            self.take(outcomes, true);
        }
    }

    fn leader(&mut self) -> &mut Office {
        self.offices.last_mut().expect("somebody leads")
    }

    /// Lets time pass for everybody.
    fn pass(&mut self, ms: u64) {
        if self.second.is_some() {
            return self.pass_on_nodes(ms);
        }
        self.now.monotonic_ms += ms;
        self.now.unix_ms += ms as i64;
        for at in 0..self.offices.len() {
            if self.offices[at].is_due(self.now) {
                let outcomes = self.offices[at].step(self.now, Event::Tick);
                self.take(outcomes, at + 1 == self.offices.len());
            }
        }
    }

    /// Commits what the leader proposed first, and tells it.
    fn commit(&mut self) {
        let Some(entry) = self.leader().proposed.pop_front() else { return };
        let answer = self.apply(&entry.command);
        let now = self.now;
        let groups = self.groups.clone();
        let outcomes = self.leader().committed(now, groups, &entry, answer);
        self.take(outcomes, true);
        for deposed in 0..self.offices.len() - 1 {
            let outcomes = self.offices[deposed].passed_by(now, self.index);
            self.take(outcomes, false);
        }
    }

    /// One entry more for everybody.
    fn apply(&mut self, command: &milena_group::Command) -> milena_group::Answer {
        self.index += 1;
        let before = self.groups.clone();
        let answer = self.groups.apply(self.index, command, &mut Vec::new());
        self.oracle.applied(&before, &self.groups, self.now, &self.settings);
        answer
    }

    /// Another voter leads: it has a beginning of what was proposed, and what was committed.
    fn fail_over(&mut self) {
        let proposed = self.leader().proposed.len();
        let survive = self.random.below(proposed + 1);
        let survivors: Vec<_> = self.leader().proposed.drain(..survive).collect();
        for entry in &survivors {
            self.apply(&entry.command);
        }
        let term = self.leader().term + 1;
        let new = Office::new(term, 0, self.now, self.groups.clone(), self.settings.clone());
        self.offices.push(new);
        if self.offices.len() > 3 {
            self.depose();
        }
    }

    /// The oldest coordinator that is none any more hears of it.
    fn depose(&mut self) {
        if self.offices.len() > 1 {
            let now = self.now;
            let outcomes = self.offices.remove(0).resign(now);
            self.take(outcomes, false);
        }
    }

    /// Sends what a coordinator answers, one that `leads` or one that was deposed.
    fn take(&mut self, outcomes: Outcomes, leads: bool) {
        for (request, reply) in outcomes {
            if self.is_for_nobody(request) {
                continue;
            }
            self.oracle.answered(request, &reply, leads);
            self.send(Message::Answered { request, reply });
        }
    }

    fn send(&mut self, message: Message) {
        if self.network.len() < NETWORK || !self.is_rough {
            self.network.push(message);
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = self.random.below(self.network.len());
        let message = self.network.swap_remove(at);
        if !(self.is_rough && self.random.below(12) == 0) {
            self.receive(message);
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Asked { term, event } => {
                let now = self.now;
                let Some(at) = self.offices.iter().position(|it| it.term == term && self.runs(it.node))
                else {
                    return;
                };
                let outcomes = self.offices[at].step(now, event);
                self.take(outcomes, at + 1 == self.offices.len());
                self.submit();
            }
            Message::Answered { request, reply } => {
                let member = self.asked[&request];
                self.members[member].hear(request, reply);
            }
        }
    }

    fn request(&mut self, member: usize) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.asked.insert(request, member);
        request
    }

    /// Asks the coordinator that a client has found: a deposed one now and then.
    fn ask(&mut self, event: Event) {
        if self.offices.is_empty() {
            return;
        }
        let is_stale = self.is_rough && self.random.below(6) == 0;
        let at = if is_stale { self.random.below(self.offices.len()) } else { self.offices.len() - 1 };
        let term = self.offices[at].term;
        self.send(Message::Asked { term, event });
    }

    fn start_member(&mut self) {
        let instance = (self.random.below(3) == 0).then(|| format!("i{}", self.random.below(2)));
        let taken = self.members.iter().any(|it| !it.is_dead && it.instance == instance);
        let number = self.members.len();
        self.members.push(Member::new(number, instance.filter(|_| !taken)));
    }

    /// One that lives.
    fn some_member(&mut self) -> usize {
        let alive: Vec<_> = self.members.iter().filter(|it| !it.is_dead).map(|it| it.number).collect();
        alive[self.random.below(alive.len())]
    }

    /// A process ends, with a word or without, and another one starts: under the same name, if it had one.
    fn replace_member(&mut self, says_so: bool) {
        let old = self.some_member();
        if !self.happens(|| format!("member {old} ends, and says so: {says_so}")) {
            return;
        }
        if says_so {
            let request = self.request(old);
            if let Some(event) = self.members[old].leave(request) {
                self.ask(event);
            }
        }
        self.members[old].is_dead = true;
        let instance = self.members[old].instance.clone();
        match instance {
            Some(instance) => self.members.push(Member::new(self.members.len(), Some(instance))),
            None => self.start_member(),
        }
    }

    /// What a member does next.
    fn go_on(&mut self, member: usize) {
        if self.members[member].waits() {
            return;
        }
        let request = self.request(member);
        self.next_uuid += 1;
        let uuid = format!("u{}", self.next_uuid);
        let commits = self.random.below(2) == 0;
        let event = if commits && let Some(commit) = self.members[member].commit(&mut self.next_offset) {
            self.oracle.attempted(request, &commit);
            Event::CommitOffsets(request, commit)
        } else {
            self.members[member].next(request, uuid)
        };
        if let Event::Sync(_, sync) = &event {
            self.oracle.syncs(request, sync);
        }
        self.members[member].asks(request);
        self.ask(event);
    }

    /// A commit of nobody, as tools make it: not while the group has members (G5).
    fn commit_as_administrator(&mut self) {
        let nobody = Member::new(usize::MAX, None);
        let request = self.request(0);
        let commit = nobody.commit_of_nobody(&mut self.next_offset);
        self.oracle.attempted(request, &commit);
        self.ask(Event::CommitOffsets(request, commit));
    }

    /// Somebody reads an offset back, from a coordinator that may be none any more.
    fn read(&mut self) {
        let at = self.random.below(self.offices.len());
        let partition = self.random.below(PARTITIONS as usize) as i32;
        let is_confirmed = at + 1 == self.offices.len();
        if let Some(found) = self.offices[at].read(partition, is_confirmed) {
            self.oracle.read(partition, found, &self.groups);
        }
    }
}
