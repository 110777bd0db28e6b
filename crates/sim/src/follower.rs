//! The follower's side: asking the leader, and judging what it says.

use milena_bugs::{Bug, is_on};
use milena_partition::{BatchVerdict, FollowerFetch, Judgement, Position, Reply};
use milena_records::Offset;

use crate::disk::Record;
use crate::message::{Event, Message};
use crate::world::World;

/// Pause after an error, in microseconds.
const BACK_OFF_US: u64 = 10_000;

impl World {
    /// Asks the leader for what comes next, unless it was asked already.
    pub(crate) fn fetch(&mut self, node: usize, partition: usize) {
        let now_ms = self.now_ms(node);
        let Some(broker_epoch) = self.nodes[node].epoch else { return };
        let it = &mut self.nodes[node];
        let Some(hosted) = &mut it.hosted[partition] else { return };
        if hosted.asked.is_some() {
            return;
        }
        let Some(asked) = hosted.replica.position(&hosted.log.epochs) else { return };
        it.next_number += 1;
        let number = it.next_number;
        hosted.asked = Some((number, now_ms));
        let fetch = FollowerFetch {
            replica: node as i32,
            broker_epoch: broker_epoch.0,
            leader_epoch: asked.leader_epoch,
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            log_start: asked.log_start,
        };
        self.send(node, asked.leader as usize, Message::Fetch { partition, number, asked, fetch });
    }

    pub(crate) fn on_fetch_reply(
        &mut self,
        node: usize,
        partition: usize,
        number: u64,
        asked: &Position,
        reply: &Reply,
        records: &[Record],
    ) {
        let now_ms = self.now_ms(node);
        let life = self.nodes[node].life;
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
        if hosted.asked.is_some_and(|(current, _)| current == number) {
            hosted.asked = None;
        }
        match hosted.replica.judge_reply(asked, reply, &hosted.log.epochs) {
            Judgement::Drop | Judgement::AwaitMetadata => {}
            Judgement::Retry => {
                let refetch = Event::Refetch { node, life, partition };
                return self.queue.push(self.now + BACK_OFF_US, refetch);
            }
            Judgement::Truncate { to } => {
                self.trace(|_| {
                    let (epoch, last, from) = (asked.leader_epoch.0, asked.last_fetched_epoch.0, asked.fetch_offset);
                    format!("node {node} cuts partition {partition} to {to}: epoch {epoch}, at {from} of {last}, {reply:?}")
                });
                self.oracle_truncates(node, partition, to);
                let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
                hosted.log.truncate(to);
                hosted.replica.truncated(hosted.log.end());
                hosted.producers = hosted.log.replayed_producers();
                hosted.verified = hosted.verified.min(to.0);
                self.stats.truncations += 1;
            }
            Judgement::StartOver { at } => {
                hosted.log.start_over(at);
                hosted.replica.started_over(at);
                hosted.producers = hosted.log.replayed_producers();
                hosted.verified = at.0;
            }
            Judgement::Append => {
                for (offset, record) in (asked.fetch_offset.0..).zip(records) {
                    match hosted.replica.accepts_batch(asked, Offset(offset), record.epoch) {
                        BatchVerdict::Append => {
                            hosted.log.append(*record);
                            if !is_on(Bug::P6) {
                                hosted.producers.record(&record.header(Offset(offset)));
                            }
                            hosted.replica.appended(Offset(offset + 1), now_ms);
                        }
                        BatchVerdict::Leave | BatchVerdict::Misplaced => break,
                    }
                }
                if let Reply::Batches { high_watermark, log_start } = reply
                    && let Some(start) = hosted.replica.followed(*high_watermark, *log_start)
                {
                    hosted.log.move_start(start);
                    hosted.replica.log_start_moved(start);
                }
                self.oracle_followed(node, partition);
            }
        }
        self.fetch(node, partition);
    }
}
