//! A coordinator that fails over, partitions, and clients of both generations, on a network that delays, repeats
//! and loses. Everything follows from one seed.

mod client;
mod message;
mod oracle;
mod partition;
mod random;
mod rest;
mod serve;

use std::collections::BTreeMap;

use client::{Client, Learnt};
use message::{Call, Marker, Message, Place, Unit};
use oracle::Oracle;
use partition::{Marked, Partition};
use random::Random;

use crate::{
    Answer, Applied, Command, InitProducerId, MarkersOutcome, MarkersWritten, ProducerIdAndEpoch, State,
    TimeOut, TopicId, Transactions,
};

const TIMEOUT_MS: i32 = 400;
const IDS: [&str; 2] = ["a", "b"];
/// Messages on their way, at most; more are lost.
const NETWORK: usize = 20;
/// An epoch close to the last, so that producer ids are used up.
const NEARLY_LAST: i16 = 32_761;

pub struct World {
    random: Random,
    now_ms: i64,
    term: u64,
    index: u64,
    fresh: i64,
    units: u64,
    transactions: Transactions,
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Every command, and the state before the first.
    log: Vec<Vec<u8>>,
    initial: Transactions,
    partitions: BTreeMap<Place, Partition>,
    /// Offsets of open transactions: by whom, and of which.
    pending: Vec<(ProducerIdAndEpoch, Unit)>,
    network: Vec<Message>,
    /// Copies that come when nobody expects them any more.
    late: Vec<Message>,
    clients: Vec<Client>,
    oracle: Oracle,
    /// Whether messages are lost and repeated.
    is_rough: bool,
}

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub committed: usize,
    pub aborted: usize,
}

/// Runs `steps` under the seed, then lets everything come to rest. Panics where a promise is broken.
pub fn run(seed: u64, steps: usize) -> Figures {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.come_to_rest();
    Figures { committed: world.oracle.committed, aborted: world.oracle.aborted }
}

impl World {
    fn new(seed: u64) -> Self {
        let topics = [TopicId([1; 16]), TopicId([2; 16])];
        let places = topics.into_iter().flat_map(|id| [(id, 0), (id, 1)]);
        let mut world = Self {
            random: Random(seed),
            now_ms: 1_000,
            term: 1,
            index: 0,
            fresh: 100,
            units: 0,
            transactions: Transactions::default(),
            pairs: BTreeMap::new(),
            log: Vec::new(),
            initial: Transactions::default(),
            partitions: places.map(|place| (place, Partition::default())).collect(),
            pending: Vec::new(),
            network: Vec::new(),
            late: Vec::new(),
            clients: Vec::new(),
            oracle: Oracle::default(),
            is_rough: true,
        };
        if seed.is_multiple_of(2) {
            world.wind_up();
        }
        for id in IDS {
            world.start_client(id);
        }
        world
    }

    /// The ids are old, and nearly out of epochs.
    fn wind_up(&mut self) {
        for id in IDS {
            let fresh = self.fresh_producer_id();
            let init = InitProducerId {
                transactional_id: id.to_owned(),
                now_ms: self.now_ms,
                timeout_ms: TIMEOUT_MS,
                expected: None,
                fresh_producer_id: fresh,
            };
            self.apply(Command::InitProducerId(init));
            let mut transaction = self.transactions.find(id).expect("was initialized").clone();
            transaction.producer.epoch = NEARLY_LAST;
            let value = prost::Message::encode_to_vec(&transaction.to_stored());
            self.pairs.insert([crate::KEY_PREFIX, id.as_bytes()].concat(), value);
        }
        self.transactions = Transactions::restore(&self.pairs).expect("own pairs restore");
        self.initial = self.transactions.clone();
        self.log.clear();
    }

    fn fresh_producer_id(&mut self) -> i64 {
        self.fresh += 1;
        self.fresh
    }

    fn start_client(&mut self, id: &str) {
        let is_new = !self.random.one_in(3);
        self.clients.push(Client::new(self.clients.len(), id, is_new));
    }

    fn step(&mut self) {
        self.now_ms += self.random.below(8) as i64;
        match self.random.below(100) {
            0..4 => self.deliver_late(),
            4..50 => self.deliver(),
            50..70 => {
                let client = self.some_client();
                self.go_on(client, true);
            }
            70..78 => {
                // A client loses patience.
                let client = self.some_client();
                self.send_again(client);
            }
            78..88 => self.send_markers(),
            88..94 => self.sweep(),
            94..96 => self.fail_over(),
            96 => {
                // A process starts; the one before goes on as a zombie, if it lives.
                let id = IDS[self.random.below(IDS.len())];
                self.start_client(id);
            }
            97 => {
                let idle = self.transactions.idle(None, self.now_ms, 2_000, 10);
                self.send(Message::Proposal(Command::Expire(idle)));
            }
            98 if self.random.one_in(10) => self.delete_topic(),
            _ => {}
        }
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
        if self.is_rough && self.random.one_in(4) {
            // A copy comes long after, when all has moved on.
            if self.late.len() < NETWORK {
                self.late.push(message.clone());
            } else {
                let at = self.random.below(NETWORK);
                self.late[at] = message.clone();
            }
        }
        if !(self.is_rough && self.random.one_in(8)) {
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
            Message::Request(request) => {
                let (client, number) = (request.client, request.number);
                let outcome = self.serve(request);
                self.send(Message::Reply { client, number, outcome });
            }
            Message::Reply { client, number, outcome } => {
                let it = &mut self.clients[client];
                let (unit, is_new) = (it.unit, it.is_new);
                let Some(learnt) = it.hear(number, outcome) else { return };
                match learnt {
                    Learnt::Nothing => {}
                    Learnt::Ended { commit } => self.oracle.told(unit, commit),
                    Learnt::AbortRefused => panic!("the client of {unit:?} may not abort it"),
                }
                if !is_new && self.clients[client].waiting.is_none() {
                    // Old clients' messages must not outlive their call: against that, their protocol has nothing.
                    let lives = |it: &Message| !matches!(it, Message::Request(it) if it.client == client);
                    self.network.retain(lives);
                    self.late.retain(lives);
                }
            }
            Message::Marker(marker) => self.mark(marker),
            Message::Proposal(command) => {
                self.apply(command);
            }
        }
    }

