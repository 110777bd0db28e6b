//! Membership in a classic consumer group: join, sync, heartbeats, commits. Rebalances are eager: a member
//! gives up everything and is assigned anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use milena_wire::ErrorCode;
use milena_wire::heartbeat::HeartbeatRequest;
use milena_wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use milena_wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use milena_wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::options::GroupOptions;
use super::protocol::{
    Assignment, Subscription, assign_ranges, decode_assignment, decode_subscription, encode_assignment,
    encode_subscription,
};
use crate::retry::Retry;
use crate::{Client, Error, Target};

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
/// What the answer to a JoinGroup may take beyond the rebalance itself, as in Java.
const JOIN_GRACE: Duration = Duration::from_secs(5);

pub(crate) struct Membership {
    client: Client,
    pub(super) options: GroupOptions,
    topics: Subscription,
    pub(super) member_id: String,
    pub(super) generation: i32,
    signal: Arc<Signal>,
    heartbeats: Option<JoinHandle<()>>,
}

/// How the heartbeats tell the consumer that it must join again.
#[derive(Default)]
pub(crate) struct Signal {
    due: AtomicBool,
    /// The group went on without this member: what it commits now would be refused.
    lost: AtomicBool,
    notify: Notify,
}

impl Signal {
    fn raise(&self, lost: bool) {
        self.lost.fetch_or(lost, Ordering::Relaxed);
        self.due.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) async fn raised(&self) {
        while !self.is_due() {
            self.notify.notified().await;
        }
    }

    fn clear(&self) {
        self.due.store(false, Ordering::Relaxed);
        self.lost.store(false, Ordering::Relaxed);
    }
}

impl Membership {
    pub(crate) fn new(client: Client, options: GroupOptions, topics: Subscription) -> Self {
        let signal = Arc::new(Signal::default());
        signal.raise(true);
        Self { client, options, topics, member_id: String::new(), generation: -1, signal, heartbeats: None }
    }

    pub(crate) fn signal(&self) -> Arc<Signal> {
        self.signal.clone()
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target::Group(&self.options.group_id)
    }

    /// Joins, or joins again, and returns what this member reads from now on.
    pub(crate) async fn join(&mut self) -> Result<Assignment, Error> {
        self.stop_heartbeats();
        let mut retry = Retry::new(self.client.options());
        loop {
            self.signal.clear();
            let error = match self.join_once().await {
                Ok(assignment) => {
                    self.start_heartbeats();
                    return Ok(assignment);
                }
                Err(error) => error,
            };
            self.client.forget_route(self.target(), &error);
            match error.code() {
                // The new member id came with the refusal (KIP-394).
                Some(ErrorCode::MemberIdRequired) => {}
                Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => self.member_id.clear(),
                Some(ErrorCode::RebalanceInProgress) => {}
                _ => retry.pause_after(error).await?,
            }
        }
    }

