//! Transactions, from clients over the coordinator to replicated partitions and back to readers.
//!
//! The decisions are the product's: `txn` for the coordinator, `partition` for what leaders and followers know of
//! producers. The network delays, repeats and loses; copies of messages come when nobody expects them any more.
//! Coordinators and leaders change, clients lose patience, time out and leave zombies behind, topics are deleted.
//! Half of the seeds begin shortly before the epochs are used up.
//!
//! What a seed does follows from it alone. Broken promises are panics, caught by [`run`].

mod client;
mod coordinator;
mod message;
mod oracle;
mod partition;
mod rest;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use milena_txn::{Command, EndTransaction, InitProducerId, ProducerIdAndEpoch, TopicId, Transactions};

use crate::promise::broken_promise;
use crate::random::Random;
use client::{Client, Learnt};
use coordinator::Coordinator;
use message::{Call, Failure, Marker, Message, Place, Produce, Request, Unit};
use oracle::Oracle;
use partition::{Partition, Taken, Waiter};

/// Steps of a run, enough for every mistake that is known.
pub const STEPS: usize = 20_000;

const TIMEOUT_MS: i32 = 400;
const IDS: [&str; 2] = ["a", "b"];
/// The topic that may be deleted.
const DOOMED: TopicId = TopicId([2; 16]);
/// Messages on their way, at most; more are lost. So many late copies are kept as well.
const NETWORK: usize = 20;

/// What a run came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Parts of transactions, in partitions and groups, that readers saw.
    pub committed: usize,
    /// And that they were spared.
    pub aborted: usize,
    /// The promise that was broken.
    pub violation: Option<String>,
}

/// Runs `steps` under the seed, then heals everything and waits until it has come to rest.
pub fn run(seed: u64, steps: usize) -> Outcome {
    let mut world = World::new(seed);
    let violation = broken_promise(|| {
        (0..steps).for_each(|_| world.step());
        world.come_to_rest();
    });
    Outcome { committed: world.oracle.committed, aborted: world.oracle.aborted, violation }
}

struct World {
    random: Random,
    now_ms: i64,
    units: u64,
    coordinator: Coordinator,
    partitions: BTreeMap<Place, Partition>,
    network: Vec<Message>,
    /// Copies that come when nobody expects them any more.
    late: Vec<Message>,
    clients: Vec<Client>,
    oracle: Oracle,
    /// Batches that were acknowledged.
    stored: Vec<Produce>,
    /// Whether messages are lost and repeated.
    is_rough: bool,
}

/// Coordinator state whose producers have few epochs left, made once.
fn nearly_exhausted() -> &'static Transactions {
    static STATE: OnceLock<Transactions> = OnceLock::new();
    STATE.get_or_init(|| {
        let mut state = Transactions::default();
        let mut index = 0;
        let mut apply = |command| {
            index += 1;
            state.apply(index, &command, &mut Vec::new());
        };
        for (fresh_producer_id, id) in (1..).zip(IDS) {
            apply(Command::InitProducerId(InitProducerId {
                transactional_id: id.to_owned(),
                now_ms: 0,
                timeout_ms: TIMEOUT_MS,
                expected: None,
                fresh_producer_id,
            }));
            // Aborts of nothing, as a new client may ask for; each takes an epoch.
            for epoch in 0..i16::MAX - 6 {
                apply(Command::EndTransaction(EndTransaction {
                    transactional_id: id.to_owned(),
                    now_ms: 0,
                    producer: ProducerIdAndEpoch { producer_id: fresh_producer_id, epoch },
                    commit: false,
                    bumps: true,
                    fresh_producer_id: None,
                }));
            }
        }
        state
    })
}

impl World {
    fn new(seed: u64) -> Self {
        let topics = [TopicId([1; 16]), DOOMED];
        let places = topics.into_iter().flat_map(|id| [(id, 0), (id, 1)]);
        let state = if seed.is_multiple_of(2) { nearly_exhausted().clone() } else { Transactions::default() };
        let mut world = Self {
            random: Random::new(seed, 7),
            now_ms: 1_000,
            units: 0,
            coordinator: Coordinator::new(state),
            partitions: places.map(|place| (place, Partition::default())).collect(),
            network: Vec::new(),
            late: Vec::new(),
            clients: Vec::new(),
            oracle: Oracle::default(),
            stored: Vec::new(),
            is_rough: true,
        };
        IDS.into_iter().for_each(|id| world.start_client(id));
        world
    }

    fn step(&mut self) {
        self.now_ms += self.random.below(8) as i64;
        match self.random.below(1_000) {
            0..40 => self.deliver_late(),
            40..450 => self.deliver(),
            450..620 => {
                let client = self.some_client();
                self.go_on(client, true);
            }
            620..680 => {
                // A client loses patience.
                let client = self.some_client();
                self.send_again(client);
            }
            680..760 => self.send_markers(),
            760..890 => self.replicate(false),
            890..930 => self.read(),
            930..965 => self.sweep(),
            965..977 => self.coordinator_fails_over(),
            977..985 => self.leader_fails_over(),
            985..992 => {
                // A process starts; the one before goes on as a zombie, if it lives.
                let id = IDS[self.random.below(IDS.len())];
                self.start_client(id);
            }
            992..999 => {
                let idle = self.coordinator.state.idle(None, self.now_ms, 2_000, 10);
                self.send(Message::Proposal(Command::Expire(idle)));
            }
            _ => self.delete_topic(),
        }
    }

    fn start_client(&mut self, id: &str) {
        let is_new = self.random.below(3) > 0;
        self.clients.push(Client::new(self.clients.len(), id, is_new));
    }

