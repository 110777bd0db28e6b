//! Who reaches whom, and how long it takes.

use crate::plan::Plan;
use crate::queue::Time;
use crate::random::Random;

/// The links between brokers; clients reach every broker that runs.
pub(crate) struct Network {
    /// Cuts in force per direction: `cut[from][to]`.
    cut: Vec<Vec<u32>>,
    /// While above zero, answers of the controller get lost.
    pub(crate) mute_answers: u32,
    /// While above zero, many messages take long.
    pub(crate) slow: u32,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { cut: vec![vec![0; nodes]; nodes], mute_answers: 0, slow: 0 }
    }

    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || self.cut[from][to] == 0
    }

    pub(crate) fn both_ways(&self, one: usize, other: usize) -> bool {
        self.reaches(one, other) && self.reaches(other, one)
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, by: i32) {
        if from != to {
            self.cut[from][to] = self.cut[from][to].saturating_add_signed(by);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|it| *it = 0);
        (self.mute_answers, self.slow) = (0, 0);
    }

    /// How long a message takes, in microseconds.
    pub(crate) fn delay(&self, plan: &Plan, random: &mut Random) -> Time {
        let late = if self.slow > 0 { 200 } else { plan.late_per_mille };
        if random.per_mille(late) {
            random.range(2_000, plan.late_max_us.max(2_001))
        } else {
            random.range(100, 1_500)
        }
    }
}
