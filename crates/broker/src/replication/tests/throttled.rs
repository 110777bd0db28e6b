//! Replicas that `kafka-reassign-partitions --throttle` holds back (KIP-73).

use super::*;

/// Bytes per second.
const RATE: usize = 1_000_000;
const WORD: usize = 100_000;

/// Two brokers of which 1 has to copy `batches` of [`WORD`] bytes each from 0, with the throttle of `side` at `rate` and
/// lists that name `replica`. Returns how long it took.
async fn copied_in(side: &str, replica: &str, isr: &[i32], batches: usize, rate: usize) -> Duration {
    let rate = [(format!("{side}.replication.throttled.rate"), rate.to_string())];
    let mut cluster = Cluster::with(2, 1, rate.into()).await;
    let list = [(format!("{side}.replication.throttled.replicas"), replica.to_owned())];
    let broker = BrokerConfig::new(Default::default()).unwrap();
    let config = Arc::new(TopicConfig::resolve(&list.into(), &broker));
    cluster.nodes.iter().flatten().for_each(|node| node.hosted.configure(Arc::clone(&config)));
    cluster.elect(0, isr);
    let word = "x".repeat(WORD);
    let began = Instant::now();
    for _ in 0..batches {
        cluster.node(0).write(batch(&[&word]));
    }
    let end = cluster.node(0).ends().1;
    let copied = async {
        while cluster.node(1).ends().1 < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(3 * PATIENCE, copied)
        .await
        .unwrap_or_else(|_| panic!("{side} {replica} {isr:?} does not arrive"));
    began.elapsed()
}

/// Three seconds' bytes, of which a leader sends a tenth ahead of the rate, and a follower takes what one message holds
/// before it waits.
#[tokio::test]
async fn throttled_replica_outside_of_the_isr_copies_at_the_rate() {
    for (side, replica) in [("leader", "*"), ("follower", "7:3,0:1")] {
        let took = copied_in(side, replica, &[0], 3 * RATE / WORD + 2, RATE).await;
        assert!(took > Duration::from_millis(1_800), "{side} {replica}: {took:?}");
    }
}

/// Hours' bytes: who is held back never arrives.
#[tokio::test]
async fn replicas_in_sync_and_those_not_listed_are_not_held_back() {
    for (side, replica, isr) in [
        ("leader", "*", &[0, 1][..]),
        ("follower", "*", &[0, 1]),
        ("leader", "0:1", &[0]),
        ("follower", "0:0", &[0]),
        ("follower", "", &[0]),
    ] {
        copied_in(side, replica, isr, 80, RATE / 10_000).await;
    }
}
