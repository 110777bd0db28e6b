//! The end of a run: everything that was begun must end.

use milena_txn::{Command, State};

use super::{DOOMED, IDS, World};

impl World {
    /// The network heals, clients finish what they began, and nothing may stay open or blocked (P8).
    pub(super) fn come_to_rest(&mut self) {
        self.is_rough = false;
        for round in 0.. {
            assert!(round < 200, "something goes on for ever: {:?}", self.network);
            self.now_ms += 50;
            self.sweep();
            if self.partitions[&(DOOMED, 0)].is_deleted {
                self.apply(Command::DeleteTopics { now_ms: self.now_ms, topic_ids: vec![DOOMED] });
            }
            for client in 0..self.clients.len() {
                self.go_on(client, false);
                self.send_again(client);
            }
            self.drain();
            let waits = self.clients.iter().any(|it| !it.is_dead && it.waiting.is_some());
            let is_open = |state: State| state == State::Ongoing || state.is_prepared();
            if !waits && !self.coordinator.state.iter().any(|(_, it)| is_open(it.state())) {
                break;
            }
        }
        self.check_partitions();
        assert_eq!(self.coordinator.pending, [], "offsets pend for ever");
        self.coordinator_fails_over();
        self.coordinator.replay();
        IDS.into_iter().for_each(|id| self.one_more(id));
        self.check_partitions();
    }

    /// Everything arrives.
    fn drain(&mut self) {
        self.send_markers();
        while !self.network.is_empty() || !self.late.is_empty() {
            self.deliver();
            self.deliver_late();
            self.replicate(true);
        }
        self.replicate(true);
        self.read();
    }

    fn check_partitions(&mut self) {
        self.drain();
        for (place, partition) in self.partitions.iter().filter(|(_, it)| !it.is_deleted) {
            assert!(partition.is_at_rest(), "readers of committed data wait for ever in {place:?}");
        }
        for produce in &self.stored {
            let partition = &self.partitions[&produce.place];
            assert!(
                partition.is_deleted || partition.has(*produce),
                "{produce:?} was acknowledged and is gone"
            );
        }
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
            self.drain();
            let it = &self.clients[client];
            assert!(it.told_to_wait < 5, "{id} is told to wait for ever");
            assert!(!it.is_dead, "{id}: the newest process is fenced");
        }
        assert!(self.clients[client].done > 0, "{id} gets nothing done");
    }
}
