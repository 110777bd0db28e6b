//! Positions in partitions, and the fetches that move them: one under way per broker, the next one started
//! before the last one's records are handed out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use milena_wire::ErrorCode;
use milena_wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::fetched::{Fetched, take_apart};
use super::offsets::{TopicPartition, leader, resolve};
use super::options::{ConsumerOptions, OffsetReset, OffsetSpec};
use crate::{Client, Error, Target};

/// The last version of Fetch that names topics by name.
const FETCH_BY_NAME: i16 = 12;

pub(crate) struct Fetcher {
    client: Client,
    options: ConsumerOptions,
    positions: BTreeMap<TopicPartition, Position>,
    fetches: JoinSet<Answer>,
    /// Brokers that are not to be asked before a time, or, without one, that are being asked.
    busy: HashMap<i32, Option<Instant>>,
    rounds: usize,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    At(i64),
    Wanted(OffsetSpec),
}

/// What a broker was asked, and what it said.
struct Answer {
    broker: i32,
    asked: BTreeMap<TopicPartition, i64>,
    answer: Result<FetchResponse, Error>,
}

impl Fetcher {
    pub(crate) fn new(client: Client, options: ConsumerOptions) -> Self {
        Self {
            client,
            options,
            positions: BTreeMap::new(),
            fetches: JoinSet::new(),
            busy: HashMap::new(),
            rounds: 0,
        }
    }

    /// Reads these partitions and no others from now on.
    pub(crate) fn assign(&mut self, partitions: BTreeMap<TopicPartition, OffsetSpec>) {
        self.positions = partitions.into_iter().map(|(it, spec)| (it, Position::Wanted(spec))).collect();
    }

    /// Goes on elsewhere. Whether the partition is read at all.
    pub(crate) fn seek(&mut self, partition: &TopicPartition, spec: OffsetSpec) -> bool {
        let wanted = match spec {
            // An offset is a position already: a commit that follows at once has to know it.
            OffsetSpec::At(offset) => Position::At(offset),
            spec => Position::Wanted(spec),
        };
        self.positions.get_mut(partition).map(|position| *position = wanted).is_some()
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.positions.keys()
    }

    /// Where each partition goes on, as far as that is known.
    pub(crate) fn positions(&self) -> BTreeMap<TopicPartition, i64> {
        let known = |(partition, position): (&TopicPartition, &Position)| match position {
            Position::At(offset) => Some((partition.clone(), *offset)),
            Position::Wanted(_) => None,
        };
        self.positions.iter().filter_map(known).collect()
    }

