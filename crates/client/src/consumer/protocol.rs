//! What members of a classic group tell each other through the broker: subscriptions, and the range
//! assignor's assignments. Version 0 of Kafka's consumer protocol, which every client reads.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes};

/// Topics of a member.
pub(crate) type Subscription = BTreeSet<String>;
/// Partitions by topic.
pub(crate) type Assignment = BTreeMap<String, Vec<i32>>;

pub(crate) fn encode_subscription(topics: &Subscription) -> Bytes {
    let mut out = Vec::new();
    out.put_i16(0);
    out.put_i32(topics.len() as i32);
    topics.iter().for_each(|topic| put_string(&mut out, topic));
    out.put_i32(-1); // no user data
    out.into()
}

/// Reads a subscription of any version; what versions from 1 on add stands at the end.
pub(crate) fn decode_subscription(mut bytes: Bytes) -> Option<Subscription> {
    bytes.try_get_i16().ok()?;
    let count = bytes.try_get_i32().ok()?;
    (0..count).map(|_| get_string(&mut bytes)).collect()
}

pub(crate) fn encode_assignment(assignment: &Assignment) -> Bytes {
    let mut out = Vec::new();
    out.put_i16(0);
    out.put_i32(assignment.len() as i32);
    for (topic, partitions) in assignment {
        put_string(&mut out, topic);
        out.put_i32(partitions.len() as i32);
        partitions.iter().for_each(|it| out.put_i32(*it));
    }
    out.put_i32(-1); // no user data
    out.into()
}

/// Reads an assignment; no bytes at all are an empty one.
pub(crate) fn decode_assignment(mut bytes: Bytes) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::new());
    }
    bytes.try_get_i16().ok()?;
    let count = bytes.try_get_i32().ok()?;
    let mut assignment = Assignment::new();
    for _ in 0..count {
        let topic = get_string(&mut bytes)?;
        let count = bytes.try_get_i32().ok()?;
        let partitions: Option<_> = (0..count).map(|_| bytes.try_get_i32().ok()).collect();
        assignment.insert(topic, partitions?);
    }
    Some(assignment)
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

fn get_string(bytes: &mut Bytes) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    (length <= bytes.len()).then(|| String::from_utf8(bytes.split_to(length).to_vec()).ok())?
}

/// Divides the partitions of each topic among its subscribers in ranges, as Java's range assignor does: members
/// in the order of their ids, the first ones get one more where it does not divide evenly.
pub(crate) fn assign_ranges(
    members: &BTreeMap<String, Subscription>,
    partitions: &BTreeMap<String, i32>,
) -> BTreeMap<String, Assignment> {
    let mut assignments: BTreeMap<_, _> =
        members.keys().map(|member| (member.clone(), Assignment::new())).collect();
    for (topic, count) in partitions {
        let subscribers: Vec<_> = members.iter().filter(|(_, topics)| topics.contains(topic)).collect();
        if subscribers.is_empty() {
            continue;
        }
        let (each, over) = (*count as usize / subscribers.len(), *count as usize % subscribers.len());
        let mut next = 0;
        for (place, (member, _)) in subscribers.into_iter().enumerate() {
            let end = next + each + usize::from(place < over);
            if end > next {
                let range = (next as i32..end as i32).collect();
                assignments.get_mut(member).expect("every member has an entry").insert(topic.clone(), range);
            }
            next = end;
        }
    }
    assignments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: &[&str]) -> Subscription {
        names.iter().map(|it| it.to_string()).collect()
    }

    #[test]
    fn ranges_are_javas() {
        let members = BTreeMap::from([
            ("a".into(), topics(&["t", "u"])),
            ("b".into(), topics(&["t"])),
            ("c".into(), topics(&["t", "u"])),
        ]);
        let partitions = BTreeMap::from([("t".into(), 7), ("u".into(), 1)]);
        let want = BTreeMap::from([
            ("a".into(), Assignment::from([("t".into(), vec![0, 1, 2]), ("u".into(), vec![0])])),
            ("b".into(), Assignment::from([("t".into(), vec![3, 4])])),
            ("c".into(), Assignment::from([("t".into(), vec![5, 6])])),
        ]);
        assert_eq!(assign_ranges(&members, &partitions), want);
    }

    #[test]
    fn messages_of_members_round_trip() {
        let subscription = topics(&["orders", "payments"]);
        assert_eq!(decode_subscription(encode_subscription(&subscription)), Some(subscription));
        let assignment = Assignment::from([("orders".into(), vec![0, 2]), ("payments".into(), vec![])]);
        let bytes = encode_assignment(&assignment);
        for cut in 1..bytes.len() - 4 {
            assert_eq!(decode_assignment(bytes.slice(..cut)), None, "cut at {cut}");
        }
        assert_eq!(decode_assignment(bytes), Some(assignment));
        assert_eq!(decode_assignment(Bytes::new()), Some(Assignment::new()));
    }

    /// `ConsumerProtocol.serializeSubscription` of kafka-clients 4.3.1: version 3, topic "t", owned partition 0,
    /// generation 1, rack "r".
    #[test]
    fn subscriptions_of_newer_clients_are_read() {
        let bytes =
            b"\0\x03\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\x01\0\x01r";
        assert_eq!(decode_subscription(Bytes::from_static(bytes)), Some(topics(&["t"])));
    }
}
