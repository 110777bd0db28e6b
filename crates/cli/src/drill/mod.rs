//! `milena drill`: does something bad to a cluster under load, and shows what its clients noticed.

mod committer;
mod cut;
mod fault;
mod figures;
mod ground;
mod harm;
mod html;
mod last_read;
mod load;
mod member;
mod nodes;
mod probe;
mod reader;
mod record;
mod recorder;
mod report;
mod round;
mod seen;
mod stage;
mod stats;
mod system;
mod transactor;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::output::{Format, complain};
use crate::time;
use cut::Cut;
use fault::{Aim, Fault};
use ground::Land;
use load::Shape;
use nodes::Nodes;
use report::Report;
use round::{Field, Plan};

/// Breaks something in a cluster under load, heals it, and checks that nothing was lost.
///
/// Starts three brokers of this binary on free ports of this machine unless --bootstrap names a cluster. The exit
/// code is 0 only if no acknowledged record was lost, duplicated or reordered, no committed offset went back, and
/// every partition came back.
#[derive(Debug, clap::Args)]
pub struct DrillArgs {
    /// What is done.
    #[arg(value_enum)]
    fault: Fault,
    /// How many times.
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Whom faults hit that can hit anybody (pause, partition, disk-full, slow-disk, power-loss-one).
    #[arg(long, value_enum, default_value_t)]
    aim: Aim,
    /// How a broker is cut off (partition).
    #[arg(long, value_enum, default_value_t)]
    shape: Cut,
    /// How long the fault lasts at least; by default 1s for dead brokers, 5s for what is only cut off or stopped, 20s
    /// for a flapping network, 1m for none.
    #[arg(long = "for", value_name = "SPAN", value_parser = time::parse_span)]
    lasts: Option<Duration>,
    /// Partitions of the load.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Time between two records of a partition.
    #[arg(long, value_name = "SPAN", default_value = "1ms", value_parser = time::parse_span)]
    every: Duration,
    /// Bytes of a record.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    record_size: usize,
    /// Writes in transactions, too, and reads what is committed.
    #[arg(long)]
    transactional: bool,
    /// Longest that the load's clients wait for one answer. Clients of Kafka wait 30s.
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = time::parse_span)]
    request_timeout: Duration,
    /// Longest wait for anything that ought to happen.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = time::parse_span)]
    patience: Duration,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Writes the result as a page with plots, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes every round's history as JSON lines: FILE with the round's number and `jsonl` behind its name.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    #[command(flatten)]
    own: OwnCluster,
    #[command(flatten)]
    foreign: ForeignCluster,
}

/// Brokers that the drill starts.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A cluster of its own")]
struct OwnCluster {
    /// How many brokers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=9))]
    brokers: i32,
    /// A setting of every broker; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where their directories are made; by default below the system's directory for temporary files.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Leaves the directories, with the brokers' logs.
    #[arg(long)]
    keep: bool,
}

/// Brokers that run already.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Another cluster")]
struct ForeignCluster {
    /// Its addresses, separated by commas. The brokers must run on this machine.
    #[arg(long, short = 'b', value_name = "HOST:PORT", requires = "pid_file")]
    bootstrap: Option<String>,
    /// File with the process id of a broker; {id} stands for its node id.
    #[arg(long, value_name = "PATH", requires = "bootstrap")]
    pid_file: Option<String>,
    /// Shell command that starts a broker again; {id} stands for its node id.
    #[arg(long, value_name = "COMMAND", requires = "bootstrap")]
    start_command: Option<String>,
}

