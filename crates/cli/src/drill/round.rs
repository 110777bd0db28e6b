//! One round: a fresh topic, the load, the fault, the healing, the last read, the verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_check::{self as check, Driven, EndOffset, Event, History, Isolation, Micros, Outcome, Verdict};
use milena_client::{Client, Consumer, OffsetSpec, Topic};
use rustix::process::Signal;
use serde::Serialize;
use tokio::task::JoinSet;

use super::cut::{Cut, Firewall};
use super::fault::{Aim, Fault};
use super::ground::Land;
use super::load::{self, Load, PRODUCER, Shape};
use super::nodes::Nodes;
use super::probe::{Probe, TRY, ZOMBIE_PATIENCE, first_change};
use super::recorder::Recorder;
use super::seen;
use super::stats::Spread;
use super::system::wait_until;
use crate::admin::{TopicPartition, offsets, topics};
use crate::failure::{Failure, Outcome as Done};

/// The load runs so long before anything is done.
const WARM_UP: Duration = Duration::from_millis(1_000);
/// The load runs so long after everything is well again.
const COOL_DOWN: Duration = Duration::from_millis(500);
/// Number of the consumer that makes the last read.
const LAST_READER: u32 = 99;
/// Numbers of probes in the history begin here.
const PROBES: u32 = 1_000;
/// Width of a bar in the plot, in microseconds.
const BAR: Micros = 10_000;

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
    /// Clients that read, share and commit.
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
    /// What clients were refused with, by client.
    pub errors: BTreeMap<String, BTreeMap<String, u64>>,
    /// What changed although nothing was done.
    pub disturbances: Vec<String>,
    /// What the checker says.
    pub verdict: Verdict,
}

/// How long a partition was away.
#[derive(Debug, Serialize)]
pub struct PartitionSeen {
    /// Its number.
    pub index: i32,
    /// Whether the victim led it; a dead follower holds up acknowledgements too, until it is out of the ISR.
    pub led_by_victim: bool,
    /// The longest gap between two acknowledgements that the producer saw after the fault, less the normal gap.
    /// None if nothing was acknowledged any more.
    pub client_us: Option<Micros>,
    /// From the fault to the first record that a probe got acknowledged; none if it was not probed or never was.
    pub server_us: Option<Micros>,
    /// Worst latency of the records sent in each hundredth of a second: (time, latency).
    #[serde(skip)]
    pub bars: Vec<(Micros, Micros)>,
}

