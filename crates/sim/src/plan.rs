//! What a seed stands for: the shape of the cluster, its habits, and the faults that befall it.

use crate::queue::Time;
use crate::random::Random;

/// All that is drawn before the world begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it comes from.
    pub seed: u64,
    /// Brokers; all vote.
    pub nodes: usize,
    /// Partitions of the one topic.
    pub partitions: usize,
    /// `min.insync.replicas` at first.
    pub min_isr: i32,
    /// Producers.
    pub producers: usize,
    /// Microseconds between two looks of a producer.
    pub producer_pace_us: u64,
    /// Of a thousand producers so many are content with `acks=1`.
    pub leader_acks_per_mille: u64,
    /// Of a thousand messages so many are late.
    pub late_per_mille: u64,
    /// The latest they are, in microseconds.
    pub late_max_us: u64,
    /// Of a thousand reads for followers so many take long, so that much can happen before they end.
    pub slow_read_per_mille: u64,
    /// Of a thousand looks of a broker so many flush a log.
    pub flush_per_mille: u64,
    /// Clocks are off by up to so many parts in a million.
    pub drift_ppm: u64,
    /// Events until the faults end.
    pub events: u64,
    /// The faults, in the order of their times.
    pub faults: Vec<(Time, Fault)>,
}

/// One thing that goes wrong, or that an operator does. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say what they are")]
pub enum Fault {
    /// The process dies; what it had written is there when it starts again.
    Kill { node: usize, down_ms: u64 },
    /// The machine dies; of what was not flushed only a beginning is left. Passed over when more copies would be
    /// lost at once than the cluster is built for.
    PowerLoss { node: usize, down_ms: u64 },
    /// The process stands still, and does not know it.
    Pause { node: usize, for_ms: u64 },
    /// No message goes this way.
    Cut { from: usize, to: usize, for_ms: u64 },
    /// Nothing goes to the broker or comes from it.
    Isolate { node: usize, for_ms: u64 },
    /// A fifth of all messages are late.
    Slow { for_ms: u64 },
    /// Answers of the controller are lost; what it did is done.
    MuteAnswers { for_ms: u64 },
    /// The quorum elects another leader.
    Elect,
    /// The broker is told to stop, and comes back.
    Shutdown { node: usize, down_ms: u64 },
    /// The partition moves to other brokers.
    Reassign { partition: usize, shift: usize, count: usize },
    /// `min.insync.replicas` changes.
    MinIsr { to: i32 },
    /// Leaderships go back to the preferred replicas.
    Preferred,
    /// Records are deleted up to the high watermark.
    DeleteRecords { partition: usize },
}

impl Plan {
    /// Draws the plan of a seed, for so many events of faults.
    pub fn of(seed: u64, events: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let nodes = [3, 3, 3, 4, 5][random.below(5)];
        let mut plan = Self {
            seed,
            nodes,
            partitions: 1 + random.below(3),
            min_isr: if random.per_mille(200) { 1 } else { 2 },
            producers: 1 + random.below(4),
            producer_pace_us: random.range(2_000, 20_000),
            leader_acks_per_mille: [0, 0, 300][random.below(3)],
            late_per_mille: [0, 5, 30][random.below(3)],
            late_max_us: [20_000, 300_000, 3_000_000][random.below(3)],
            slow_read_per_mille: [0, 5, 50][random.below(3)],
            flush_per_mille: [0, 20, 500][random.below(3)],
            drift_ppm: [0, 100, 50_000][random.below(3)],
            events,
            faults: Vec::new(),
        };
        let kinds: Vec<usize> = (0..13).filter(|_| !random.per_mille(333)).collect();
        let may_lower = kinds.contains(&10);
        let mut at = 2_000_000;
        let pace = random.range(300_000, 6_000_000);
        while !kinds.is_empty() && at < 600_000_000 {
            at += random.range(pace / 10, pace * 2);
            let kind = kinds[random.below(kinds.len())];
            // With a minimum of one copy the loss of one machine may lose records, as configured.
            if kind == 1 && (plan.min_isr < 2 || may_lower) {
                continue;
            }
            let fault = draw(kind, &plan, &mut random);
            plan.faults.push((at, fault));
        }
        plan
    }
}

fn draw(kind: usize, plan: &Plan, random: &mut Random) -> Fault {
    let node = random.below(plan.nodes);
    let partition = random.below(plan.partitions);
    let short = random.range(20, 1_500);
    let long = random.range(50, 8_000);
    match kind {
        0 => Fault::Kill { node, down_ms: long },
        1 => Fault::PowerLoss { node, down_ms: long },
        2 => Fault::Pause { node, for_ms: short },
        3 => Fault::Cut {
            from: node,
            to: (node + 1 + random.below(plan.nodes - 1)) % plan.nodes,
            for_ms: long,
        },
        4 => Fault::Isolate { node, for_ms: long },
        5 => Fault::Slow { for_ms: short },
        6 => Fault::MuteAnswers { for_ms: long },
        7 => Fault::Elect,
        8 => Fault::Shutdown { node, down_ms: short },
        9 => {
            let count = 2 + random.below(plan.nodes.min(3) - 1);
            Fault::Reassign { partition, shift: random.below(plan.nodes), count }
        }
        10 => Fault::MinIsr { to: 1 + random.below(2) as i32 },
        11 => Fault::Preferred,
        _ => Fault::DeleteRecords { partition },
    }
}