impl DrillArgs {
    /// Runs the drill on threads of its own: what is measured here must not wait for the tool.
    pub fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(self.drill())
    }

    async fn drill(self) -> Outcome {
        let (land, mut nodes) = match &self.foreign.bootstrap {
            Some(bootstrap) => (None, self.find_cluster(bootstrap).await?),
            None => {
                let land = self.prepare()?;
                let nodes = Nodes::start(self.own.brokers, &self.own.set, &land)?;
                (Some(land), nodes)
            }
        };
        // A drill that is interrupted takes its brokers, mounts and networks down too.
        let outcome = tokio::select! {
            outcome = self.rounds(&mut nodes, land.as_ref()) => outcome,
            () = interrupted() => Err(Failure::new("interrupted")),
        };
        if outcome.is_err() {
            for node in &nodes.list {
                let words = node.last_words();
                if !words.is_empty() {
                    complain!("the last words of broker {}:\n{words}\n", node.id);
                }
            }
        }
        // Brokers before what they stand on.
        drop(nodes);
        drop(land);
        outcome
    }

    fn prepare(&self) -> Outcome<Land> {
        let ground = self.fault.ground();
        if let Some(obstacle) = ground.obstacle() {
            return Err(Failure::new(format!("{} is not possible here: {obstacle}", self.fault.name())));
        }
        let parent = self.own.directory.clone().unwrap_or_else(std::env::temp_dir);
        let root = parent.join(format!("milena-drill-{}", std::process::id()));
        std::fs::create_dir_all(&root)?;
        let mut land = Land::prepare(ground, root.clone(), self.own.brokers)?;
        land.keep = self.own.keep;
        if self.own.keep {
            complain!("the brokers' directories are in {}", root.display());
        }
        Ok(land)
    }

    async fn find_cluster(&self, bootstrap: &str) -> Outcome<Nodes> {
        let bootstrap: Vec<String> = bootstrap.split(',').map(str::to_owned).collect();
        let client = seen::wait_for_brokers(&bootstrap, 1, self.patience).await?;
        let metadata = client.metadata();
        let ids: Vec<i32> = metadata.brokers.keys().copied().collect();
        let addresses = metadata.brokers.values().map(|it| format!("{}:{}", it.host, it.port)).collect();
        let pid_file = self.foreign.pid_file.as_deref().unwrap_or_default();
        Ok(Nodes::foreign(&ids, addresses, pid_file, self.foreign.start_command.as_deref()))
    }

    async fn rounds(&self, nodes: &mut Nodes, land: Option<&Land>) -> Outcome {
        let count = nodes.list.len();
        let client = seen::wait_for_brokers(&nodes.bootstrap, count, self.patience).await?;
        let plan = self.plan();
        let mut rounds = Vec::new();
        let mut ended_early = None;
        for number in 1..=self.count as usize {
            let mut field = Field { nodes: &mut *nodes, land, client: &client };
            match round::run(&plan, number, &mut field).await {
                Ok(round) => {
                    complain!("{}", one_line(&round));
                    let lost = round.whole_at.is_none();
                    rounds.push(round);
                    if lost {
                        ended_early = Some("the cluster did not become whole again".to_owned());
                    }
                }
                Err(Failure::Said { what, .. }) => ended_early = Some(what),
                Err(other) => return Err(other),
            }
            if ended_early.is_some() {
                break;
            }
            if !round::all_alive(nodes, self.patience).await {
                ended_early = Some("a broker's process has ended by itself".into());
                break;
            }
        }
        let shape = match self.fault {
            Fault::Partition => format!(" ({})", self.shape.name()),
            _ => String::new(),
        };
        let report = Report::of(self.fault.name() + &shape, self.setting(count), rounds, ended_early);
        if let Some(file) = &self.html {
            std::fs::write(file, html::page(&report))?;
        }
        match self.format {
            Format::Table => report.print()?,
            Format::Json => crate::output::print(Format::Json, &report, |_| Vec::new())?,
        }
        match report.is_good() {
            true => Ok(()),
            false => Err(Failure::Reported),
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            fault: self.fault,
            aim: self.fault.aim(self.aim),
            cut: self.shape,
            lasts: self.lasts.unwrap_or_else(|| match self.fault {
                Fault::Partition => self.shape.lasts(),
                fault => fault.lasts(),
            }),
            partitions: self.partitions,
            shape: Shape {
                topic: String::new(),
                partitions: self.partitions,
                every: self.every,
                record_size: self.record_size,
                request_timeout: self.request_timeout,
                transactional: self.transactional,
            },
            patience: self.patience,
            history_file: self.history.clone(),
        }
    }

    fn setting(&self, brokers: usize) -> String {
        let whose = match self.foreign.bootstrap {
            Some(_) => "a running cluster",
            None => "processes of this binary",
        };
        let beside = if self.transactional { ", transactions beside it" } else { "" };
        format!(
            "{} rounds on {brokers} brokers ({whose}), {} partitions, a record of {} bytes every {:?} and partition, acks=all, idempotent{beside}",
            self.count, self.partitions, self.record_size, self.every
        )
    }
}

/// Ready when somebody wants the drill to end: SIGINT, SIGTERM, or the end of its terminal.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut hangup)) = signals else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn one_line(round: &round::Round) -> String {
    let worst = |pick: fn(&figures::PartitionSeen) -> Option<u64>| {
        round.partitions.iter().filter_map(pick).max().map_or("-".to_owned(), stats::span)
    };
    let victim = round.victim.map_or("no broker alone".to_owned(), |it| format!("broker {it}"));
    let verdict = match (round.verdict.is_clean(), round.disturbances.len()) {
        (false, _) => format!("ANOMALIES {:?}", round.verdict.counts),
        (true, 0) => "clean".to_owned(),
        (true, count) => format!("{count} DISTURBANCES"),
    };
    format!(
        "round {}: {victim} (controller {}), unavailable {} to the producer, {} at the server, {verdict}",
        round.number,
        round.controller,
        worst(|it| it.client_us),
        worst(|it| it.server_us)
    )
}