/// Latency in microseconds of records that were sent before the fault, while it was felt, and afterwards.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Before.
    pub before: Option<Spread>,
    /// From the fault until the last partition was acknowledged to again.
    pub during: Option<Spread>,
    /// Afterwards.
    pub after: Option<Spread>,
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
pub async fn run(plan: &Plan, number: usize, field: &mut Field<'_>) -> Done<Round> {
    let client = field.client;
    let ids: Vec<i32> = field.nodes.list.iter().map(|it| it.id).collect();
    let controller = seen::controller(client).await?;
    let victim = match plan.fault {
        Fault::RollingRestart | Fault::Nothing => None,
        _ => Some(choose_victim(plan.aim, controller, &ids, number)),
    };
    let topic = format!("drill-{number}-{}", std::process::id());
    create_topic(client, plan, &topic, &ids, victim).await?;
    let shape = Shape { topic: topic.clone(), ..plan.shape.clone() };
    let recorder = Arc::new(Recorder::start());
    let led = seen::topic(client, &topic).await?;
    let bootstrap = field.nodes.bootstrap.clone();
    let load = Load::start(&bootstrap, &shape, &recorder).await?;
    let (mut probes, mut pokes) = open_probes(plan, &led, victim, &ids, &bootstrap, &recorder).await?;
    // Faults come at any moment of whatever the brokers do regularly.
    let odd = Duration::from_micros((recorder.now().wrapping_mul(7_919)) % 300_000);
    tokio::time::sleep(WARM_UP + odd).await;

    let mut run = Running { plan, field, recorder: recorder.clone(), topic: &topic };
    let fault_at = recorder.now();
    let mut server: BTreeMap<i32, Micros> = BTreeMap::new();
    let mut control_us = None;
    let mut poking = JoinSet::new();
    let mut disturbances = Vec::new();
    let healed_at;
    match victim {
        None => {
            match plan.fault {
                Fault::Nothing => disturbances = seen::disturbances(client, &topic, plan.lasts).await?,
                _ => run.roll(&ids).await?,
            }
            healed_at = recorder.now();
        }
        Some(victim) => {
            let firewall = run.firewall(victim, controller, &ids)?;
            run.inject(victim, firewall.as_ref()).await?;
            let began = Instant::now();
            let mut flapping = JoinSet::new();
            if let Some(firewall) = firewall.clone().filter(|_| plan.cut == Cut::Flapping) {
                flapping.spawn(firewall.flap(began + plan.lasts));
            }
            let mut acks = JoinSet::new();
            for probe in std::mem::take(&mut probes) {
                let partition = probe.partition();
                acks.spawn(async move { (partition, probe.first_ack().await) });
            }
            for poke in std::mem::take(&mut pokes) {
                poking.spawn(poke.poke());
            }
            let survivors: Vec<String> = ids
                .iter()
                .zip(&bootstrap)
                .filter(|(id, _)| **id != victim)
                .map(|(_, at)| at.clone())
                .collect();
            let mut changes = JoinSet::new();
            if let Ok(admin) = Client::connect(&survivors, seen::curious()).await {
                changes.spawn(first_change(admin, topic.clone(), recorder.clone()));
            }
            let alone = survivors.is_empty();
            while server.len() < plan.partitions as usize && began.elapsed() < plan.patience && !alone {
                match tokio::time::timeout(plan.patience.saturating_sub(began.elapsed()), acks.join_next())
                    .await
                {
                    Ok(Some(Ok((partition, at)))) => drop(server.entry(partition).or_insert(at - fault_at)),
                    _ => break,
                }
            }
            acks.shutdown().await;
            let left = plan.patience.saturating_sub(began.elapsed()).min(Duration::from_secs(10));
            if let Ok(Some(Ok(at))) = tokio::time::timeout(left, changes.join_next()).await {
                control_us = Some(at - fault_at);
            }
            tokio::time::sleep(plan.lasts.saturating_sub(began.elapsed())).await;
            if let Some(Ok(flapped)) = flapping.join_next().await {
                flapped?;
            }
            healed_at = recorder.now();
            run.heal(victim, firewall.as_ref(), number).await?;
        }
    }
    let whole = seen::wait_for_topic(client, &topic, plan.patience, seen::is_whole).await;
    let whole_at = whole.then(|| recorder.now());
    if let Some(at) = whole_at {
        recorder.record(Event::Fault(check::Fault { at, what: "all replicas are in sync".into() }));
    }
    // What was sent to the victim meanwhile, it answers now.
    tokio::time::sleep(COOL_DOWN).await;
    poking.shutdown().await;
    load.stop(plan.patience).await;
    // Without it nothing is proved.
    last_read(client, &shape, &recorder, plan.patience).await?;
    let _ = load::fetch_committed(client, &topic, &recorder).await;
    let _ = topics::delete(client, std::slice::from_ref(&topic)).await;

    let (history, errors) = recorder.take();
    if let Some(file) = &plan.history_file {
        std::fs::write(file.with_extension(format!("{number}.jsonl")), history.to_json_lines())?;
    }
    let verdict = check::check(&history);
    let partitions = judge_partitions(&history, &led, victim, fault_at, &server);
    let latency = latencies(&history, &partitions, fault_at);
    Ok(Round {
        number,
        victim,
        controller,
        fault_at,
        healed_at,
        whole_at,
        control_us,
        partitions,
        latency,
        errors,
        disturbances,
        verdict,
    })
}

/// The controller, or one of the others, each in its turn.
fn choose_victim(aim: Aim, controller: i32, ids: &[i32], round: usize) -> i32 {
    let others: Vec<i32> = ids.iter().copied().filter(|id| *id != controller).collect();
    match aim {
        Aim::Leader if !others.is_empty() => others[round % others.len()],
        _ => controller,
    }
}

