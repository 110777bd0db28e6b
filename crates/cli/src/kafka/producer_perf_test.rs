//! `kafka-producer-perf-test`: how fast records can be sent, and how long they take.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clap::Parser;
use milena_client::{Delivery, Producer, ProducerRecord};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::exception::Exception;
use super::options::Refusal;
use super::producer_properties::producer_options;
use super::{java, tool};
use crate::commands::block_on;
use crate::output::{self, complain};

/// Between two lines that say how it goes.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Latencies that are kept for the percentiles; of more records every n-th counts.
const MAX_SAMPLES: u64 = 500_000;

/// This tool is used to verify the producer performance.
#[derive(Debug, Parser)]
#[command(name = "producer-performance", disable_help_subcommand = true)]
struct Arguments {
    /// The server(s) to connect to.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// Produce messages to this topic.
    #[arg(long)]
    topic: String,
    /// Number of messages to produce.
    #[arg(long)]
    num_records: u64,
    /// Number of messages at the beginning that are left out of the figures.
    #[arg(long, default_value_t = 0)]
    warmup_records: u64,
    /// Message size in bytes.
    #[arg(long, conflicts_with = "payload_file")]
    record_size: Option<usize>,
    /// File to read the message payloads from; payloads are taken from it at random.
    #[arg(long)]
    payload_file: Option<String>,
    /// What separates payloads in that file.
    #[arg(long, default_value = "\\n")]
    payload_delimiter: String,
    /// Messages per second, at most; -1 for as fast as it goes.
    #[arg(long, allow_negative_numbers = true)]
    throughput: f64,
    /// Deprecated: --command-property.
    #[arg(long, num_args = 1.., value_name = "PROP=VALUE")]
    producer_props: Vec<String>,
    /// Properties of the producer, which win over those of the file.
    #[arg(long, num_args = 1.., value_name = "PROP=VALUE")]
    command_property: Vec<String>,
    /// A properties file for the producer.
    #[arg(long, alias = "producer.config", value_name = "FILE")]
    command_config: Option<String>,
}

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let arguments: Arguments = match tool::parse("producer-performance", arguments) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    tool::end(block_on(arguments.run()), |exception| complain!("{exception}"))
}

impl Arguments {
    async fn run(self) -> Result<(), Refusal> {
        let properties = self.properties()?;
        let Some(bootstrap) = properties.get("bootstrap.servers") else {
            return Err(Refusal::Usage(
                "The bootstrap servers are missing: give --bootstrap-server, or bootstrap.servers as a property."
                    .to_owned(),
            ));
        };
        if properties.contains_key("transactional.id") {
            return Err(Refusal::Usage(
                "Transactions are not offered by this tool; Apache's own has them.".to_owned(),
            ));
        }
        let payloads = self.payloads()?;
        let client = tool::connect_to(bootstrap, &properties, "perf-producer-client", "metadata").await?;
        let producer = Producer::start(&client, producer_options(&properties)?).await?;
        let steady = self.num_records.saturating_sub(self.warmup_records).max(1);
        let stats = Stats::new(steady);
        let mut watch = Watch { stats: stats.clone(), partitions: HashMap::new(), tasks: JoinSet::new() };
        let reporter = tokio::spawn(report(stats.clone()));
        self.send(&producer, &payloads, &mut watch).await?;
        producer.flush().await?;
        watch.finish().await;
        reporter.abort();
        let mut out = output::stdout();
        writeln!(out, "{}", stats.lock().total())?;
        Ok(out.flush()?)
    }

    async fn send(
        &self,
        producer: &Producer,
        payloads: &[Vec<u8>],
        watch: &mut Watch,
    ) -> Result<(), Refusal> {
        let mut began = Instant::now();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..self.num_records {
            if number == self.warmup_records {
                began = Instant::now();
                watch.stats.lock().restart(began);
            }
            if self.throughput > 0.0 {
                let paced = number.saturating_sub(self.warmup_records) as f64 / self.throughput;
                sleep_until(began + Duration::from_secs_f64(paced)).await;
            }
            // A step of xorshift: which payload it is does not matter, only that it is not always the same.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let value = &payloads[(random % payloads.len() as u64) as usize];
            let sent = Instant::now();
            let record =
                ProducerRecord { topic: &self.topic, value: Some(value), ..ProducerRecord::default() };
            let delivery = producer.send(record).await?;
            watch.follow(Sent {
                at: sent,
                bytes: value.len(),
                counts: number >= self.warmup_records,
                delivery,
            });
        }
        Ok(())
    }

    fn properties(&self) -> Result<BTreeMap<String, String>, Exception> {
        let mut properties = match &self.command_config {
            Some(path) => java::load_properties(path)?,
            None => BTreeMap::new(),
        };
        let given = self.producer_props.iter().chain(&self.command_property).map(String::as_str);
        properties.extend(java::key_values(given));
        if let Some(server) = &self.bootstrap_server {
            properties.insert("bootstrap.servers".to_owned(), server.clone());
        }
        Ok(properties)
    }

    fn payloads(&self) -> Result<Vec<Vec<u8>>, Refusal> {
        let payloads = match (&self.payload_file, self.record_size) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path).map_err(|_| {
                    Exception::illegal_argument(format!("File does not exist or empty file provided: {path}"))
                })?;
                let delimiter = self.payload_delimiter.replace("\\n", "\n").replace("\\t", "\t");
                text.split(&*delimiter).filter(|it| !it.is_empty()).map(|it| it.as_bytes().to_vec()).collect()
            }
            (None, Some(size)) => vec![(0..size).map(|at| b'A' + (at * 31 % 26) as u8).collect()],
            (None, None) => Vec::new(),
        };
        if payloads.is_empty() {
            return Err(Refusal::Usage(
                "Give --record-size, or a --payload-file that is not empty.".to_owned(),
            ));
        }
        Ok(payloads)
    }
}

