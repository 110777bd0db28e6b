//! One round: a fresh topic, the load, the fault, the healing, the last read, the verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_check::{self as check, Event, Micros, Verdict};
use milena_client::Client;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::committer;
use super::cut::Cut;
use super::fault::{Aim, Fault};
use super::figures::{self, Latency, PartitionSeen, Transactions};
use super::ground::Land;
use super::harm::Harm;
use super::last_read::last_read;
use super::load::{Load, Shape};
use super::nodes::Nodes;
use super::probe::{Probe, first_change};
use super::recorder::Recorder;
use super::system::wait_until;
use super::{seen, stage};
use crate::admin::topics;
use crate::failure::Outcome;

/// The load runs so long before anything is done, and so many ticks: what is normal is known by then.
const WARM_UP: Duration = Duration::from_millis(1_000);
const WARM_UP_TICKS: u32 = 4;
/// The load runs so long after everything is well again.
const COOL_DOWN: Duration = Duration::from_millis(500);
/// Longest wait for a change of metadata once all partitions are acknowledged to again.
const CHANGE: Duration = Duration::from_secs(10);
/// Acknowledgements that probes have and nobody has taken note of.
const ACKS: usize = 1_024;

/// What all rounds have in common.
pub struct Plan {
    /// The fault.
    pub fault: Fault,
    /// Whom it hits.
    pub aim: Aim,
    /// How a broker is cut off.
    pub cut: Cut,
    /// How long it lasts at least.
    pub lasts: Duration,
    /// Partitions of the load.
    pub partitions: i32,
    /// The rest of the load; the topic's name is set for each round.
    pub shape: Shape,
    /// Longest wait for anything that ought to happen.
    pub patience: Duration,
    /// Where the history of each round goes, with its number in the name; nowhere if none.
    pub history_file: Option<std::path::PathBuf>,
}

/// What a round has shown.
#[derive(Debug, Serialize)]
pub struct Round {
    /// Counted from one.
    pub number: usize,
    /// Broker that was hit; none if all were, one after the other, or nobody was.
    pub victim: Option<i32>,
    /// The controller before the fault.
    pub controller: i32,
    /// When the fault began, in microseconds of the round.
    pub fault_at: Micros,
    /// When healing began.
    pub healed_at: Micros,
    /// When all replicas were in sync again; none if they never were.
    pub whole_at: Option<Micros>,
    /// From the fault to the first change of metadata, where that was tried.
    pub control_us: Option<Micros>,
    /// Each partition of the load.
    pub partitions: Vec<PartitionSeen>,
    /// From a record's `send` to its acknowledgement.
    pub latency: Latency,
    /// Transactions, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Transactions>,
    /// What clients were refused with, by client.
    pub errors: BTreeMap<String, BTreeMap<String, u64>>,
    /// What changed although nothing was done.
    pub disturbances: Vec<String>,
    /// What the checker says.
    pub verdict: Verdict,
}

/// What a round works on.
pub struct Field<'a> {
    /// The brokers.
    pub nodes: &'a mut Nodes,
    /// Their place; none if they are foreign.
    pub land: Option<&'a Land>,
    /// For questions.
    pub client: &'a Client,
}