/// Replicas of each partition, the preferred leader first. Leaders take turns, beginning with the victim; if it is
/// to lead nothing, it comes last everywhere.
fn assignment(partitions: i32, ids: &[i32], victim: Option<i32>, aim: Aim) -> Vec<Vec<i32>> {
    let factor = ids.len().min(3);
    let first = victim.and_then(|victim| ids.iter().position(|id| *id == victim)).unwrap_or(0);
    let turn = |by: usize| (0..ids.len()).map(move |at| ids[(first + by + at) % ids.len()]);
    (0..partitions as usize)
        .map(|partition| match victim {
            Some(victim) if aim == Aim::Controller && ids.len() > 1 => {
                let mut leaders: Vec<i32> =
                    turn(partition).filter(|id| *id != victim).take(factor - 1).collect();
                let by = partition % leaders.len();
                leaders.rotate_left(by);
                leaders.push(victim);
                leaders
            }
            _ => turn(partition).take(factor).collect(),
        })
        .collect()
}

async fn create_topic(client: &Client, plan: &Plan, name: &str, ids: &[i32], victim: Option<i32>) -> Done {
    let assignment = assignment(plan.partitions, ids, victim, plan.aim);
    let min_isr = if ids.len() >= 3 { "2" } else { "1" };
    let new = topics::NewTopic {
        name: name.into(),
        partitions: -1,
        replication_factor: -1,
        assignment,
        configs: vec![("min.insync.replicas".into(), min_isr.into())],
    };
    topics::create(client, &new, false).await?;
    match seen::wait_for_topic(client, name, plan.patience, seen::is_whole).await {
        true => Ok(()),
        false => Err(Failure::new(format!("the replicas of {name} never came into sync"))),
    }
}

/// Probes for every partition at every broker that may lead it after the fault, and those that poke a zombie.
async fn open_probes(
    plan: &Plan,
    topic: &Topic,
    victim: Option<i32>,
    ids: &[i32],
    bootstrap: &[String],
    recorder: &Arc<Recorder>,
) -> Done<(Vec<Probe>, Vec<Probe>)> {
    let (mut probes, mut pokes) = (Vec::new(), Vec::new());
    let Some(victim) = victim else { return Ok((probes, pokes)) };
    let mut number = PROBES;
    // Cut off from one follower only, it goes on leading without that one.
    let goes_on = plan.fault == Fault::Partition && plan.cut == Cut::Link;
    for partition in &topic.partitions {
        let led_by_victim = partition.leader == Some(victim);
        for id in ids {
            number += 1;
            let at = (topic.name.as_str(), partition.index);
            if *id == victim && led_by_victim && plan.fault.leaves_a_zombie() && !goes_on {
                pokes.push(Probe::open(bootstrap, *id, at, number, recorder, ZOMBIE_PATIENCE).await?);
            } else if (*id != victim || goes_on) && (led_by_victim || partition.leader == Some(*id)) {
                probes.push(Probe::open(bootstrap, *id, at, number, recorder, TRY).await?);
            }
        }
    }
    Ok((probes, pokes))
}

struct Running<'a, 'b> {
    plan: &'a Plan,
    field: &'a mut Field<'b>,
    recorder: Arc<Recorder>,
    topic: &'a str,
}

impl Running<'_, '_> {
    fn note(&self, what: String) {
        self.recorder.record(Event::Fault(check::Fault { at: self.recorder.now(), what }));
    }

    fn land(&self) -> Done<&Land> {
        self.field.land.ok_or_else(|| {
            Failure::new("this fault needs brokers that the drill has started itself")
                .hint("leave --bootstrap out")
        })
    }

    /// What cuts the victim off, if that is the fault.
    fn firewall(&self, victim: i32, controller: i32, ids: &[i32]) -> Done<Option<Firewall>> {
        if self.plan.fault != Fault::Partition {
            return Ok(None);
        }
        let others = || ids.iter().copied().filter(|id| *id != victim);
        let other = others().find(|id| *id != controller).or_else(|| others().next()).unwrap_or(victim);
        Ok(Some(self.land()?.firewall(victim, self.plan.cut, other)))
    }