/// A record on its way.
struct Sent {
    at: Instant,
    bytes: usize,
    counts: bool,
    delivery: Delivery,
}

/// Waits for acknowledgements: they come in order within a partition, so each has a task of its own.
struct Watch {
    stats: Stats,
    partitions: HashMap<i32, mpsc::UnboundedSender<Sent>>,
    tasks: JoinSet<()>,
}

impl Watch {
    /// What waits is bounded by the producer's memory.
    fn follow(&mut self, sent: Sent) {
        let (stats, tasks) = (&self.stats, &mut self.tasks);
        let watcher = self.partitions.entry(sent.delivery.partition()).or_insert_with(|| {
            let (sender, mut receiver) = mpsc::unbounded_channel::<Sent>();
            let stats = stats.clone();
            tasks.spawn(async move {
                while let Some(sent) = receiver.recv().await {
                    match sent.delivery.wait().await {
                        Ok(_) if sent.counts => stats.lock().record(sent.at.elapsed(), sent.bytes),
                        Ok(_) => {}
                        Err(error) => complain!("{}", Exception::from(error)),
                    }
                }
            });
            sender
        });
        // The task ends only after the channel.
        let _ = watcher.send(sent);
    }

    async fn finish(self) {
        drop(self.partitions);
        self.tasks.join_all().await;
    }
}

async fn report(stats: Stats) {
    let mut out = std::io::stdout();
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        let line = stats.lock().window();
        // Whoever closed standard output does not want to know.
        let _ = writeln!(out, "{line}");
    }
}

/// Figures, shared by those who find them out.
#[derive(Clone)]
struct Stats(Arc<Mutex<Figures>>);

impl Stats {
    fn new(records: u64) -> Self {
        Self(Arc::new(Mutex::new(Figures {
            total: Span::new(Instant::now()),
            window: Span::new(Instant::now()),
            every: records.div_ceil(MAX_SAMPLES).max(1),
            samples: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap()
    }
}

struct Figures {
    total: Span,
    window: Span,
    /// One of so many records is kept for the percentiles.
    every: u64,
    samples: Vec<u32>,
}

/// A span of time and what was acknowledged in it.
struct Span {
    began: Instant,
    records: u64,
    bytes: u64,
    latency_ms: f64,
    longest_ms: f64,
}

impl Span {
    fn new(began: Instant) -> Self {
        Self { began, records: 0, bytes: 0, latency_ms: 0.0, longest_ms: 0.0 }
    }

    fn record(&mut self, latency_ms: f64, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.latency_ms += latency_ms;
        self.longest_ms = self.longest_ms.max(latency_ms);
    }

    /// Records and MiB a second, mean latency.
    fn rates(&self) -> (f64, f64, f64) {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let mebibytes = self.bytes as f64 / 1024.0 / 1024.0;
        (self.records as f64 / seconds, mebibytes / seconds, self.latency_ms / self.records.max(1) as f64)
    }
}

impl Figures {
    fn restart(&mut self, now: Instant) {
        (self.total, self.window) = (Span::new(now), Span::new(now));
        self.samples.clear();
    }

    fn record(&mut self, latency: Duration, bytes: usize) {
        let latency_ms = latency.as_secs_f64() * 1000.0;
        if self.total.records.is_multiple_of(self.every) {
            self.samples.push(latency_ms as u32);
        }
        self.total.record(latency_ms, bytes);
        self.window.record(latency_ms, bytes);
    }

    /// How it went since the last such line.
    fn window(&mut self) -> String {
        let (records, mebibytes, latency) = self.window.rates();
        let line = format!(
            "{} records sent, {records:.1} records/sec ({mebibytes:.2} MB/sec), {latency:.1} ms avg latency, {:.1} ms max latency.",
            self.window.records, self.window.longest_ms
        );
        self.window = Span::new(Instant::now());
        line
    }

    /// How it went as a whole.
    fn total(&mut self) -> String {
        self.samples.sort_unstable();
        let samples = &self.samples;
        let percentile = |share: f64| {
            let at = (samples.len() as f64 * share) as usize;
            samples.get(at.min(samples.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let [half, most, nearly_all, all_but_one] = [0.5, 0.95, 0.99, 0.999].map(percentile);
        let (records, mebibytes, latency) = self.total.rates();
        format!(
            "{} records sent, {records:.6} records/sec ({mebibytes:.2} MB/sec), {latency:.2} ms avg latency, {:.2} ms max latency, \
             {half} ms 50th, {most} ms 95th, {nearly_all} ms 99th, {all_but_one} ms 99.9th.",
            self.total.records, self.total.longest_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn figures_are_of_the_records_after_the_warm_up() {
        let stats = Stats::new(4);
        stats.lock().record(Duration::from_millis(900), 1);
        stats.lock().restart(Instant::now());
        tokio::time::advance(Duration::from_secs(2)).await;
        for latency in [1, 2, 3, 10] {
            stats.lock().record(Duration::from_millis(latency), 1 << 20);
        }
        assert_eq!(
            stats.lock().total(),
            "4 records sent, 2.000000 records/sec (2.00 MB/sec), 4.00 ms avg latency, 10.00 ms max latency, \
             3 ms 50th, 10 ms 95th, 10 ms 99th, 10 ms 99.9th."
        );
        assert!(
            stats.lock().window().starts_with("4 records sent, 2.0 records/sec (2.00 MB/sec), 4.0 ms avg")
        );
        assert!(stats.lock().window().starts_with("0 records sent"));
    }
}