    /// Applies a command as the log has it, with everything that must hold around it.
    fn apply(&mut self, command: Command) -> Answer {
        let before = self.transactions.clone();
        if let Command::TimeOut(TimeOut { transactional_id, .. }) = &command
            && let Some(it) = before.find(transactional_id).filter(|it| it.state() == State::Ongoing)
            && it.start_time_ms().is_some_and(|start| start + i64::from(TIMEOUT_MS) < self.now_ms)
        {
            self.oracle.cut(transactional_id, it.sequence());
        }
        self.log.push(command.encode());
        self.index += 1;
        let mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let Applied { answer, settled } = self.transactions.apply(self.index, &command, &mut changes);
        for (key, value) in changes {
            match value {
                Some(value) => self.pairs.insert(key, value),
                None => self.pairs.remove(&key),
            };
        }
        if let Command::Expire(idle) = &command {
            let gone = idle.iter().filter(|it| self.transactions.find(&it.transactional_id).is_none());
            gone.for_each(|it| self.oracle.forgotten(&it.transactional_id));
        }
        self.oracle.look(&before, &self.transactions);
        if let Some(settled) = settled {
            for (by, unit) in std::mem::take(&mut self.pending) {
                if by == settled.producer {
                    self.oracle.outcome(unit, settled.commit);
                } else {
                    self.pending.push((by, unit));
                }
            }
        }
        if let Command::MarkersWritten(written) = &command
            && answer == Answer::Markers(MarkersOutcome::Complete)
        {
            self.check_closed(before.find(&written.transactional_id).expect("known").producer());
        }
        answer
    }

    fn check_closed(&self, producer: ProducerIdAndEpoch) {
        for (place, partition) in self.partitions.iter().filter(|(_, it)| !it.is_deleted) {
            let open = partition.open().find(|(id, _)| *id == producer.producer_id);
            assert!(open.is_none(), "{producer:?} is complete and has {open:?} open in {place:?}");
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

    fn send_markers(&mut self) {
        let mut markers = Vec::new();
        for due in self.transactions.markers_due() {
            let places = due.partitions.iter().map(|(topic_id, _, partition)| (topic_id, partition));
            markers.extend(places.map(|place| Marker {
                term: self.term,
                id: due.transactional_id.to_owned(),
                place,
                producer: due.producer,
                commit: due.commit,
                version: due.version,
                sequence: due.sequence,
            }));
        }
        markers.into_iter().for_each(|marker| self.send(Message::Marker(marker)));
    }

    fn mark(&mut self, marker: Marker) {
        let partition = self.partitions.get_mut(&marker.place).expect("a place");
        if partition.is_deleted {
            return;
        }
        match partition.mark(&marker) {
            Marked::CoordinatorFenced => return,
            Marked::Repeat => {}
            Marked::Closed(unit) => {
                unit.into_iter().for_each(|unit| self.oracle.outcome(unit, marker.commit));
            }
        }
        let (topic_id, partition) = marker.place;
        let written = MarkersWritten {
            transactional_id: marker.id,
            now_ms: self.now_ms,
            producer: marker.producer,
            sequence: marker.sequence,
            partitions: [(topic_id, "topic", partition)].into_iter().collect(),
        };
        self.send(Message::Proposal(Command::MarkersWritten(written)));
    }

    fn sweep(&mut self) {
        let due: Vec<_> =
            self.transactions.due(self.now_ms).map(|(id, sequence)| (id.to_owned(), sequence)).collect();
        for (transactional_id, sequence) in due {
            let fresh_producer_id = self.fresh_producer_id();
            let now_ms = self.now_ms;
            let timeout = TimeOut { transactional_id, now_ms, sequence, fresh_producer_id };
            self.send(Message::Proposal(Command::TimeOut(timeout)));
        }
    }

    /// Another broker becomes coordinator: it has what was stored.
    fn fail_over(&mut self) {
        self.term += 1;
        let restored = Transactions::restore(&self.pairs).expect("own pairs restore");
        let before = std::mem::replace(&mut self.transactions, restored);
        self.oracle.look(&before, &self.transactions);
        assert_eq!(before, self.transactions, "the new coordinator knows something else");
    }

    fn delete_topic(&mut self) {
        let topic_id = TopicId([2; 16]);
        for (_, partition) in self.partitions.iter_mut().filter(|((id, _), _)| *id == topic_id) {
            partition.is_deleted = true;
        }
    }
}
