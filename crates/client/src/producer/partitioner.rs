//! Which partition a record goes to: Java's choice for keys, so that both clients agree.

/// Partition of a key among `count` partitions, as Java's default partitioner and librdkafka's
/// `murmur2_random` choose it.
///
/// # Panics
/// If `count` is not positive: a topic has at least one partition.
pub fn partition_for_key(key: &[u8], count: i32) -> i32 {
    assert!(count > 0, "a topic of {count} partitions");
    (murmur2(key) & 0x7fff_ffff) as i32 % count
}

/// MurmurHash 2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Choice for records without a key: stays with one partition for a batch's worth of bytes, then moves to a
/// random other one (KIP-794), so that batches fill up.
#[derive(Clone, Debug)]
pub(crate) struct Sticky {
    current: i32,
    bytes: usize,
    state: u64,
}

impl Sticky {
    pub(crate) fn new(seed: u64) -> Self {
        Self { current: -1, bytes: usize::MAX, state: seed | 1 }
    }

    /// The partition for a record of `size` bytes; `led` tells those that have a leader when a new one is due.
    ///
    /// Returns `None` if there is none.
    pub(crate) fn choose(
        &mut self,
        size: usize,
        batch_size: usize,
        is_led: impl Fn(i32) -> bool,
        led: impl FnOnce() -> Vec<i32>,
    ) -> Option<i32> {
        if self.bytes >= batch_size || !is_led(self.current) {
            let candidates = led();
            self.current = *candidates.get(self.random() as usize % candidates.len().max(1))?;
            self.bytes = 0;
        }
        self.bytes += size;
        Some(self.current)
    }

    /// xorshift64: spreading load needs no better.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `org.apache.kafka.common.utils.Utils.murmur2` in kafka-clients 4.3.1.
    #[test]
    fn hash_is_javas() {
        for (key, want) in [
            ("", 275646681),
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, want, "{key}");
        }
    }

    #[test]
    fn keyless_records_stay_together_for_a_batch() {
        let mut sticky = Sticky::new(7);
        let chosen: Vec<_> =
            (0..1_000).map(|_| sticky.choose(10, 100, |_| true, || vec![0, 1, 2, 3]).unwrap()).collect();
        for run in chosen.chunks(10) {
            assert!(run.iter().all(|it| *it == run[0]), "{run:?}");
        }
        for partition in 0..4 {
            assert!(chosen.contains(&partition), "partition {partition} was never chosen");
        }
        assert_eq!(sticky.choose(10, 100, |it| it == 9, || vec![9]), Some(9));
        assert_eq!(sticky.choose(10, 100, |_| false, Vec::new), None);
    }
}