/// Runs one round.
pub async fn run(plan: &Plan, number: usize, field: &mut Field<'_>) -> Outcome<Round> {
    let client = field.client;
    let ids: Vec<i32> = field.nodes.list.iter().map(|it| it.id).collect();
    let controller = seen::controller(client).await?;
    let victim = match plan.fault {
        Fault::RollingRestart | Fault::Nothing => None,
        _ => Some(stage::choose_victim(plan.aim, controller, &ids, number)),
    };
    let topic = format!("drill-{number}-{}", std::process::id());
    stage::create_topic(client, plan, &topic, &ids, victim).await?;
    let shape = Shape { topic: topic.clone(), ..plan.shape.clone() };
    let recorder = Arc::new(Recorder::start());
    let led = seen::topic(client, &topic).await?;
    let bootstrap = field.nodes.bootstrap.clone();
    let load = Load::start(&bootstrap, &shape, &recorder).await?;
    let (probes, pokes) = stage::open_probes(plan, &led, victim, &ids, &bootstrap, &recorder).await?;
    // Faults come at any moment of whatever the brokers do regularly.
    let odd = Duration::from_micros((recorder.now().wrapping_mul(7_919)) % 300_000);
    tokio::time::sleep(WARM_UP.max(plan.shape.every * WARM_UP_TICKS) + odd).await;

    let mut harm = Harm { plan, field, recorder: &recorder };
    let fault_at = recorder.now();
    let mut felt = Felt::default();
    let mut disturbances = Vec::new();
    let mut poking = JoinSet::new();
    let healed_at = match (victim, plan.fault) {
        (Some(victim), _) => {
            let firewall = harm.firewall(victim, controller, &ids)?;
            harm.inject(victim, firewall.as_ref()).await?;
            let began = Instant::now();
            let mut flapping = JoinSet::new();
            if let Some(firewall) = firewall.clone().filter(|_| plan.cut == Cut::Flapping) {
                flapping.spawn(firewall.flap(began + plan.lasts));
            }
            pokes.into_iter().for_each(|poke| drop(poking.spawn(poke.poke())));
            let survivors = ids.iter().zip(&bootstrap).filter(|(id, _)| **id != victim);
            let survivors: Vec<String> = survivors.map(|(_, at)| at.clone()).collect();
            felt = feel(plan, probes, &survivors, &topic, &recorder).await;
            tokio::time::sleep(plan.lasts.saturating_sub(began.elapsed())).await;
            if let Some(Ok(flapped)) = flapping.join_next().await {
                flapped?;
            }
            let healed_at = recorder.now();
            harm.heal(victim, firewall.as_ref(), number).await?;
            healed_at
        }
        (None, Fault::Nothing) => {
            disturbances = seen::disturbances(client, &topic, plan.lasts).await?;
            recorder.now()
        }
        (None, _) => {
            harm.roll(&topic, &ids).await?;
            recorder.now()
        }
    };
    let whole = seen::wait_for_topic(client, &topic, plan.patience, seen::is_whole).await;
    let whole_at = whole.then(|| recorder.now());
    if let Some(at) = whole_at {
        recorder.record(Event::Fault(check::Fault { at, what: "all replicas are in sync".into() }));
    }
    // What was sent to the victim meanwhile, it answers now.
    tokio::time::sleep(COOL_DOWN).await;
    poking.shutdown().await;
    load.stop(plan.patience).await;
    last_read(client, &shape, &recorder, plan.patience).await?;
    let _ = committer::fetch_committed(client, &topic, &recorder).await;
    let _ = topics::delete(client, std::slice::from_ref(&topic)).await;

    let (history, errors) = recorder.take();
    if let Some(file) = &plan.history_file {
        std::fs::write(file.with_extension(format!("{number}.jsonl")), history.to_json_lines())?;
    }
    let verdict = check::check(&history);
    let server = felt.at_servers.iter().map(|(partition, at)| (*partition, at - fault_at)).collect();
    let partitions = figures::partitions(&history, &led, victim, fault_at, &server);
    let latency = figures::latencies(&history, &partitions, fault_at);
    Ok(Round {
        number,
        victim,
        controller,
        fault_at,
        healed_at,
        whole_at,
        control_us: felt.by_the_controller.map(|at| at - fault_at),
        partitions,
        latency,
        transactions: Transactions::of(&history),
        errors,
        disturbances,
        verdict,
    })
}

/// When a fault was over for those who asked at once, in microseconds of the round.
#[derive(Default)]
struct Felt {
    /// The first acknowledgement of each partition that is probed.
    at_servers: BTreeMap<i32, Micros>,
    /// The first change of metadata.
    by_the_controller: Option<Micros>,
}

/// Asks every partition, and the controller, until each has answered or patience is over.
async fn feel(
    plan: &Plan,
    probes: Vec<Probe>,
    survivors: &[String],
    topic: &str,
    recorder: &Arc<Recorder>,
) -> Felt {
    let began = Instant::now();
    let left = || plan.patience.saturating_sub(began.elapsed());
    let mut felt = Felt::default();
    let mut probing = JoinSet::new();
    let (found, mut acks) = mpsc::channel(ACKS);
    for probe in probes {
        probing.spawn(probe.first_acks(found.clone()));
    }
    drop(found);
    let mut changes = JoinSet::new();
    if let Ok(admin) = Client::connect(survivors, seen::curious()).await {
        changes.spawn(first_change(admin, topic.to_owned(), recorder.clone()));
    }
    let all = if survivors.is_empty() { 0 } else { plan.partitions as usize };
    while felt.at_servers.len() < all && !left().is_zero() {
        match tokio::time::timeout(left(), acks.recv()).await {
            Ok(Some((partition, at))) => drop(felt.at_servers.entry(partition).or_insert(at)),
            _ => break,
        }
    }
    probing.shutdown().await;
    let change = tokio::time::timeout(left().min(CHANGE), changes.join_next()).await;
    felt.by_the_controller = change.ok().flatten().and_then(Result::ok);
    felt
}

/// Waits until every broker's process runs.
pub async fn all_alive(nodes: &mut Nodes, patience: Duration) -> bool {
    wait_until(patience, || nodes.list.iter_mut().all(super::nodes::Node::is_alive)).await
}
