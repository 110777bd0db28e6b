//! Load for bench/run: librdkafka, so that the client costs as little as a client can; its own CPU time is reported too.
//!
//! ```text
//! driver produce    BOOTSTRAP TOPIC SIZE CODEC COUNT     all at once, acks=1, until every record is acknowledged
//! driver consume    BOOTSTRAP TOPIC COUNT                from the beginning
//! driver latency    BOOTSTRAP TOPIC SIZE RATE SECONDS    one record at each tick of a clock, acks=1, no linger
//! driver end-to-end BOOTSTRAP TOPIC SIZE RATE SECONDS    the same, measured at a consumer of the same process
//! ```
//! Each prints one JSON object.

mod consume;
mod load;
mod paced;

use serde_json::Value;

type Outcome = Result<Value, Box<dyn std::error::Error>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["produce", bootstrap, topic, size, codec, count] => {
            load::produce(bootstrap, topic, size, codec, count)
        }
        ["consume", bootstrap, topic, count] => consume::consume(bootstrap, topic, count),
        ["latency", bootstrap, topic, size, rate, seconds] => {
            paced::latency(bootstrap, topic, [size, rate, seconds])
        }
        ["end-to-end", bootstrap, topic, size, rate, seconds] => {
            paced::end_to_end(bootstrap, topic, [size, rate, seconds])
        }
        _ => Err("see the top of src/main.rs for the commands".into()),
    };
    match outcome {
        Ok(report) => println!("{report}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

/// Seconds of CPU that this process has used so far, in user and kernel mode.
fn own_cpu_seconds() -> f64 {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = line.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux that runs here.
    ticks as f64 / 100.0
}