    async fn inject(&mut self, victim: i32, firewall: Option<&Firewall>) -> Done {
        self.note(format!("{} of broker {victim}", self.plan.fault.name()));
        let node = self.field.nodes.node(victim)?;
        match self.plan.fault {
            Fault::KillLeader | Fault::KillController | Fault::KillBoth => node.signal(Signal::KILL),
            Fault::PowerLossOne => node.signal(Signal::KILL),
            Fault::Pause => node.signal(Signal::STOP),
            Fault::Partition => firewall.map_or(Ok(()), |it| it.close(true)),
            Fault::DiskFull => self.land()?.fill(victim, true),
            Fault::SlowDisk => self.land()?.freeze(victim, true),
            Fault::RollingRestart | Fault::Nothing => Ok(()),
        }
    }

    async fn heal(&mut self, victim: i32, firewall: Option<&Firewall>, round: usize) -> Done {
        self.note(format!("healing broker {victim}"));
        match self.plan.fault {
            Fault::KillLeader | Fault::KillController | Fault::KillBoth => {
                self.field.nodes.node(victim)?.ended().await?;
                self.field.nodes.node(victim)?.start()
            }
            Fault::PowerLossOne => {
                self.field.nodes.node(victim)?.ended().await?;
                self.land()?.lose_power(victim, round)?;
                self.field.nodes.node(victim)?.start()
            }
            Fault::Pause => self.field.nodes.node(victim)?.signal(Signal::CONT),
            Fault::Partition => firewall.map_or(Ok(()), |it| it.close(false)),
            Fault::SlowDisk => self.land()?.freeze(victim, false),
            Fault::DiskFull => {
                self.land()?.fill(victim, false)?;
                let node = self.field.nodes.node(victim)?;
                if !node.is_alive() {
                    self.recorder.errors("broker", "ended because its disk was full", 1);
                    self.field.nodes.node(victim)?.start()?;
                }
                Ok(())
            }
            Fault::RollingRestart | Fault::Nothing => Ok(()),
        }
    }

    /// SIGTERM, start, and wait until all is well, one broker after the other.
    async fn roll(&mut self, ids: &[i32]) -> Done {
        for id in ids {
            self.note(format!("SIGTERM of broker {id}"));
            let node = self.field.nodes.node(*id)?;
            node.signal(Signal::TERM)?;
            node.ended().await?;
            self.note(format!("start of broker {id}"));
            self.field.nodes.node(*id)?.start()?;
            let client = self.field.client;
            if !seen::wait_for_topic(client, self.topic, self.plan.patience, seen::is_whole).await {
                return Err(Failure::new(format!("broker {id} never came back into sync after its restart")));
            }
        }
        Ok(())
    }
}

/// Reads every partition from its start to its end.
async fn last_read(client: &Client, shape: &Shape, recorder: &Recorder, patience: Duration) -> Done {
    let partitions: Vec<TopicPartition> =
        (0..shape.partitions).map(|it| TopicPartition::new(shape.topic.as_str(), it)).collect();
    let began = recorder.now();
    let deadline = Instant::now() + patience;
    let ends = loop {
        client.refresh(&[&shape.topic]).await?;
        match offsets::all_at(client, &partitions, offsets::at::LATEST).await {
            // Leadership may be on its way back to the preferred replica.
            Err(error) if error.is_retriable() && Instant::now() < deadline => {
                tokio::time::sleep(client.options().retry_backoff).await;
            }
            ends => break ends?,
        }
    };
    let ended = recorder.now();
    for (partition, offset) in &ends {
        let partition = partition.to_string();
        let isolation = Isolation::Uncommitted;
        recorder.record(Event::EndOffset(EndOffset { began, ended, partition, offset: *offset, isolation }));
    }
    let start = partitions.iter().map(|it| ((it.topic.clone(), it.partition), OffsetSpec::Earliest));
    let mut consumer = Consumer::assign(client, load::reading(), start);
    let mut left: BTreeMap<i32, i64> = ends.iter().map(|(it, end)| (it.partition, *end)).collect();
    while !left.is_empty() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("the end was not reached in partitions {:?}", left.keys())));
        }
        load::poll(&mut consumer, LAST_READER, recorder).await?;
        let positions = consumer.positions();
        left.retain(|partition, end| {
            let at = positions.get(&(shape.topic.clone(), *partition)).copied().unwrap_or(-1);
            if at >= *end {
                let partition = load::name(&shape.topic, *partition);
                let (at, consumer, end) = (recorder.now(), LAST_READER, *end);
                recorder.record(Event::Driven(Driven { at, consumer, partition, end }));
            }
            at < *end
        });
    }
    Ok(())
}