    /// The next records of any partition; none when there are none until `deadline`.
    ///
    /// May be dropped at any time without losing records.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Vec<Fetched>, Error> {
        loop {
            let wake_at = match timeout_at(deadline, self.start_fetches()).await {
                Ok(started) => started?,
                Err(_) => return Ok(Vec::new()),
            };
            tokio::select! {
                Some(answer) = self.fetches.join_next() => {
                    let fetched = self.take_in(answer.expect("a fetch's task does not panic"))?;
                    if !fetched.is_empty() {
                        // The broker works on the next answer while the application works on this one.
                        let _ = timeout_at(Instant::now(), self.start_fetches()).await;
                        return Ok(fetched);
                    }
                }
                () = sleep_until(wake_at.map_or(deadline, |at| at.min(deadline))) => {
                    if Instant::now() >= deadline {
                        return Ok(Vec::new());
                    }
                }
            }
        }
    }

    /// Looks up what is needed and asks every broker that is not being asked; returns when to try again.
    async fn start_fetches(&mut self) -> Result<Option<Instant>, Error> {
        self.resolve_wanted().await?;
        let now = Instant::now();
        self.busy.retain(|_, until| until.is_none_or(|at| at > now));
        let mut by_broker: HashMap<i32, BTreeMap<TopicPartition, i64>> = HashMap::new();
        for (partition, offset) in self.positions() {
            let leader = leader(&self.client, &partition).await?;
            if !self.busy.contains_key(&leader) {
                by_broker.entry(leader).or_default().insert(partition, offset);
            }
        }
        self.rounds = self.rounds.wrapping_add(1);
        for (broker, asked) in by_broker {
            self.busy.insert(broker, None);
            let request = request(&asked, &self.options, self.rounds);
            let client = self.client.clone();
            self.fetches.spawn(async move {
                let answer = client.send_once(Target::Broker(broker), request, FETCH_BY_NAME).await;
                Answer { broker, asked, answer }
            });
        }
        Ok(self.busy.values().flatten().min().copied())
    }

    async fn resolve_wanted(&mut self) -> Result<(), Error> {
        let wanted = |(partition, position): (&TopicPartition, &Position)| match position {
            Position::Wanted(spec) => Some((partition.clone(), *spec)),
            Position::At(_) => None,
        };
        let wanted: BTreeMap<_, _> = self.positions.iter().filter_map(wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for (partition, offset) in resolve(&self.client, &wanted, self.options.read_committed).await? {
            self.positions.insert(partition, Position::At(offset));
        }
        Ok(())
    }

    fn take_in(&mut self, answer: Answer) -> Result<Vec<Fetched>, Error> {
        let Answer { broker, asked, answer } = answer;
        self.busy.remove(&broker);
        let answer = match answer {
            Ok(answer) if answer.error_code == 0 => answer,
            Ok(answer) => return Err(Error::refused("fetch", answer.error_code, None)),
            Err(error) if error.is_retriable() => {
                asked.keys().for_each(|(topic, _)| self.client.forget_topic(topic));
                self.pause(broker);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut fetched = Vec::new();
        for topic in answer.responses {
            let name: Arc<str> = topic.topic.as_str().into();
            for data in topic.partitions {
                let partition = (name.to_string(), data.partition_index);
                let asked = asked.get(&partition).copied();
                // What was asked before a seek or another assignment is of no use now.
                match self.positions.get(&partition) {
                    Some(Position::At(offset)) if Some(*offset) == asked => {
                        fetched.extend(self.take_partition(broker, &name, *offset, data)?);
                    }
                    _ => {}
                }
            }
        }
        Ok(fetched)
    }

    fn take_partition(
        &mut self,
        broker: i32,
        topic: &Arc<str>,
        offset: i64,
        data: PartitionData,
    ) -> Result<Vec<Fetched>, Error> {
        let partition = (topic.to_string(), data.partition_index);
        let what = || format!("fetch {topic}-{} from offset {offset}", data.partition_index);
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::OffsetOutOfRange) => {
                let reset = reset(self.options.reset);
                let reset = reset.ok_or_else(|| Error::refused(what(), data.error_code, None))?;
                self.positions.insert(partition, Position::Wanted(reset));
                return Ok(Vec::new());
            }
            Some(code) if code.is_retriable() || code == ErrorCode::FencedLeaderEpoch => {
                self.client.forget_topic(topic);
                self.pause(broker);
                return Ok(Vec::new());
            }
            _ => return Err(Error::refused(what(), data.error_code, None)),
        }
        let bytes = data.records.map(|it| it.into_bytes()).unwrap_or_default();
        let aborted = data.aborted_transactions.unwrap_or_default();
        let (index, high_watermark) = (data.partition_index, data.high_watermark);
        let (fetched, next) =
            take_apart(topic, index, offset, high_watermark, &bytes, aborted, &self.options)?;
        self.positions.insert(partition, Position::At(next));
        Ok(fetched)
    }

    fn pause(&mut self, broker: i32) {
        self.busy.insert(broker, Some(Instant::now() + self.client.options().retry_backoff));
    }
}

/// Where to go on without a valid position; `None` to fail.
pub(crate) fn reset(reset: OffsetReset) -> Option<OffsetSpec> {
    match reset {
        OffsetReset::Earliest => Some(OffsetSpec::Earliest),
        OffsetReset::Latest => Some(OffsetSpec::Latest),
        OffsetReset::None => None,
    }
}

/// Partitions take turns at being first, as the broker fills its answer in the order of the request (FE-4).
fn request(asked: &BTreeMap<TopicPartition, i64>, options: &ConsumerOptions, rounds: usize) -> FetchRequest {
    let limit = |bytes: usize| bytes.try_into().unwrap_or(i32::MAX);
    let first = rounds % asked.len();
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic, partition), offset) in asked.iter().skip(first).chain(asked.iter().take(first)) {
        if topics.last().is_none_or(|last| last.topic != *topic.as_str()) {
            topics.push(FetchTopic { topic: topic.into(), ..Default::default() });
        }
        let partition = FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: limit(options.partition_max_bytes),
            ..Default::default()
        };
        topics.last_mut().expect("one was just pushed").partitions.push(partition);
    }
    FetchRequest {
        replica_id: -1,
        max_wait_ms: options.max_wait.as_millis().try_into().unwrap_or(i32::MAX),
        min_bytes: limit(options.min_bytes),
        max_bytes: limit(options.max_bytes),
        isolation_level: i8::from(options.read_committed),
        topics,
        ..Default::default()
    }
}
