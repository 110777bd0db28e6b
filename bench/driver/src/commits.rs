//! Offset commits, one partition each, of many groups at once: each group on a connection to its coordinator.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use milena_wire::find_coordinator::FindCoordinatorRequest;
use milena_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use serde_json::json;

use crate::connection::{request, Connection};
use crate::{on_threads, own_cpu_seconds, Options, Outcome};

const VERSION: i16 = 7;

fn coordinator(bootstrap: &str, group: &str) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ask = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        let first = bootstrap.split(',').next().unwrap_or(bootstrap);
        let answer = Connection::open(first)?.ask(&ask, 1)?;
        if i16::from(answer.error_code) == 0 {
            return Connection::open(&format!("{}:{}", &*answer.host, answer.port));
        }
        // Kafka makes the topic of offsets when first asked.
        if Instant::now() > deadline {
            return Err(format!("no coordinator of {group}: {:?}", answer.error_code).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn commit_of(group: &str, topic: &str, committed_offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let topic =
        OffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() }
}

pub fn commit(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let lasting = Duration::from_secs(options.number("seconds", 5)?);
    let in_flight = options.number("in-flight", 8)?;
    let connections = options.number("connections", 32)?;
    // The first commit of a group waits for the coordinator to be ready; it is not counted.
    let mut ready = Vec::new();
    for n in 0..connections {
        let group = format!("{topic}-group-{n}");
        let mut connection = coordinator(bootstrap, &group)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = connection.ask(&commit_of(&group, topic, 0), VERSION)?;
            match i16::from(answer.topics[0].partitions[0].error_code) {
                0 => break,
                error if Instant::now() > deadline => return Err(format!("{group}: error {error}").into()),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
            connection = coordinator(bootstrap, &group)?;
        }
        ready.push(std::sync::Mutex::new((group, connection)));
    }
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    let taken = on_threads(connections, |n| {
        let (group, connection) = &mut *ready[n].lock().map_err(|_| "a thread panicked")?;
        let (mut under_way, mut taken, mut offset) = (VecDeque::new(), Vec::new(), 0);
        loop {
            while under_way.len() < in_flight && began.elapsed() < lasting {
                offset += 1;
                connection.send(&request(&commit_of(group, topic, offset), VERSION)?)?;
                under_way.push_back(Instant::now());
            }
            let Some(sent) = under_way.pop_front() else { return Ok(taken) };
            let answer = connection.receive::<OffsetCommitRequest>(VERSION)?;
            let error = i16::from(answer.topics[0].partitions[0].error_code);
            if error != 0 {
                return Err(format!("{group}: error {error}").into());
            }
            taken.push(sent.elapsed().as_secs_f64() * 1000.0);
        }
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let mut taken: Vec<f64> = taken.concat();
    taken.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
    Ok(json!({
        "commits": taken.len(), "seconds": seconds, "client_cpu_seconds": own_cpu_seconds() - cpu,
        "p50_ms": at(0.5), "p99_ms": at(0.99),
    }))
}