fn judge_partitions(
    history: &History,
    topic: &Topic,
    victim: Option<i32>,
    fault_at: Micros,
    server: &BTreeMap<i32, Micros>,
) -> Vec<PartitionSeen> {
    let seen = |partition: &milena_client::Partition| {
        let name = load::name(&topic.name, partition.index);
        let windows = check::windows(history, &name, |producer| producer == PRODUCER);
        PartitionSeen {
            index: partition.index,
            led_by_victim: victim.is_none() || partition.leader == victim,
            client_us: check::longest_window(&windows, fault_at).map(|(_, beyond)| beyond),
            server_us: server.get(&partition.index).copied(),
            bars: bars(history, &name),
        }
    };
    topic.partitions.iter().map(seen).collect()
}

/// Acknowledged sends of the load: when, and after how long.
fn acked(history: &History) -> impl Iterator<Item = (&str, Micros, Micros)> {
    history.events.iter().filter_map(|event| match event {
        Event::Send(it) if it.producer == PRODUCER && matches!(it.outcome, Outcome::Acked { .. }) => {
            Some((it.partition.as_str(), it.began, it.ended - it.began))
        }
        _ => None,
    })
}

fn bars(history: &History, partition: &str) -> Vec<(Micros, Micros)> {
    let mut bars: BTreeMap<Micros, Micros> = BTreeMap::new();
    for (_, began, latency) in acked(history).filter(|(name, ..)| *name == partition) {
        let worst = bars.entry(began / BAR * BAR).or_default();
        *worst = latency.max(*worst);
    }
    bars.into_iter().collect()
}

fn latencies(history: &History, partitions: &[PartitionSeen], fault_at: Micros) -> Latency {
    let felt = partitions.iter().filter_map(|it| it.client_us.max(it.server_us)).max().unwrap_or(0);
    let over = fault_at + felt;
    let spread = |felt: fn(Micros, Micros, Micros, Micros) -> bool| {
        let of_phase =
            acked(history).filter(|(_, began, latency)| felt(*began, began + latency, fault_at, over));
        Spread::of(of_phase.map(|(.., latency)| latency))
    };
    // What was under way when the fault came belongs to the fault.
    Latency {
        before: spread(|_, ended, fault, _| ended < fault),
        during: spread(|began, ended, fault, over| ended >= fault && began < over),
        after: spread(|began, ended, fault, over| ended >= fault && began >= over),
    }
}

/// Waits until every broker's process runs.
pub async fn all_alive(nodes: &mut Nodes, patience: Duration) -> bool {
    wait_until(patience, || nodes.list.iter_mut().all(super::nodes::Node::is_alive)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_take_turns_beginning_with_the_victim() {
        assert_eq!(
            assignment(4, &[1, 2, 3], Some(2), Aim::Leader),
            [[2, 3, 1], [3, 1, 2], [1, 2, 3], [2, 3, 1]]
        );
        assert_eq!(assignment(2, &[1, 2, 3], None, Aim::Leader), [[1, 2, 3], [2, 3, 1]]);
        assert_eq!(assignment(2, &[5], Some(5), Aim::Controller), [[5], [5]]);
    }

    #[test]
    fn a_controller_that_is_to_lead_nothing_comes_last() {
        let placed = assignment(4, &[1, 2, 3], Some(2), Aim::Controller);
        assert!(placed.iter().all(|it| it.len() == 3 && it[2] == 2), "{placed:?}");
        let leaders: std::collections::BTreeSet<i32> = placed.iter().map(|it| it[0]).collect();
        assert_eq!(leaders, [1, 3].into());
    }

    #[test]
    fn the_victim_is_whom_the_drill_aims_at() {
        assert_eq!(choose_victim(Aim::Both, 2, &[1, 2, 3], 1), 2);
        assert_eq!(choose_victim(Aim::Controller, 3, &[1, 2, 3], 1), 3);
        let others: Vec<i32> =
            (1..=2).map(|round| choose_victim(Aim::Leader, 2, &[1, 2, 3], round)).collect();
        assert_eq!(others, [3, 1]);
        assert_eq!(choose_victim(Aim::Leader, 1, &[1], 1), 1);
    }
}
