//! Numbers that follow from a seed.

/// One step of SplitMix64.
pub(super) fn mixed(seed: u64) -> u64 {
    seed.wrapping_add(0x9e37_79b9_7f4a_7c15)
}

/// A generator: SplitMix64.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = mixed(self.0);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `from..to`.
    pub(super) fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.bits() % (to - from)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.range(0, end as u64) as usize
    }

    pub(super) fn per_mille(&mut self, share: u64) -> bool {
        self.range(0, 1000) < share
    }
}
