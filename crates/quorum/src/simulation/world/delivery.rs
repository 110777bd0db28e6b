//! What nodes send, and how it arrives.

use super::{Event, Time, World, finish};
use crate::Inbound;
use crate::message::AppendRequest;
use crate::simulation::wire::{Caller, Packet, Sent, Shared, lost};
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

/// After so long a connection that carries nothing is given up.
const BROKEN_US: Time = 300_000;
/// How soon a process that is gone refuses.
pub(super) const REFUSED_US: Time = 200;

impl World {
    /// Takes what a node has sent, and what it wants written.
    pub(super) fn collect(&mut self, node: usize) {
        let mut sent = std::mem::take(&mut self.wire.lock().sent);
        // As with their numbers.
        sent.sort_by_key(|sent| sent.to);
        for sent in sent {
            let delay = match self.chance.per_mille(5) {
                true => self.chance.range(1_000, 100_000),
                false => self.chance.range(50, 2_000),
            };
            // Connections keep their order.
            let arrives = self.arrives.entry((sent.from, sent.to)).or_default();
            *arrives = (self.now + delay).max(*arrives + 1);
            let at = *arrives;
            self.push_at(at, Event::Deliver(sent));
        }
        let it = &mut self.nodes[node];
        let has_work = it.running.as_ref().is_some_and(|running| running.node.has_work());
        if has_work && !it.writing {
            it.writing = true;
            let (life, slow) = (it.life, it.slow);
            let takes = if slow { self.chance.range(50_000, 400_000) } else { self.chance.range(100, 4_000) };
            self.push(takes, Event::Write { node, life });
        }
    }

    pub(super) fn deliver(&mut self, sent: Sent) {
        let Sent { from, to, packet } = sent;
        if packet.stream().is_some_and(|it| self.wire.lock().streams.get(&it).is_none_or(|it| it.broken)) {
            return;
        }
        if self.cut.contains(&(from, to)) || self.nodes[to].running.is_none() {
            return self.swallow(to, &packet);
        }
        if self.nodes[to].paused {
            return self.nodes[to].backlog.push(Sent { from, to, packet });
        }
        self.note(format_args!("{from} to {to}: {packet:?}"));
        let wire = self.wire.clone();
        let running = self.nodes[to].running.as_ref().expect("just looked");
        let inbound = running.node.inbound();
        match packet {
            Packet::Vote { call, request } => drop(running.runtime.spawn(async move {
                let answer = inbound.vote(request).await.map_err(|refused| refused.to_string());
                wire.send(to, from, Packet::Voted { call, answer });
            })),
            Packet::Transfer { call, request } => drop(running.runtime.spawn(async move {
                let answer = inbound.transfer_leader(request).await.map_err(|refused| refused.to_string());
                wire.send(to, from, Packet::Transferred { call, answer });
            })),
            Packet::Voted { call, answer } => {
                if let Some((_, _, Caller::Vote(caller))) = wire.lock().callers.remove(&call) {
                    let _ = caller.send(answer.map_err(|reason| lost(from, &reason)));
                }
            }
            Packet::Transferred { call, answer } => {
                if let Some((_, _, Caller::Transfer(caller))) = wire.lock().callers.remove(&call) {
                    let _ = caller.send(answer.map_err(|reason| lost(from, &reason)));
                }
            }
            Packet::Snapshot { call, chunks } => {
                let installing = running.runtime.spawn(async move {
                    let answer = inbound.snapshot(stream::iter(chunks).boxed()).await;
                    wire.send(
                        to,
                        from,
                        Packet::Installed { call, answer: answer.map_err(|it| it.to_string()) },
                    );
                });
                finish(&running.runtime, &running.node, &installing);
            }
            Packet::Installed { call, answer } => {
                if let Some((_, _, Caller::Snapshot(caller))) = wire.lock().callers.remove(&call) {
                    let _ = caller.send(answer.map_err(|reason| lost(from, &reason)));
                }
            }
            Packet::Append { stream, request } => {
                let mut open = wire.lock();
                let Some(known) = open.streams.get_mut(&stream) else { return };
                let requests = known.requests.get_or_insert_with(|| {
                    let (requests, received) = mpsc::unbounded_channel();
                    running.runtime.spawn(serve(wire.clone(), inbound, stream, (from, to), received));
                    requests
                });
                let _ = requests.send(request);
            }
            Packet::Appended { stream, answer } => {
                let mut open = wire.lock();
                let Some(known) = open.streams.get(&stream) else { return };
                if known.answers.send(answer.map_err(|reason| lost(from, &reason))).is_err() {
                    open.streams.remove(&stream);
                }
            }
            Packet::Finished { stream } => {
                let mut open = wire.lock();
                open.streams.get_mut(&stream).and_then(|known| known.requests.take());
            }
            Packet::Closed { stream } => drop(wire.lock().streams.remove(&stream)),
        }
        self.turn(to);
    }

    /// The packet is lost. A process that is gone refuses at once; a cut is noticed in time.
    fn swallow(&mut self, to: usize, packet: &Packet) {
        let after = if self.nodes[to].running.is_some() { BROKEN_US } else { REFUSED_US };
        match *packet {
            Packet::Vote { call, .. }
            | Packet::Voted { call, .. }
            | Packet::Transfer { call, .. }
            | Packet::Snapshot { call, .. }
            | Packet::Installed { call, .. }
            | Packet::Transferred { call, .. } => self.push(after, Event::GiveUpCall(call)),
            Packet::Append { stream, .. }
            | Packet::Appended { stream, .. }
            | Packet::Finished { stream }
            | Packet::Closed { stream } => {
                self.wire.lock().streams.get_mut(&stream).expect("it is open").broken = true;
                self.push(after, Event::GiveUpStream(stream));
            }
        }
    }

    pub(super) fn give_up_call(&mut self, call: u64) {
        let caller = self.wire.lock().callers.remove(&call);
        let Some((from, _, caller)) = caller else { return };
        // Whoever waits is told that nobody answers.
        drop(caller);
        self.turn(from);
    }

    pub(super) fn give_up_stream(&mut self, stream: u64) {
        let known = self.wire.lock().streams.remove(&stream);
        let Some(known) = known else { return };
        let _ = known.answers.send(Err(lost(known.server, "the connection broke")));
        let (client, server) = (known.client, known.server);
        drop(known);
        self.turn(client);
        self.turn(server);
    }

    /// A process that stood still goes on, with what lies in its sockets.
    pub(super) fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        for sent in std::mem::take(&mut self.nodes[node].backlog) {
            self.deliver(sent);
        }
    }
}

/// The server's end of a stream of appends.
async fn serve(
    wire: Shared,
    inbound: Inbound,
    stream: u64,
    (from, to): (usize, usize),
    received: mpsc::UnboundedReceiver<AppendRequest>,
) {
    let requests = stream::unfold(received, |mut received| async move {
        received.recv().await.map(|request| (request, received))
    });
    match inbound.append(requests.boxed()).await {
        Ok(mut answers) => {
            while let Some(answer) = answers.next().await {
                let answer = answer.map_err(|refused| refused.to_string());
                wire.send(to, from, Packet::Appended { stream, answer });
            }
        }
        Err(refused) => {
            wire.send(to, from, Packet::Appended { stream, answer: Err(refused.to_string()) });
        }
    }
    wire.send(to, from, Packet::Closed { stream });
}
