//! The one thing a broker reads of the consumers' own protocol: which topics a member subscribes to (GR-20).
//!
//! Versions 1 to 3 of the subscription only append to version 0, so version 0 is all that is read.

/// The topics in a subscription's bytes (`ConsumerProtocolSubscription` v0 to v3); `None` if they are none.
///
/// Borrows from the bytes and allocates no more than they can hold.
pub fn subscribed_topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let mut reader = Reader(metadata);
    let version = reader.i16()?;
    if version < 0 {
        return None;
    }
    let count = usize::try_from(reader.i32()?).ok()?;
    // Each topic takes two bytes at least.
    if count > reader.0.len() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        topics.push(reader.string()?);
    }
    reader.skip_user_data()?;
    Some(topics)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    fn string(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.i16()?).ok()?;
        std::str::from_utf8(self.take(len)?).ok()
    }

    /// Bytes or null; Kafka's parser insists on their presence.
    fn skip_user_data(&mut self) -> Option<()> {
        match self.i32()? {
            -1 => Some(()),
            len => self.take(usize::try_from(len).ok()?).map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_of_all_versions_are_read_and_garbage_is_not() {
        // Version, one topic "ab", null user data; v1 adds owned partitions, v2 a generation, v3 a rack.
        let body: &[u8] = &[0, 0, 0, 1, 0, 2, b'a', b'b', 255, 255, 255, 255];
        let with = |version: u8, tail: &[u8]| [&[0, version], body, tail].concat();
        let cases: &[(Vec<u8>, Option<Vec<&str>>)] = &[
            (with(0, &[]), Some(vec!["ab"])),
            (with(1, &[0, 0, 0, 0]), Some(vec!["ab"])),
            (with(2, &[0, 0, 0, 0, 0, 0, 0, 7]), Some(vec!["ab"])),
            (with(3, &[0, 0, 0, 0, 0, 0, 0, 7, 255, 255]), Some(vec!["ab"])),
            (vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9], Some(vec![])),
            (vec![], None),
            (vec![0], None),
            (vec![255, 255, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (vec![0, 0, 127, 255, 255, 255], None),
            (vec![0, 0, 255, 255, 255, 255], None),
            (vec![0, 0, 0, 0, 0, 1, 255, 255, 0, 0], None),
            (vec![0, 0, 0, 0, 0, 1, 0, 1, 0xff, 0, 0, 0, 0], None),
            (vec![0, 0, 0, 0, 0, 0], None),
            (vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 9], None),
        ];
        for (bytes, want) in cases {
            assert_eq!(&subscribed_topics(bytes), want, "bytes={bytes:?}");
        }
    }
}
