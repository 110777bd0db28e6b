//! What the leader of `cluster` does by itself: it fences the dead, lets those who are back take part, grants the
//! leases that brokers act by, and evens out leaderships.
//!
//! All of it ends with the leadership. A decision is void if the metadata has moved on, and nothing is proposed
//! once another term has begun; what a deposed controller still says does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::decide::elect::{self, ElectionType};
use milena_metadata::decide::{Decision, brokers};
use milena_metadata::{BrokerId, Image, Record, Refusal};
use milena_peer::liveness::{Incarnation, PeerHealth, Verdict, boottime};
use milena_quorum::GroupHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::balance::Balance;
use super::fencing::{Action, Fencing, Why};
use super::{Committed, Controller};
use crate::liveness::{Liveness, broker, node};
use crate::settings::Settings;

/// How often leaderships are looked at, unless `leader.imbalance.check.interval.seconds` differs from Kafka's default.
const LOOK: Duration = Duration::from_secs(10);
/// Kafka's default of that setting.
const KAFKAS_LOOK_S: i64 = 300;
/// Elections of one decision that have a line of their own in the log.
const MOST_LINES: usize = 50;

/// The tasks, on every broker; idle where it does not lead.
pub(crate) struct ControllerTasks {
    /// Decides and proposes here only: what is decided as the controller must not be forwarded to the next one. A
    /// turn of its own, as handlers may be waiting for a leader that is dead.
    controller: Controller,
    cluster: GroupHandle,
    committed: Committed,
    liveness: Liveness,
    settings: Arc<Settings>,
}