    /// One that lives. An id without such gets one.
    fn some_client(&mut self) -> usize {
        for id in IDS {
            if self.clients.iter().all(|it| it.id != id || it.is_dead) {
                self.start_client(id);
            }
        }
        let alive: Vec<_> = self.clients.iter().filter(|it| !it.is_dead).map(|it| it.number).collect();
        alive[self.random.below(alive.len())]
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
        if self.is_rough && self.random.below(4) == 0 {
            if self.late.len() < NETWORK {
                self.late.push(message.clone());
            } else {
                let at = self.random.below(NETWORK);
                self.late[at] = message.clone();
            }
        }
        if !(self.is_rough && self.random.below(8) == 0) {
            self.receive(message);
        }
    }

    fn deliver_late(&mut self) {
        if !self.late.is_empty() {
            let at = self.random.below(self.late.len());
            let message = self.late.swap_remove(at);
            self.receive(message);
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Request(request) => self.serve(request),
            Message::Reply { client, number, heard } => self.hear(client, number, heard),
            Message::Enlist(enlist) => self.enlist(enlist),
            Message::Enlisted(enlist, outcome) => {
                let partition = &self.partitions[&enlist.produce.place];
                if partition.leader_epoch != enlist.leader_epoch {
                    return;
                }
                match outcome {
                    Ok(()) => self.produce(enlist.request, enlist.produce, Some(enlist.guard)),
                    Err(refusal) => self.reply(&enlist.request, Err(Failure::Refused(refusal))),
                }
            }
            Message::Marker(marker) => {
                let partition = self.partitions.get_mut(&marker.place).expect("a place");
                if !partition.is_deleted
                    && let Some(marker) = partition.mark(marker)
                {
                    self.marked(marker);
                }
            }
            Message::Proposal(command) => {
                self.apply(command);
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request.call {
            Call::Produce(produce) => self.produce(request, produce, None),
            _ => self.coordinate(request),
        }
    }

    fn hear(&mut self, client: usize, number: u64, heard: message::Heard) {
        let it = &mut self.clients[client];
        let (unit, is_new) = (it.unit, it.is_new);
        match it.hear(number, heard) {
            None => return,
            Some(Learnt::Nothing) => {}
            Some(Learnt::Stored(produce)) => self.stored.push(produce),
            Some(Learnt::Ended { commit }) => self.oracle.told(unit, commit),
            Some(Learnt::AbortRefused) => panic!("the client of {unit:?} may not abort it"),
        }
        if !is_new && self.clients[client].waiting.is_none() {
            // Old clients' messages must not outlive their call: against that, their protocol has nothing.
            let lives = |it: &Message| {
                let of = match it {
                    Message::Request(it) => it.client,
                    Message::Enlist(it) | Message::Enlisted(it, _) => it.request.client,
                    _ => return true,
                };
                of != client
            };
            self.network.retain(lives);
            self.late.retain(lives);
        }
    }

    fn reply(&mut self, request: &Request, heard: message::Heard) {
        self.send(Message::Reply { client: request.client, number: request.number, heard });
    }

    fn produce(&mut self, request: Request, produce: Produce, guard: Option<milena_partition::Guard>) {
        let partition = self.partitions.get_mut(&produce.place).expect("a place");
        if partition.is_deleted {
            return self.reply(&request, Err(Failure::Broken));
        }
        match partition.produce(&request, produce, guard) {
            Taken::Waits => {}
            Taken::Failed(failure) => self.reply(&request, Err(failure)),
            Taken::Ask(guard) => {
                let leader_epoch = partition.leader_epoch;
                self.send(Message::Enlist(message::Enlist { request, produce, leader_epoch, guard }));
            }
        }
    }

    fn replicate(&mut self, all: bool) {
        let mut released = Vec::new();
        for partition in self.partitions.values_mut().filter(|it| !it.is_deleted) {
            released.extend(partition.replicate(&mut self.random, all));
        }
        for waiter in released {
            match waiter {
                Waiter::Client(request) => self.reply(&request, Ok(None)),
                Waiter::Coordinator(marker) => self.marked(marker),
            }
        }
    }

    fn read(&mut self) {
        for partition in self.partitions.values_mut().filter(|it| !it.is_deleted) {
            for (unit, commit) in partition.read() {
                self.oracle.outcome(unit, commit);
            }
        }
    }

    fn leader_fails_over(&mut self) {
        let at = self.random.below(self.partitions.len());
        let partition = self.partitions.values_mut().nth(at).expect("a place");
        for waiter in partition.elect(&mut self.random) {
            if let Waiter::Client(request) = waiter {
                self.reply(&request, Err(Failure::Again));
            }
        }
    }

    fn delete_topic(&mut self) {
        for (_, partition) in self.partitions.iter_mut().filter(|((id, _), _)| *id == DOOMED) {
            partition.is_deleted = true;
        }
    }

    fn go_on(&mut self, client: usize, may_begin: bool) {
        let unit = Unit(self.units + 1);
        let places: Vec<Place> =
            self.partitions.iter().filter(|(_, it)| !it.is_deleted).map(|(place, _)| *place).collect();
        let was_waiting = self.clients[client].waiting.is_some();
        if self.clients[client].go_on(&mut self.random, unit, may_begin, &places) {
            self.units += 1;
        }
        if !was_waiting {
            self.send_again(client);
        }
    }

    fn send_again(&mut self, client: usize) {
        let Some(request) = self.clients[client].waiting.clone() else { return };
        if let Call::End { commit, .. } = request.call {
            self.oracle.asked(request.unit, commit);
        }
        self.send(Message::Request(request));
    }

    /// The marker is where it belongs, for good.
    fn marked(&mut self, marker: Marker) {
        let command = coordinator::written(marker, self.now_ms);
        self.send(Message::Proposal(command));
    }
}
