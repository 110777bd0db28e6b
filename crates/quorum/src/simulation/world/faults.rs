//! What goes wrong.

use super::delivery::REFUSED_US;
use super::{Event, Machinery, Running, Time, World};
use crate::NodeId;

impl World {
    pub(super) fn fault(&mut self) {
        let pace = self.chance.range(50_000, 2_500_000);
        self.push(pace, Event::Fault);
        if self.now >= self.faults_until {
            return;
        }
        self.faults += 1;
        let node = self.chance.below(self.nodes.len());
        let other = (node + 1 + self.chance.below(self.nodes.len() - 1)) % self.nodes.len();
        let short = self.chance.range(20_000, 1_500_000);
        let long = self.chance.range(50_000, 5_000_000);
        let kind = self.chance.below(8);
        self.note(format_args!("fault {kind} of {node} and {other}"));
        match kind {
            0 => self.stop(node, false, long),
            1 => self.stop(node, true, long),
            2 => {
                self.nodes[node].paused = true;
                self.push(short, Event::Resume(node));
            }
            3 => {
                self.cut.insert((node, other));
                self.push(long, Event::Heal(node, other));
            }
            4 => self.isolate(node, long),
            5 => {
                self.nodes[node].slow = true;
                self.push(long, Event::Fast(node));
            }
            // Somebody believes that the leader is dead: it is cut off, or nothing is wrong with it.
            6 => {
                let leads =
                    |it: &Machinery| it.running.as_ref().is_some_and(|it| it.group.leader().borrow().is_self);
                let leader = self.nodes.iter().position(leads);
                if let Some(leader) = leader.filter(|_| self.chance.per_mille(700)) {
                    self.isolate(leader, long);
                }
                self.accuse(node);
            }
            // All at once, as when a rack loses its power.
            _ => {
                for node in 0..self.nodes.len() {
                    let down = self.chance.range(10_000, 500_000);
                    self.stop(node, true, down);
                }
            }
        }
    }

    fn isolate(&mut self, node: usize, us: Time) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            for way in [(node, other), (other, node)] {
                self.cut.insert(way);
                self.push(us, Event::Heal(way.0, way.1));
            }
        }
    }

    fn accuse(&mut self, successor: usize) {
        for node in 0..self.nodes.len() {
            let it = &self.nodes[node];
            let Some(running) = it.running.as_ref().filter(|_| !it.paused) else { continue };
            let group = running.group.clone();
            let Some(leader) = group.leader().borrow().leader else { continue };
            running.runtime.spawn(async move { group.leader_died(leader, NodeId(successor as u64)).await });
            self.turn(node);
        }
    }

    fn stop(&mut self, node: usize, power_lost: bool, down: Time) {
        let it = &mut self.nodes[node];
        let Some(running) = it.running.take() else { return };
        it.life += 1;
        (it.writing, it.paused) = (false, false);
        it.backlog.clear();
        // A killed process says nothing any more: its tasks end where they are.
        let Running { runtime, node: opened, group, .. } = running;
        drop(runtime);
        drop((opened, group));
        if power_lost {
            let chance = &mut self.chance;
            it.disk = it.disk.after_power_loss(|| chance.per_mille(500));
            // sled promises nothing here: what is applied comes from the log again.
            let state = it.dir.join("state");
            if state.exists() {
                std::fs::remove_dir_all(state).expect("nobody has it open");
            }
        }
        self.note(format_args!("node {node} is gone, power lost: {power_lost}"));
        self.push(down, Event::Restart(node));
        let broken: Vec<Event> = {
            let mut wire = self.wire.lock();
            wire.callers.retain(|_, (from, _, _)| *from != node);
            wire.streams.retain(|_, stream| stream.client != node);
            let streams = wire.streams.iter().filter(|(_, stream)| stream.server == node);
            let calls = wire.callers.iter().filter(|(_, (_, to, _))| *to == node);
            let streams = streams.map(|(stream, _)| Event::GiveUpStream(*stream));
            streams.chain(calls.map(|(call, _)| Event::GiveUpCall(*call))).collect()
        };
        for event in broken {
            self.push(REFUSED_US, event);
        }
    }

    /// The end of all faults.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.note(format_args!("heal"));
        self.cut.clear();
        for node in 0..self.nodes.len() {
            let it = &mut self.nodes[node];
            it.slow = false;
            self.start(node)?;
            self.resume(node);
        }
        Ok(())
    }
}