impl ControllerTasks {
    pub(crate) fn new(
        cluster: &GroupHandle,
        committed: &Committed,
        liveness: &Liveness,
        settings: Arc<Settings>,
    ) -> Self {
        let (cluster, committed, liveness) = (cluster.clone(), committed.clone(), liveness.clone());
        let controller = Controller::new(cluster.clone(), None, committed.clone());
        Self { controller, cluster, committed, liveness, settings }
    }

    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut leader = self.cluster.leader();
        // The term that was begun here, and whoever was dead fenced.
        let mut begun = 0;
        loop {
            let now = *leader.borrow_and_update();
            if now.leader == Some(self.cluster.node_id()) && !now.is_self && begun < now.term {
                begun = now.term;
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.begin(now.term) => {}
                }
                continue;
            }
            if now.is_self {
                info!(term = now.term, "this broker is the controller");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.lead(now.term) => {}
                }
                self.liveness.beats().grant_to(BTreeMap::new());
                info!(term = now.term, "this broker is no longer the controller");
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = leader.changed() => if changed.is_err() { return },
            }
        }
    }

    fn leads(&self, term: u64) -> bool {
        let now = *self.cluster.leader().borrow();
        now.is_self && now.term == term
    }

    /// Fences the dead with the first entries of the term. What was committed before is not known to be complete
    /// here; if it is not, the command was decided on another state, does nothing, and is decided once more.
    async fn begin(&self, term: u64) {
        let mut leader = self.cluster.leader();
        let lost = leader.wait_for(|now| now.term != term || now.leader != Some(self.cluster.node_id()));
        tokio::select! {
            _ = lost => {}
            () = self.fence_the_dead(term) => {}
        }
    }

    async fn fence_the_dead(&self, term: u64) {
        let health = self.health();
        let elected = || {
            let now = *self.cluster.leader().borrow();
            now.term == term && now.leader == Some(self.cluster.node_id())
        };
        let is_dead = |action: &Action| matches!(action, Action::Fence(_, Why::Dead(_)));
        let decide = |image: &Image| match elected() {
            true => {
                let actions = Fencing::default().actions(image, &health, boottime());
                self.carry_out(image, actions.into_iter().filter(is_dead).collect())
            }
            false => Ok(Decision::unchanged((Vec::new(), Vec::new()))),
        };
        self.change(term, decide).await;
    }

    /// One term.
    async fn lead(&self, term: u64) {
        let mut leader = self.cluster.leader();
        let mut health = self.liveness.peers();
        let mut images = self.committed.changes();
        let mut fencing = Fencing::default();
        let mut balance = Balance::default();
        let mut recheck = interval(Fencing::recheck());
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(self.between_looks());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.leads(term) {
            leader.borrow_and_update();
            health.borrow_and_update();
            images.borrow_and_update();
            self.fence_and_unfence(term, &mut fencing).await;
            tokio::select! {
                changed = leader.changed() => if changed.is_err() { return },
                changed = health.changed() => if changed.is_err() { return },
                changed = images.changed() => if changed.is_err() { return },
                _ = recheck.tick() => {}
                _ = looks.tick() => self.even_out(term, &mut balance).await,
            }
        }
    }

    /// All brokers with this one among them, as its own peers would see it.
    fn health(&self) -> BTreeMap<BrokerId, PeerHealth> {
        let peers = self.liveness.peers();
        let mut health: BTreeMap<_, _> =
            peers.borrow().iter().map(|(id, peer)| (broker(*id), peer.clone())).collect();
        let (id, incarnation) = self.liveness.me();
        let me = PeerHealth {
            incarnation: Some(incarnation),
            saying: self.liveness.saying(),
            verdict: Verdict::Alive,
            ..PeerHealth::default()
        };
        health.insert(id, me);
        health
    }

    async fn fence_and_unfence(&self, term: u64, fencing: &mut Fencing) {
        let health = self.health();
        let decide = |image: &Image| match self.leads(term) {
            true => self.carry_out(image, fencing.actions(image, &health, boottime())),
            false => Ok(Decision::unchanged((Vec::new(), Vec::new()))),
        };
        self.change(term, decide).await;
        self.grant_leases(term);
    }

    /// The records that these actions take.
    fn carry_out(&self, image: &Image, actions: Vec<Action>) -> Result<Decision<Done>, Refusal> {
        let config = self.settings.broker().clone();
        let mut next = image.clone();
        let mut records = Vec::new();
        for action in &actions {
            let decision = match *action {
                Action::Fence(id, _) => brokers::fence(&next, &config, id)?,
                Action::Unfence(id, epoch) => brokers::unfence(&next, &config, id, epoch)?,
            };
            next = decision.foresee(&next);
            records.extend(decision.records);
        }
        let elections = elections(image, &records);
        Ok(Decision { records, answer: (actions, elections) })
    }

    async fn change(&self, term: u64, decide: impl FnMut(&Image) -> Result<Decision<Done>, Refusal>) {
        match self.controller.change(decide).await {
            Ok(changed) => self.log(term, changed.index, &changed.answer.0, &changed.answer.1),
            Err(error) => warn!(term, %error, "brokers neither fenced nor unfenced"),
        }
    }

    /// Whoever is not fenced may act.
    fn grant_leases(&self, term: u64) {
        if self.leads(term) {
            let image = self.committed.image();
            let live = image.live_brokers().map(|it| (node(it.id), Incarnation(it.incarnation.0)));
            self.liveness.beats().grant_to(live.collect());
        }
    }

    fn between_looks(&self) -> Duration {
        match self.settings.broker().leader_imbalance_check_interval_seconds() {
            KAFKAS_LOOK_S => LOOK,
            seconds => Duration::from_secs(seconds.max(1) as u64),
        }
    }

    async fn even_out(&self, term: u64, balance: &mut Balance) {
        let config = self.settings.broker().clone();
        if !config.auto_leader_rebalance_enable() {
            return;
        }
        let moves = balance.look(&self.committed.image(), config.leader_imbalance_per_broker_percentage());
        if moves.is_empty() {
            return;
        }
        let decide = |image: &Image| {
            if !self.leads(term) {
                return Ok(Decision::unchanged(Vec::new()));
            }
            let decision = elect::elect(image, ElectionType::Preferred, Some(&moves));
            let elections = elections(image, &decision.records);
            Ok::<_, Refusal>(Decision { records: decision.records, answer: elections })
        };
        match self.controller.change(decide).await {
            Ok(changed) => {
                info!(term, moved = changed.answer.len(), "leaderships went back to preferred replicas");
                changed
                    .answer
                    .iter()
                    .take(MOST_LINES)
                    .for_each(|it| it.log("preferred replica is in sync again", None));
            }
            Err(error) => warn!(term, %error, "leaderships not evened out"),
        }
    }

    fn log(&self, term: u64, index: u64, actions: &[Action], elections: &[Election]) {
        for action in actions {
            match action {
                Action::Fence(id, why) => {
                    let silent = self.liveness.beats().silence(node(*id)).0;
                    let led = elections.iter().filter(|it| it.from == Some(*id));
                    let (moved, orphaned): (Vec<_>, Vec<_>) = led.clone().partition(|it| it.to.is_some());
                    warn!(
                        broker = %id, %why, term, index, moved = moved.len(), leaderless = orphaned.len(),
                        silent_ms = silent.as_millis() as u64, "broker fenced"
                    );
                    led.take(MOST_LINES).for_each(|it| it.log("its leader was fenced", Some(silent)));
                }
                Action::Unfence(id, epoch) => {
                    info!(broker = %id, epoch = epoch.0, term, index, "broker takes part again");
                    let led = elections.iter().filter(|it| it.to == Some(*id));
                    led.take(MOST_LINES).for_each(|it| it.log("a broker that may lead it is back", None));
                }
            }
        }
    }
}

/// What was done about brokers, and the changes of leaders that this meant.
type Done = (Vec<Action>, Vec<Election>);

/// A change of leader.
#[derive(Debug)]
struct Election {
    topic: String,
    partition: i32,
    from: Option<BrokerId>,
    to: Option<BrokerId>,
    epoch: i32,
}

impl Election {
    fn log(&self, why: &str, leaderless: Option<Duration>) {
        let id = |broker: Option<BrokerId>| broker.map_or(-1, |id| id.0);
        info!(
            topic = self.topic,
            partition = self.partition,
            from = id(self.from),
            to = id(self.to),
            epoch = self.epoch,
            why,
            leaderless_ms = leaderless.map(|it| it.as_millis() as u64),
            "leader elected"
        );
    }
}

/// The changes of leaders among the records.
fn elections(before: &Image, records: &[Record]) -> Vec<Election> {
    let election = |record: &Record| {
        let Record::PartitionSet { topic, index, partition } = record else { return None };
        let from = before.partition(*topic, *index)?.leader;
        (from != partition.leader).then(|| Election {
            topic: before.topic_by_id(*topic).map(|topic| topic.name.to_string()).unwrap_or_default(),
            partition: *index,
            from,
            to: partition.leader,
            epoch: partition.leader_epoch.0,
        })
    };
    records.iter().filter_map(election).collect()
}