    async fn join_once(&mut self) -> Result<Assignment, Error> {
        let joined = self.send_join().await?;
        if joined.error_code != 0 {
            if joined.error_code == ErrorCode::MemberIdRequired.code() {
                self.member_id = joined.member_id.to_string();
            }
            return Err(self.refused("join", joined.error_code));
        }
        self.member_id = joined.member_id.to_string();
        self.generation = joined.generation_id;
        let assignments = match joined.leader == joined.member_id {
            true => self.assign(&joined).await?,
            false => BTreeMap::new(),
        };
        let request = SyncGroupRequest {
            group_id: self.options.group_id.as_str().into(),
            generation_id: self.generation,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.instance_id(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(PROTOCOL.into()),
            assignments: assignments
                .iter()
                .map(|(member_id, assignment)| SyncGroupRequestAssignment {
                    member_id: member_id.into(),
                    assignment: encode_assignment(assignment),
                })
                .collect(),
        };
        let patience = self.options.rebalance_timeout + JOIN_GRACE;
        let synced = self.client.send_patiently(self.target(), request, i16::MAX, patience).await?;
        match synced.error_code {
            0 => decode_assignment(synced.assignment).ok_or_else(|| {
                self.refused("read the assignment of", ErrorCode::InconsistentGroupProtocol.code())
            }),
            code => Err(self.refused("sync with", code)),
        }
    }

    async fn send_join(&self) -> Result<JoinGroupResponse, Error> {
        let protocol =
            JoinGroupRequestProtocol { name: PROTOCOL.into(), metadata: encode_subscription(&self.topics) };
        let request = JoinGroupRequest {
            group_id: self.options.group_id.as_str().into(),
            session_timeout_ms: millis(self.options.session_timeout),
            rebalance_timeout_ms: millis(self.options.rebalance_timeout),
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![protocol],
            reason: None,
        };
        let patience = self.options.rebalance_timeout + JOIN_GRACE;
        self.client.send_patiently(self.target(), request, i16::MAX, patience).await
    }

    /// The leader's work: everybody's partitions. Topics that do not exist are nobody's.
    async fn assign(&self, joined: &JoinGroupResponse) -> Result<BTreeMap<String, Assignment>, Error> {
        let read = |bytes| decode_subscription(bytes).unwrap_or_default();
        let members: BTreeMap<String, Subscription> =
            joined.members.iter().map(|it| (it.member_id.to_string(), read(it.metadata.clone()))).collect();
        let mut partitions = BTreeMap::new();
        for topic in members.values().flatten() {
            match self.client.refresh(&[topic]).await {
                Ok(metadata) => {
                    let count = metadata.topic(topic).map_or(0, |it| it.partitions.len());
                    partitions.insert(topic.clone(), count as i32);
                }
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(assign_ranges(&members, &partitions))
    }

    fn start_heartbeats(&mut self) {
        let request = HeartbeatRequest {
            group_id: self.options.group_id.as_str().into(),
            generation_id: self.generation,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.instance_id(),
        };
        let beating = heartbeats(self.client.clone(), self.options.clone(), request, self.signal.clone());
        self.heartbeats = Some(tokio::spawn(beating));
    }

    fn stop_heartbeats(&mut self) {
        if let Some(heartbeats) = self.heartbeats.take() {
            heartbeats.abort();
        }
    }

    /// Leaves, so that the others need not wait for the session time-out. Static members stay, as in Java.
    pub(crate) async fn leave(&mut self) -> Result<(), Error> {
        self.stop_heartbeats();
        if self.options.instance_id.is_some() || self.member_id.is_empty() {
            return Ok(());
        }
        let member = MemberIdentity { member_id: self.member_id.as_str().into(), ..Default::default() };
        let request = LeaveGroupRequest {
            group_id: self.options.group_id.as_str().into(),
            member_id: self.member_id.as_str().into(),
            members: vec![member],
        };
        let left = self.client.send_once(self.target(), request, i16::MAX).await?;
        self.member_id.clear();
        match left.error_code {
            0 => Ok(()),
            code => Err(self.refused("leave", code)),
        }
    }

    pub(super) fn instance_id(&self) -> Option<milena_wire::Text> {
        self.options.instance_id.as_deref().map(Into::into)
    }

    pub(super) fn refused(&self, verb: &str, code: i16) -> Error {
        Error::refused(format!("{verb} group {}", self.options.group_id), code, None)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop_heartbeats();
    }
}

/// Tells the coordinator that the member lives, until it must join again.
async fn heartbeats(client: Client, options: GroupOptions, request: HeartbeatRequest, signal: Arc<Signal>) {
    let target = Target::Group(&options.group_id);
    let mut heard = Instant::now();
    loop {
        sleep(options.heartbeat_interval).await;
        let error = match client.send_once(target, request.clone(), i16::MAX).await {
            Ok(answer) if answer.error_code == 0 => {
                heard = Instant::now();
                continue;
            }
            Ok(answer) => Error::refused("heartbeat", answer.error_code, None),
            Err(error) => error,
        };
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => return signal.raise(false),
            Some(code) if !code.is_retriable() => return signal.raise(true),
            _ if heard.elapsed() > options.session_timeout => return signal.raise(true),
            _ => client.forget_route(target, &error),
        }
    }
}

fn millis(time: Duration) -> i32 {
    time.as_millis().try_into().unwrap_or(i32::MAX)
}
