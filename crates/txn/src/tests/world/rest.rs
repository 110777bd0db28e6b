//! The end of a run: everything that was begun must end.

use super::{IDS, World};
use crate::{Command, State, TopicId};

impl World {
    /// The network heals, clients finish what they began, and nothing may stay open or blocked (P8).
    pub(super) fn come_to_rest(&mut self) {
        self.is_rough = false;
        for round in 0.. {
            assert!(round < 200, "something goes on for ever: {:?}", self.network);
            self.now_ms += 50;
            self.sweep();
            let topic_ids = vec![TopicId([2; 16])];
            if self.partitions[&(topic_ids[0], 0)].is_deleted {
                self.apply(Command::DeleteTopics { now_ms: self.now_ms, topic_ids });
            }
            for client in 0..self.clients.len() {
                self.go_on(client, false);
                self.send_again(client);
            }
            self.send_markers();
            while !self.network.is_empty() || !self.late.is_empty() {
                self.deliver();
                self.deliver_late();
            }
            let waits = self.clients.iter().any(|it| !it.is_dead && it.waiting.is_some());
            let open = self
                .transactions
                .iter()
                .any(|(_, it)| it.state() == State::Ongoing || it.state().is_prepared());
            if !waits && !open {
                break;
            }
        }
        for (place, partition) in self.partitions.iter().filter(|(_, it)| !it.is_deleted) {
            assert_eq!(partition.open().next(), None, "open in {place:?}");
        }
        assert_eq!(self.pending, [], "offsets pend for ever");
        self.fail_over();
        self.replay();
        IDS.into_iter().for_each(|id| self.one_more(id));
    }

    /// The log gives the state, on whatever voter.
    fn replay(&self) {
        let mut replayed = self.initial.clone();
        let first = self.index + 1 - self.log.len() as u64;
        for (index, bytes) in (first..).zip(&self.log) {
            let command = Command::decode(bytes.as_slice()).expect("own bytes decode");
            replayed.apply(index, &command, &mut Vec::new());
        }
        assert_eq!(replayed, self.transactions, "replayed");
    }

    /// A new process gets a transaction through, without being told to wait for long.
    fn one_more(&mut self, id: &str) {
        self.start_client(id);
        let client = self.clients.len() - 1;
        for _ in 0..40 {
            // Once only: a second InitProducerId would fence what the first one began, as at Kafka.
            let may_begin = self.clients[client].done == 0;
            match self.clients[client].waiting {
                Some(_) => self.send_again(client),
                None => self.go_on(client, may_begin),
            }
            while !self.network.is_empty() {
                self.deliver();
            }
            self.send_markers();
            let it = &self.clients[client];
            assert!(it.told_to_wait < 5, "{id} is told to wait for ever");
            assert!(!it.is_dead, "{id}: the newest process is fenced");
        }
        assert!(self.clients[client].done > 0, "{id} gets nothing done");
    }
}
