//! Nodes that replicate what a world is about, as the world knows them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use milena_group::Groups;
use milena_metadata::{Image, Outcome, State};
use milena_quorum::{Changes, GroupId, ProposeError, StateMachine};

use super::cluster::{self, Cluster};
use crate::consensus::{Consensus, Failed, News};
use crate::queue::Time;

/// A state machine of the product.
pub(crate) trait Replica: Send + 'static {
    /// What the world sees of its state.
    type View: Clone;
    /// What it answers to a command.
    type Answer: Clone;
    /// The group that it is.
    const GROUP: GroupId;

    /// From what was stored.
    fn restored(pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Self;
    /// Applies a command.
    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Self::Answer;
    /// Its state.
    fn view(&self) -> Self::View;
}

impl Replica for State {
    type View = Image;
    type Answer = Outcome;
    const GROUP: GroupId = GroupId::CLUSTER;

    fn restored(pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Self {
        State::restore(pairs).expect("it was stored by the same code")
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Outcome {
        let mut pairs = Vec::new();
        let outcome = State::apply(self, index, command, &mut pairs);
        for (key, value) in pairs {
            match value {
                Some(value) => changes.put(key, value),
                None => changes.remove(key),
            }
        }
        outcome
    }

    fn view(&self) -> Image {
        self.image().clone()
    }
}

impl Replica for Groups {
    type View = Groups;
    type Answer = milena_group::Answer;
    const GROUP: GroupId = GroupId::COORDINATION;

    fn restored(pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Self {
        Groups::restore(pairs).expect("it was stored by the same code")
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> milena_group::Answer {
        let command = milena_group::Command::decode(command.clone()).expect("own bytes decode");
        Groups::apply(self, index, &command, &mut Pairs(changes))
    }

    fn view(&self) -> Groups {
        self.clone()
    }
}

/// Hands changed pairs from one crate to the other.
struct Pairs<'a>(&'a mut Changes);

impl milena_group::Changes for Pairs<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.0.remove(key);
    }
}

type Notes<R> = Arc<Mutex<Vec<News<<R as Replica>::View, <R as Replica>::Answer>>>>;

/// The nodes.
pub(crate) struct Nodes<R: Replica> {
    cluster: Cluster,
    notes: Notes<R>,
    /// What was answered to each command, by its index.
    answers: BTreeMap<u64, R::Answer>,
}

impl<R: Replica + Default> Nodes<R>
where
    R::View: Send,
    R::Answer: Send,
{
    /// Nodes whose clocks run at these millionths of the true speed.
    pub(crate) fn new(seed: u64, rates_ppm: &[u64]) -> Self {
        let notes = Notes::<R>::default();
        let told = notes.clone();
        let machines = Box::new(move |node| {
            let notes = told.clone();
            Box::new(Machine { node, replica: R::default(), is_restored: true, notes })
                as Box<dyn StateMachine>
        });
        let cluster = Cluster::new(seed, rates_ppm, rates_ppm.len(), R::GROUP, machines);
        Self { cluster, notes, answers: BTreeMap::new() }
    }
}

/// A replica, with a word about each step.
struct Machine<R: Replica> {
    node: usize,
    replica: R,
    /// It has a state of which nobody has been told.
    is_restored: bool,
    notes: Notes<R>,
}

impl<R: Replica> Machine<R> {
    fn tell(&self, news: News<R::View, R::Answer>) {
        self.notes.lock().expect("nobody panics with it").push(news);
    }

    fn tell_if_restored(&mut self, index: u64) {
        if std::mem::take(&mut self.is_restored) {
            self.tell(News::Restored { node: self.node, index, state: self.replica.view() });
        }
    }
}

impl<R: Replica> StateMachine for Machine<R>
where
    R::View: Send,
    R::Answer: Send,
{
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        self.replica = R::restored(pairs);
        self.is_restored = true;
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        // A new node: nothing was there.
        self.tell_if_restored(0);
        let answer = self.replica.apply(index, command, changes);
        self.tell(News::Applied { node: self.node, index, state: self.replica.view(), answer });
        Bytes::new()
    }

    fn applied(&mut self, index: u64) {
        self.tell_if_restored(index);
    }
}

impl<R: Replica> Consensus<R::View, R::Answer> for Nodes<R> {
    fn next_at(&self) -> Time {
        self.cluster.next_at()
    }

    fn advance(&mut self, now: Time) {
        self.cluster.advance(now);
    }

    fn step(&mut self) {
        self.cluster.step();
    }

    fn take_news(&mut self) -> Result<Vec<News<R::View, R::Answer>>, String> {
        let moved = self.cluster.take_news()?;
        let mut news = std::mem::take(&mut *self.notes.lock().expect("nobody panics with it"));
        for told in &news {
            if let News::Applied { index, answer, .. } = told {
                self.answers.entry(*index).or_insert_with(|| answer.clone());
            }
        }
        for moved in moved {
            news.push(match moved {
                cluster::News::Moved { node } => {
                    let stands = self.cluster.leader(node);
                    News::Leads { node, term: stands.is_self.then_some(stands.term) }
                }
                cluster::News::Proposed { ticket, outcome } => {
                    let outcome = match outcome {
                        Ok(done) => Ok((done.index, self.answers[&done.index].clone())),
                        Err(ProposeError::NotLeader { .. }) => Err(Failed::NotLeader),
                        Err(_) => Err(Failed::Unknown),
                    };
                    News::Proposed { ticket, outcome }
                }
                cluster::News::Read { ticket, index } => News::Read { ticket, index },
            });
        }
        Ok(news)
    }

    fn start(&mut self, node: usize) {
        self.cluster.start(node);
    }

    fn stop(&mut self, node: usize, power_lost: bool) {
        self.cluster.stop(node, power_lost);
    }

    fn pause(&mut self, node: usize, for_us: Time) {
        self.cluster.pause(node, for_us);
    }

    fn runs(&self, node: usize) -> bool {
        self.cluster.runs(node)
    }

    fn connect(&mut self, from: usize, to: usize, reaches: bool) {
        self.cluster.connect(from, to, reaches);
    }

    fn be_rough(&mut self, is_rough: bool) {
        self.cluster.be_rough(is_rough);
    }

    fn accuse(&mut self, successor: usize) {
        self.cluster.accuse(successor);
    }

    fn leader(&self, node: usize) -> Option<usize> {
        self.cluster.leader(node).leader.map(|id| id.0 as usize)
    }

    fn propose(&mut self, node: usize, ticket: u64, command: Bytes) {
        self.cluster.propose(node, ticket, command);
    }

    fn read(&mut self, node: usize, ticket: u64) {
        self.cluster.read(node, ticket);
    }

    fn hash(&self) -> u64 {
        self.cluster.hash()
    }
}
