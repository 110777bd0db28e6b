//! Load for bench/run; its own CPU time is reported too, to tell when the client is the limit.
//!
//! ```text
//! driver produce    BOOTSTRAP TOPIC [KEY=VALUE]...   librdkafka, as much as goes, until every record is acknowledged
//! driver ready-made BOOTSTRAP TOPIC [KEY=VALUE]...   the same with requests made beforehand, one connection a partition
//! driver consume    BOOTSTRAP TOPIC [KEY=VALUE]...   librdkafka, from the beginning
//! driver latency    BOOTSTRAP TOPIC [KEY=VALUE]...   librdkafka, a record at each tick of a clock, no linger
//! driver end-to-end BOOTSTRAP TOPIC [KEY=VALUE]...   the same, measured at a consumer of the same process
//! driver commits    BOOTSTRAP TOPIC [KEY=VALUE]...   offset commits, each of one partition
//! driver transactions BOOTSTRAP TOPIC [KEY=VALUE]... librdkafka, transactions as full as they get
//! driver ready-made-transactions BOOTSTRAP TOPIC [KEY=VALUE]... the same with batches made beforehand
//! driver introduce  BOOTSTRAP TOPIC [KEY=VALUE]...   one record of each of many idempotent producers
//! driver copy       - - [KEY=VALUE]...               no broker: bytes over TCP, what replication is held against
//! ```
//! Keys: `size`, `codec`, `count`, `keys` (different ones; none if 0), `acks`, `producers` (librdkafka instances at once), `batch` (bytes), `rate` (a second),
//! `seconds`, `connections`, `megabytes` (over each), `every` (milliseconds of a transaction, 0 for none), `records` (in a transaction at most),
//! `idempotence`, `linger`, `isolation`, `protocol` (2, or 1 for that of older clients). Each command prints one JSON object.

mod commits;
mod connection;
mod consume;
mod coordinator;
mod copy;
mod frames;
mod introduce;
mod load;
mod options;
mod paced;
mod ready_made;
mod ready_made_transactions;
mod tally;
mod transactions;

use options::Options;
use serde_json::Value;

type Outcome = Result<Value, Box<dyn std::error::Error + Send + Sync>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(report) => println!("{report}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

fn run(words: &[&str]) -> Outcome {
    let [command, bootstrap, topic, options @ ..] = words else {
        return Err("see the top of src/main.rs for the commands".into());
    };
    let options = Options::parse(options)?;
    match *command {
        "produce" => load::produce(bootstrap, topic, &options),
        "ready-made" => ready_made::produce(bootstrap, topic, &options),
        "consume" => consume::consume(bootstrap, topic, &options),
        "latency" => paced::latency(bootstrap, topic, &options),
        "end-to-end" => paced::end_to_end(bootstrap, topic, &options),
        "commits" => commits::commit(bootstrap, topic, &options),
        "introduce" => introduce::introduce(bootstrap, topic, &options),
        "copy" => copy::copy(&options),
        "transactions" => transactions::transact(bootstrap, topic, &options),
        "ready-made-transactions" => ready_made_transactions::transact(bootstrap, topic, &options),
        _ => Err(format!("{command}: no such command").into()),
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

/// Runs `work(0)`, `work(1)` ... each on a thread of its own; the first error ends the command.
fn on_threads<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, Box<dyn std::error::Error + Send + Sync>> + Sync,
) -> Result<Vec<T>, Box<dyn std::error::Error + Send + Sync>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || work(n))).collect();
        threads.into_iter().map(|it| it.join().map_err(|_| "a thread panicked")?).collect()
    })
}
