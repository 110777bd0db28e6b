//! Tests of the crate, a file per noun. All of them go through decisions, commands and the state, as production does.

mod broker_life;
mod configs;
mod controllers;
mod deltas;
mod elections;
mod feature_levels;
mod leaders;
mod partitions;
mod placement;
mod properties;
mod reassignments;
mod topic_life;

use milena_config::{BrokerConfig, Overrides};
use milena_wire::Uuid;

use crate::decide::brokers::{self, Kept, Registration};
use crate::decide::topics::{self, CreateTopicsAnswer, NewTopic};
use crate::decide::{Decision, features};
use crate::{
    BrokerEpoch, BrokerId, Command, Image, Outcome, Partition, PartitionEpoch, Record, Refusal, State,
};

/// A cluster without a network: decisions are committed at once.
pub(super) struct Lab {
    state: State,
    config: BrokerConfig,
    index: u64,
    random: u64,
}

impl Lab {
    /// A formatted cluster with these brokers, all unfenced; `(id, rack)`.
    pub(super) fn with_racks(brokers: &[(i32, Option<&str>)]) -> Self {
        let mut lab = Self { state: State::default(), config: config(&[]), index: 0, random: 1 };
        let born = features::format(lab.image(), "5L6g3nShT-eMCtK--X86sw");
        lab.commit(born);
        for (id, rack) in brokers {
            lab.start(*id, *rack);
        }
        lab
    }

    /// A formatted cluster of `count` brokers, numbered from 1.
    pub(super) fn of(count: i32) -> Self {
        let brokers: Vec<_> = (1..=count).map(|id| (id, None)).collect();
        Self::with_racks(&brokers)
    }

    /// The cluster with other broker settings.
    pub(super) fn configured(mut self, pairs: &[(&str, &str)]) -> Self {
        self.config = config(pairs);
        self
    }

    pub(super) fn image(&self) -> &Image {
        self.state.image()
    }

    /// Proposes and commits a decision; returns its answer.
    pub(super) fn commit<T>(&mut self, decision: Decision<T>) -> T {
        if !decision.records.is_empty() {
            // The log also holds entries that are no commands: indexes have gaps.
            self.index += 2;
            let command = Command { decided_at: self.image().index(), records: decision.records };
            let outcome = self.state.apply(self.index, &command.encode(), &mut Vec::new());
            assert_eq!(outcome, Outcome::Applied);
        }
        decision.answer
    }

    /// Registers and unfences a broker.
    pub(super) fn start(&mut self, id: i32, rack: Option<&str>) -> BrokerEpoch {
        let epoch = self.register(registration(id, rack)).expect("nothing stands in the way");
        self.unfence(id);
        epoch
    }

    pub(super) fn register(&mut self, mut registration: Registration) -> Result<BrokerEpoch, Refusal> {
        if registration.incarnation.is_zero() {
            registration.incarnation = Uuid((self.draw() as u128 + 1).to_be_bytes());
        }
        let decision = brokers::register(self.image(), &self.config, &registration)?;
        self.commit(decision);
        Ok(self.epoch(registration.id.0))
    }

    pub(super) fn unfence(&mut self, id: i32) {
        let decision = brokers::unfence(self.image(), &self.config, BrokerId(id), self.epoch(id)).unwrap();
        self.commit(decision);
    }

    pub(super) fn fence(&mut self, id: i32) {
        let decision = brokers::fence(self.image(), &self.config, BrokerId(id)).unwrap();
        self.commit(decision);
    }

    pub(super) fn epoch(&self, id: i32) -> BrokerEpoch {
        self.image().broker(BrokerId(id)).expect("registered").epoch
    }

    pub(super) fn draw(&mut self) -> u64 {
        // splitmix64: good enough to tell ids apart, and the same in every run.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    /// Creates topics.
    pub(super) fn create(&mut self, new: &[NewTopic]) -> Result<CreateTopicsAnswer, Refusal> {
        let (image, config) = (self.image().clone(), self.config.clone());
        let decision = topics::create(&image, &config, new, false, &mut || self.draw())?;
        Ok(self.commit(decision))
    }

    /// Creates one topic with the first replicas of each partition given; returns its id.
    pub(super) fn assign(&mut self, name: &str, partitions: &[&[i32]]) -> Uuid {
        let answer = self.create(&[assigned(name, partitions)]).unwrap();
        answer[0].1.clone().expect("the topic is acceptable").id
    }

    pub(super) fn partition(&self, topic: &str, index: i32) -> Partition {
        (**self.image().topic(topic).unwrap().partition(index).unwrap()).clone()
    }

    /// Replicas, ISR, ELR and leader of a partition, for comparing at a glance.
    pub(super) fn shape(&self, topic: &str, index: i32) -> (Vec<i32>, Vec<i32>, Vec<i32>, Option<i32>) {
        let it = self.partition(topic, index);
        (numbers(&it.replicas), numbers(&it.isr), numbers(&it.elr), it.leader.map(|id| id.0))
    }
}

pub(super) fn config(pairs: &[(&str, &str)]) -> BrokerConfig {
    let pairs: Overrides = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    BrokerConfig::new(pairs).expect("settings are acceptable")
}

pub(super) fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

pub(super) fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().map(|number| BrokerId(*number)).collect()
}

pub(super) fn registration(id: i32, rack: Option<&str>) -> Registration {
    Registration {
        id: BrokerId(id),
        incarnation: Uuid::ZERO,
        cluster_id: None,
        kept: Kept::default(),
        predecessor_is_gone: false,
        endpoints: Vec::new(),
        rack: rack.map(str::to_owned),
        log_dirs: vec![Uuid([id as u8; 16])],
        peer_address: format!("broker{id}:9093"),
        broker_only: false,
    }
}

/// A topic with numbers of partitions and replicas.
pub(super) fn sized(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, replication_factor, ..NewTopic::default() }
}

/// A topic with settings.
pub(super) fn with_configs(name: &str, configs: &[(&str, Option<&str>)]) -> NewTopic {
    let configs = configs.iter().map(|(name, value)| (name.to_string(), value.map(str::to_owned))).collect();
    NewTopic { configs, ..sized(name, -1, -1) }
}

/// A topic with assigned replicas.
pub(super) fn assigned(name: &str, partitions: &[&[i32]]) -> NewTopic {
    let assignments = (0..).zip(partitions).map(|(index, replicas)| (index, ids(replicas))).collect();
    NewTopic { assignments, ..sized(name, -1, -1) }
}
