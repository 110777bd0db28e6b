//! A process of a simulated cluster: a node with one group, whose clock and disk go on when they are told to.

use super::wire::{self, Packet, Request, Sent, Wire};
use crate::sim_disk::SimDisk;
use crate::{GroupHandle, GroupId, Node, NodeConfig, NodeId, StateMachine};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How often a node's tasks are let run before the world goes on; each time some sixty of them, in the order they woke.
const TURNS: usize = 6;

/// Where a process lives.
pub struct Place<'a> {
    /// Its number.
    pub node: usize,
    /// So many form the group, those with the lowest numbers; others wait until they are added.
    pub founders: usize,
    /// The group that runs.
    pub group: GroupId,
    /// Entries after which its state is in a snapshot, and most of its log is purged.
    pub snapshot_after: u64,
    /// Made by [`SimDisk::without_threads`].
    pub disk: &'a SimDisk,
    /// For the applied state, which sled keeps on a real disk; exists.
    pub dir: &'a Path,
    /// What connects it with the others.
    pub wire: &'a Wire,
}

/// A process that runs. Dropped, it is killed: its tasks end where they are.
pub struct Process {
    // The tasks end before what they use.
    runtime: Runtime,
    node: Node,
    group: GroupHandle,
    wire: Wire,
    /// Why the group has stopped, if it has.
    end: Arc<Mutex<Option<String>>>,
    /// How far its clock is, in microseconds.
    clock_us: u64,
}

impl Process {
    /// Begins, with what an earlier process has left on its disk. `machine` is restored from it.
    ///
    /// # Errors
    /// What it finds cannot be read, or Raft refuses it: in words.
    pub fn start(place: &Place<'_>, machine: impl StateMachine) -> Result<Process, String> {
        let founders = if place.node < place.founders { place.founders } else { 0 };
        let config = NodeConfig {
            initial_voters: (0..founders).map(|id| NodeId(id as u64)).collect(),
            network: Some(place.wire.port(place.node)),
            segment_bytes: 16 << 10,
            snapshot_bytes: 1 << 40,
            snapshot_entries: place.snapshot_after,
            keep_entries: place.snapshot_after / 4,
            ..NodeConfig::single(place.dir, NodeId(place.node as u64))
        };
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let opened = runtime.block_on(Node::open_on(Arc::new(place.disk.clone()), config));
        let node = opened.map_err(|error| format!("cannot read what it wrote: {error}"))?;
        let (starting, group) = (node.clone(), place.group);
        let mut started = runtime.spawn(async move { starting.start(group, machine).await });
        // What it writes before it runs takes no time.
        finish(&runtime, &node, &started);
        let started = runtime.block_on(&mut started).map_err(|panic| panic.to_string())?;
        let group = started.map_err(|error| format!("cannot start: {error}"))?;
        let end = Arc::<Mutex<Option<String>>>::default();
        let (stopping, told) = (group.clone(), end.clone());
        runtime.spawn(async move {
            let reason = stopping.stopped().await;
            *told.lock().unwrap() = Some(reason);
        });
        Ok(Process { runtime, node, group, wire: place.wire.clone(), end, clock_us: 0 })
    }

    /// Its group.
    pub fn group(&self) -> &GroupHandle {
        &self.group
    }

    /// Why its group has stopped by itself, be it that something panicked.
    pub fn end(&self) -> Option<String> {
        self.end.lock().unwrap().clone()
    }

    /// Lets its clock go on to `clock_us`, in microseconds since the start, and does what can be done then.
    pub fn run(&mut self, clock_us: u64) {
        let ahead = clock_us.saturating_sub(self.clock_us);
        self.clock_us += ahead;
        turns(&self.runtime, ahead);
        self.node.pump_state();
    }

    /// Runs something beside what it does anyway; it goes on with each [`Process::run`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Whether something waits to be written to the log.
    pub fn has_to_write(&self) -> bool {
        self.node.has_work()
    }

    /// Writes and flushes what waits for it.
    pub fn write(&self) {
        self.node.pump_log();
    }

    /// Something arrives.
    pub fn receive(&self, sent: Sent) {
        let Sent { from, to, packet } = sent;
        let (wire, inbound) = (self.wire.clone(), self.node.inbound());
        match packet {
            Packet::Asked { call, request } => {
                let is_long = matches!(request, Request::Snapshot(_));
                let asked = self.runtime.spawn(async move {
                    let answer = wire::answer(inbound, request).await;
                    wire.send(to, from, Packet::Answered { call, answer });
                });
                if is_long {
                    finish(&self.runtime, &self.node, &asked);
                }
            }
            Packet::Append { stream, request } => {
                if let Some(received) = wire.append(stream, request) {
                    self.runtime.spawn(wire::serve(wire.clone(), inbound, stream, (from, to), received));
                }
            }
            packet => self.wire.arrive(from, packet),
        }
    }
}

/// Lets a node work until a task is done that waits for the disk more than once; meanwhile the world stands still.
fn finish<T>(runtime: &Runtime, node: &Node, task: &JoinHandle<T>) {
    for nth in 0u64.. {
        if task.is_finished() {
            return;
        }
        // Only what cannot be done waits for time to pass: for the reason of its end.
        turns(runtime, if nth > 1_000 { 1_000 } else { 0 });
        node.pump_log();
        node.pump_state();
    }
}

/// Moves a node's clock and lets its tasks run.
fn turns(runtime: &Runtime, ahead_us: u64) {
    runtime.block_on(async {
        if ahead_us > 0 {
            tokio::time::advance(Duration::from_micros(ahead_us)).await;
        }
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    });
}
