//! What the load's records carry, and how the history names things.

/// The value of a record, unlike that of any other of the round: 18 bits of producer, 14 of partition, 32 of number.
pub fn value(producer: u32, partition: i32, number: u64) -> u64 {
    debug_assert!(producer < 1 << 18 && (0..1 << 14).contains(&partition) && number < 1 << 32);
    u64::from(producer) << 46 | (partition as u64) << 32 | number
}

/// The value that a record carries, as text with a tail that makes it as long as it shall be.
pub fn payload(value: u64, size: usize) -> String {
    let text = format!("{value} ");
    let tail = size.saturating_sub(text.len());
    text + &"x".repeat(tail)
}

/// The number in a record's value; 0, which nobody sends, if there is none.
pub fn value_of(bytes: Option<&[u8]>) -> u64 {
    let text = bytes.and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default();
    text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// Topic and partition as the history names them.
pub fn name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_many_partitions_and_producers_differ() {
        let all: std::collections::BTreeSet<u64> =
            (0..9_999).step_by(7).flat_map(|it| (1_000..1_020).map(move |by| value(by, it, 1))).collect();
        assert_eq!(all.len(), 9_999_usize.div_ceil(7) * 20);
    }

    #[test]
    fn values_come_back_from_payloads() {
        for (value, size) in [(1, 100), (u64::MAX, 1), (42, 0)] {
            assert_eq!(value_of(Some(payload(value, size).as_bytes())), value);
        }
        assert_eq!(payload(7, 10).len(), 10);
        assert_eq!(value_of(Some(b"torn")), 0);
        assert_eq!(value_of(None), 0);
    }
}
