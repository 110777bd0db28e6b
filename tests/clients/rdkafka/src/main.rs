//! Driver of the `rdkafka` crate (see ../README.md): librdkafka as Rust programs use it.

mod admin;
mod consume;
mod produce;
mod transactions;

use serde_json::{json, Value};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["create", bootstrap, topic, partitions, ref configs @ ..] => {
            admin::create(bootstrap, topic, partitions, configs).await
        }
        ["produce", bootstrap, topic, codec, acks, idempotent, count, base_ms] => {
            produce::produce(bootstrap, topic, [codec, acks, idempotent], count, base_ms).await
        }
        ["consume", bootstrap, topic, count] => consume::consume(bootstrap, topic, count),
        ["member", bootstrap, topic, group] => consume::member(bootstrap, topic, group),
        ["transform", bootstrap, source, sink, group, id, abort_every] => {
            transactions::transform(bootstrap, source, sink, group, id, abort_every)
        }
        ["transact", bootstrap, topic, partitions, id, first, every_ms, abort_every] => {
            transactions::transact(bootstrap, topic, [partitions, id, first, every_ms, abort_every])
        }
        ["offsets", bootstrap, topic, timestamp] => consume::offsets(bootstrap, topic, timestamp),
        ["configs", bootstrap, topic] => admin::configs(bootstrap, topic).await,
        ["alter", bootstrap, topic, setting] => admin::alter(bootstrap, topic, setting).await,
        ["delete", bootstrap, topic] => admin::delete(bootstrap, topic).await,
        _ => Err("no such command, see ../README.md".into()),
    };
    if let Err(error) = outcome {
        say(json!({ "error": error.to_string() }));
        std::process::exit(1);
    }
}

/// Prints one answer.
fn say(answer: Value) {
    println!("{answer}");
}
