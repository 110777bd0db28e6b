//! What a committed offset costs: `cargo run --release -p milena-group --example commit_cost`.
//!
//! Prints the time per offset of applying a command, and of the whole way through a coordinator: request,
//! batch, encoding, decoding, apply, answer.

use std::time::{Duration, Instant};

use milena_group::{
    Command, CommitOffsets, Coordinator, Effect, Event, Groups, Now, OffsetToCommit, RequestId, Settings,
    TopicId,
};

const GROUPS: u64 = 1_000;
const PARTITIONS: i32 = 10;
const ROUNDS: u64 = 100;

fn main() {
    let mut groups = Groups::default();
    let mut coordinator = Coordinator::new(1, Now::default(), &groups, Settings::default());
    let (mut index, mut request) = (0, 0);
    let (mut apply, mut offsets, mut answered) = (Duration::ZERO, 0, 0);
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let mut events: Vec<Event> =
            (0..GROUPS).map(|group| commit(RequestId(request + group), group)).collect();
        request += GROUPS;
        events.reverse();
        let mut later = Vec::new();
        while let Some(event) = events.pop().or_else(|| later.pop()) {
            let mut effects = Vec::new();
            coordinator.step(Now::default(), event, &groups, &mut effects);
            for effect in effects {
                let Effect::Propose(proposal, command) = effect else {
                    answered += 1;
                    continue;
                };
                let bytes = command.encode();
                let start = Instant::now();
                let command = Command::decode(bytes.as_slice()).expect("own bytes decode");
                index += 1;
                let mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
                let answer = groups.apply(index, &command, &mut changes);
                apply += start.elapsed();
                offsets += changes.len();
                later.push(Event::Committed { proposal, answer });
            }
        }
    }
    let total = begin.elapsed();
    let per_offset = |it: Duration| it.as_nanos() as f64 / offsets as f64;
    println!("{answered} commits of {PARTITIONS} offsets to {GROUPS} groups in {index} log entries");
    println!("decode and apply: {:.0} ns per offset", per_offset(apply));
    println!("the whole way:    {:.0} ns per offset", per_offset(total));
}

fn commit(request: RequestId, group: u64) -> Event {
    let offset = |partition| OffsetToCommit {
        topic_id: TopicId([7; 16]),
        topic: "orders".to_owned(),
        partition,
        offset: i64::from(partition) + 1_000_000,
        leader_epoch: 3,
        metadata: String::new(),
    };
    Event::CommitOffsets(
        request,
        CommitOffsets {
            group: format!("consumer-group-{group}"),
            member_id: String::new(),
            instance_id: None,
            generation: -1,
            retention_ms: None,
            knows_group_id_not_found: true,
            offsets: (0..PARTITIONS).map(offset).collect(),
        },
    )
}
