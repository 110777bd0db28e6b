//! What the load's records carry, and how the history names things.

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
    fn values_come_back_from_payloads() {
        for (value, size) in [(1, 100), (u64::MAX, 1), (42, 0)] {
            assert_eq!(value_of(Some(payload(value, size).as_bytes())), value);
        }
        assert_eq!(payload(7, 10).len(), 10);
        assert_eq!(value_of(Some(b"torn")), 0);
        assert_eq!(value_of(None), 0);
    }
}
