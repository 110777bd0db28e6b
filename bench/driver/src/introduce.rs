//! Many idempotent producers in the state of one partition: one record of each.

use std::time::Instant;

use serde_json::json;

use crate::connection::{leaders, Connection};
use crate::coordinator::Protocol;
use crate::frames::{batch, Destination, Frame, Guarantee};
use crate::{Options, Outcome};

/// Producer ids that no broker has given out yet.
const FIRST: i64 = 1_000_000;
/// Requests under way.
const IN_FLIGHT: i64 = 100;

/// `count` producers in the first partition.
pub fn introduce(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let producers: i64 = options.number("count", 100_000)?;
    let version = Protocol::Two.produce();
    let to = Destination { topic, partition: 0, leader: 0, transactional_id: None, version };
    let mut frame = Frame::new(&to, &batch(100, 100, 1, Guarantee::Idempotent))?;
    let mut leader = Connection::open(&leaders(bootstrap, topic)?[0])?;
    let (began, mut answered) = (Instant::now(), 0);
    let mut sent = 0;
    while answered < producers {
        // Each is the first of its producer: nothing to get out of order.
        while sent < producers && sent - answered < IN_FLIGHT {
            leader.send(frame.addressed(FIRST + sent, 0))?;
            sent += 1;
        }
        let answer = leader.receive::<milena_wire::produce::ProduceRequest>(version)?;
        match i16::from(answer.responses[0].partition_responses[0].error_code) {
            0 => answered += 1,
            error => return Err(format!("producer {answered}: error {error}").into()),
        }
    }
    Ok(json!({ "producers": producers, "seconds": began.elapsed().as_secs_f64() }))
}
