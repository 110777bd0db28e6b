//! The end of a run: all faults are healed, and the group must come to rest.

use super::member::Member;
use super::{MEMBERS, PARTITIONS, World};

/// Time in which a group must have come to rest once all faults are healed.
const REST_MS: u64 = 120_000;

impl World {
    /// Nothing fails any more: the group must come to one generation, in which every partition has an owner that can
    /// commit.
    pub(super) fn come_to_rest(&mut self) {
        self.is_rough = false;
        if self.second.is_some() {
            self.heal();
        }
        while self.offices.len() > 1 {
            self.depose();
        }
        self.members.iter_mut().for_each(Member::lose_patience);
        let deadline = self.now.monotonic_ms + REST_MS;
        let mut acked = self.oracle.committed;
        while self.now.monotonic_ms < deadline {
            self.pass(20);
            for at in 0..self.members.len() {
                if !self.members[at].is_dead {
                    self.go_on(at);
                }
            }
            while !self.network.is_empty() || self.offices.last().is_some_and(|it| !it.proposed.is_empty()) {
                self.deliver();
                match &self.second {
                    Some(_) => self.pass(1),
                    None => self.commit(),
                }
            }
            // A while after the last of them has joined, all of them commit.
            if !self.is_at_rest() {
                acked = self.oracle.committed;
            } else if self.oracle.committed > acked + 10 * MEMBERS {
                return;
            }
        }
        let stands: Vec<_> =
            self.members.iter().filter(|it| !it.is_dead).map(|it| (it.generation, &it.owned)).collect();
        panic!("the group has not come to rest: {stands:?}");
    }

    fn is_at_rest(&self) -> bool {
        let alive: Vec<_> = self.members.iter().filter(|it| !it.is_dead).collect();
        let mut owned: Vec<i32> = alive.iter().flat_map(|it| it.owned.iter().flatten()).copied().collect();
        owned.sort_unstable();
        alive.iter().all(|it| it.owned.is_some() && it.generation == alive[0].generation)
            && owned == (0..PARTITIONS).collect::<Vec<_>>()
    }
}
