//! Requests to whom they belong: connections, routing, metadata, and trying again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milena_wire::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use milena_wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use milena_wire::{ApiKey, ErrorCode, Request};

use crate::address::Address;
use crate::connection::{Connection, Pending};
use crate::retry::Retry;
use crate::{BrokerVersions, ClientOptions, Error, Metadata, Target, Topic};

/// Coordinators remembered at once; beyond that all are asked for anew.
const MAX_COORDINATORS: usize = 1_024;

/// A client of one cluster. Clones share connections and metadata.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: ClientOptions,
    bootstrap: Vec<Address>,
    metadata: Mutex<Arc<Metadata>>,
    /// One place per address and lane, so that two callers do not open two connections.
    connections: Mutex<HashMap<(Address, Lane), Arc<Place>>>,
    /// Broker id by key type and key.
    coordinators: Mutex<HashMap<(i8, String), i32>>,
    /// Addresses that did not answer the last time, the latest last. Bounded by the addresses there are.
    silent: Mutex<Vec<Address>>,
}

/// Brokers serve the requests of a connection one after the other, so those that wait in the broker have
/// connections of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    /// What is answered at once.
    Calls,
    /// Fetch, which waits for data.
    Fetches,
    /// Requests to coordinators: JoinGroup and SyncGroup wait for the other members.
    Coordinators,
}

impl Lane {
    fn of(api: ApiKey, target: Target<'_>) -> Self {
        match (api, target) {
            (ApiKey::Fetch, _) => Self::Fetches,
            (_, Target::Group(_) | Target::Transaction(_)) => Self::Coordinators,
            _ => Self::Calls,
        }
    }
}

type Place = tokio::sync::Mutex<Option<Connection>>;

impl Client {
    /// Connects to the first of `bootstrap` (each `host:port`, or several separated by commas) that answers,
    /// and learns from it which brokers there are.
    ///
    /// # Errors
    /// At once when nobody listens at any address: a client that starts waits for no broker.
    pub async fn connect(bootstrap: &[String], options: ClientOptions) -> Result<Self, Error> {
        let client = Self {
            inner: Arc::new(Inner {
                options,
                bootstrap: Address::parse_list(bootstrap)?,
                metadata: Mutex::default(),
                connections: Mutex::default(),
                coordinators: Mutex::default(),
                silent: Mutex::default(),
            }),
        };
        client.ask_metadata(&[], false).await?;
        Ok(client)
    }

    /// As given to [`Client::connect`].
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Sends `request` in the highest version that both sides speak.
    ///
    /// The answer is returned whatever error codes it holds; lost connections are tried again until the
    /// deadline, so a request may reach the broker twice.
    pub async fn send_to<R>(&self, target: Target<'_>, request: R) -> Result<R::Response, Error>
    where
        R: Request + Clone + Send + 'static,
    {
        self.send_retrying(target, request, i16::MAX, |_| 0).await
    }

    /// As [`Client::send_to`], in a version of at most `most`: for requests of which later versions name topics
    /// by id, and for tests of versions.
    pub async fn send_at_most<R>(
        &self,
        target: Target<'_>,
        request: R,
        most: i16,
    ) -> Result<R::Response, Error>
    where
        R: Request + Clone + Send + 'static,
    {
        self.send_retrying(target, request, most, |_| 0).await
    }

    /// As [`Client::send_at_most`], and tries again until the deadline while `code_of` finds a retriable error
    /// code in the answer. The last answer is returned as it came.
    pub async fn send_retrying<R>(
        &self,
        target: Target<'_>,
        request: R,
        most: i16,
        code_of: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, Error>
    where
        R: Request + Clone + Send + 'static,
    {
        let mut retry = Retry::new(&self.inner.options);
        loop {
            let (error, answer) = match self.send_once(target, request.clone(), most).await {
                Ok(answer) => match code_of(&answer) {
                    0 => return Ok(answer),
                    code => (Error::refused(R::KEY.name(), code, None), Some(answer)),
                },
                Err(error) => (error, None),
            };
            self.forget_route(target, &error);
            match (retry.pause_after(error).await, answer) {
                (Ok(()), _) => {}
                (Err(_), Some(answer)) => return Ok(answer),
                (Err(error), None) => return Err(error),
            }
        }
    }

    /// One try: no second one after a lost connection.
    pub async fn send_once<R>(&self, target: Target<'_>, request: R, most: i16) -> Result<R::Response, Error>
    where
        R: Request + Send + 'static,
    {
        self.send_patiently(target, request, most, Duration::ZERO).await
    }

    /// As [`Client::send_once`], for a request that the broker may keep for `patience`.
    pub(crate) async fn send_patiently<R>(
        &self,
        target: Target<'_>,
        request: R,
        most: i16,
        patience: Duration,
    ) -> Result<R::Response, Error>
    where
        R: Request + Send + 'static,
    {
        self.connection(target, Lane::of(R::KEY, target)).await?.call(request, most, patience).await
    }

    /// Sends a request to a broker without waiting for the answer. Requests that are started one after the other
    /// reach the broker in that order, unless the connection is lost in between.
    pub(crate) async fn start<R>(&self, broker: i32, request: R, most: i16) -> Result<Pending<R>, Error>
    where
        R: Request + Send + 'static,
    {
        let target = Target::Broker(broker);
        self.connection(target, Lane::of(R::KEY, target)).await?.start(request, most, Duration::ZERO).await
    }

    /// Sends a request that is not answered (Produce with acks=0); done when the system has taken the bytes.
    pub async fn send_unanswered<R>(&self, target: Target<'_>, request: R, most: i16) -> Result<(), Error>
    where
        R: Request + Send + 'static,
    {
        self.connection(target, Lane::Calls).await?.send_unanswered(request, most).await
    }

    /// What the broker that `target` means serves.
    pub async fn versions(&self, target: Target<'_>) -> Result<BrokerVersions, Error> {
        Ok(self.connection(target, Lane::Calls).await?.versions().clone())
    }

    /// What is known of the cluster now, without asking.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.lock().unwrap().clone()
    }

    /// Asks for brokers, and for `topics` (none of them is created).
    ///
    /// # Errors
    /// When a topic cannot be described, with the broker's code; those that can are known afterwards.
    pub async fn refresh(&self, topics: &[&str]) -> Result<Arc<Metadata>, Error> {
        let mut retry = Retry::new(&self.inner.options);
        loop {
            match self.ask_metadata(topics, false).await {
                Ok(metadata) => return Ok(metadata),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => return Err(error),
                Err(error) => retry.pause_after(error).await?,
            }
        }
    }

    /// Asks for every topic of the cluster.
    pub async fn refresh_all(&self) -> Result<Arc<Metadata>, Error> {
        let request =
            MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
        let answer = self.send_to(Target::Any, request).await?;
        let (metadata, _) = self.take_in(&answer);
        Ok(metadata)
    }

    /// A topic whose partitions all have leaders; waits for them until the deadline. `create` lets the broker
    /// create the topic if `auto.create.topics.enable` is set; without it, an unknown topic fails at once.
    pub async fn topic(&self, name: &str, create: bool) -> Result<Arc<Topic>, Error> {
        let max_age = self.inner.options.metadata_max_age;
        let usable = |it: &&Arc<Topic>| it.is_led() && it.learnt.elapsed() < max_age;
        if let Some(topic) = self.metadata().topic(name).filter(usable) {
            return Ok(topic.clone());
        }
        let mut retry = Retry::new(&self.inner.options);
        loop {
            let error = match self.ask_metadata(&[name], create).await {
                Ok(metadata) => match metadata.topic(name) {
                    Some(topic) if topic.is_led() => return Ok(topic.clone()),
                    _ => Error::refused(
                        format!("find the leaders of {name}"),
                        ErrorCode::LeaderNotAvailable.code(),
                        None,
                    ),
                },
                Err(error) if !create && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    return Err(error);
                }
                Err(error) => error,
            };
            retry.pause_after(error).await?;
        }
    }

    /// What is known of a topic, whether or not all its partitions have leaders, unless it is too old.
    pub(crate) fn known_topic(&self, name: &str) -> Option<Arc<Topic>> {
        let max_age = self.inner.options.metadata_max_age;
        self.metadata().topic(name).filter(|it| it.learnt.elapsed() < max_age).cloned()
    }

    /// Forgets what is known of a topic, after an answer that says it is out of date.
    pub fn forget_topic(&self, name: &str) {
        Arc::make_mut(&mut self.inner.metadata.lock().unwrap()).forget(name);
    }

    /// The id of the coordinator of a group or transactional id, asked for if it is not known.
    pub async fn coordinator(&self, target: Target<'_>) -> Result<i32, Error> {
        let (key_type, key) = match target {
            Target::Group(key) => (0, key),
            Target::Transaction(key) => (1, key),
            _ => panic!("{target:?} has no coordinator"),
        };
        let known = self.inner.coordinators.lock().unwrap().get(&(key_type, key.to_owned())).copied();
        if let Some(id) = known {
            return Ok(id);
        }
        let mut retry = Retry::new(&self.inner.options);
        loop {
            match self.find_coordinator(key_type, key).await {
                Ok(id) => {
                    let mut coordinators = self.inner.coordinators.lock().unwrap();
                    if coordinators.len() >= MAX_COORDINATORS {
                        coordinators.clear();
                    }
                    coordinators.insert((key_type, key.to_owned()), id);
                    return Ok(id);
                }
                Err(error) => retry.pause_after(error).await?,
            }
        }
    }

    async fn find_coordinator(&self, key_type: i8, key: &str) -> Result<i32, Error> {
        let request =
            FindCoordinatorRequest { key: key.into(), key_type, coordinator_keys: vec![key.into()] };
        let answer = self.any().await?.call(request, i16::MAX, Duration::ZERO).await?;
        let FindCoordinatorResponse { error_code, error_message, node_id, coordinators, .. } = answer;
        let (code, message, id) = match coordinators.into_iter().next() {
            Some(it) => (it.error_code, it.error_message, it.node_id),
            None => (error_code, error_message, node_id),
        };
        if code != 0 {
            let message = message.map(String::from);
            return Err(Error::refused(format!("find the coordinator of {key}"), code, message));
        }
        if !self.metadata().brokers.contains_key(&id) {
            self.ask_metadata(&[], false).await?;
        }
        Ok(id)
    }

    /// One Metadata request to whoever answers. No topics means brokers only.
    pub(crate) async fn ask_metadata(&self, topics: &[&str], create: bool) -> Result<Arc<Metadata>, Error> {
        let named = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(topics.iter().map(named).collect()),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let answer = self.any().await?.call(request, i16::MAX, Duration::ZERO).await?;
        let (metadata, failed) = self.take_in(&answer);
        match failed.into_iter().next() {
            Some((name, code)) => Err(Error::refused(format!("describe topic {name}"), code, None)),
            None => Ok(metadata),
        }
    }

    fn take_in(&self, answer: &MetadataResponse) -> (Arc<Metadata>, Vec<(String, i16)>) {
        let mut known = self.inner.metadata.lock().unwrap();
        let failed = Arc::make_mut(&mut known).update(answer);
        let metadata = known.clone();
        drop(known);
        // Brokers that are gone, or moved, leave no connection behind.
        let mut connections = self.inner.connections.lock().unwrap();
        connections.retain(|(address, _), _| {
            self.inner.bootstrap.contains(address)
                || metadata.brokers.values().any(|it| it.host == address.host && it.port == address.port)
        });
        (metadata, failed)
    }

    async fn connection(&self, target: Target<'_>, lane: Lane) -> Result<Connection, Error> {
        let id = match target {
            Target::Any => return self.any().await,
            Target::Broker(id) => id,
            Target::Group(_) | Target::Transaction(_) => self.coordinator(target).await?,
            Target::Controller => match self.metadata().controller {
                Some(id) => id,
                None => {
                    let metadata = self.ask_metadata(&[], false).await?;
                    let none = ErrorCode::BrokerNotAvailable.code();
                    metadata.controller.ok_or_else(|| Error::refused("find the controller", none, None))?
                }
            },
        };
        let address = self.metadata().address(id);
        let address = match address {
            Ok(address) => address,
            Err(_) => self.ask_metadata(&[], false).await?.address(id)?,
        };
        self.connection_to(address, lane).await
    }

    /// The broker that owes the fewest answers among those to which a connection is open, so that one that is stuck
    /// is not asked again and again; else the first that takes a connection.
    async fn any(&self) -> Result<Connection, Error> {
        let places: Vec<_> = {
            let connections = self.inner.connections.lock().unwrap();
            connections
                .iter()
                .filter(|((_, lane), _)| *lane == Lane::Calls)
                .map(|(_, place)| place.clone())
                .collect()
        };
        let open = places.iter().filter_map(|it| it.try_lock().ok()?.clone().filter(Connection::is_open));
        if let Some(open) = open.min_by_key(Connection::in_flight) {
            return Ok(open);
        }
        let metadata = self.metadata();
        let known = metadata.brokers.keys().filter_map(|id| metadata.address(*id).ok());
        let mut candidates: Vec<_> = known.chain(self.inner.bootstrap.iter().cloned()).collect();
        let silent = self.inner.silent.lock().unwrap().clone();
        candidates.sort_by_key(|it| silent.iter().position(|silent| silent == it).map_or(0, |at| at + 1));
        let mut first_error = None;
        for address in candidates {
            match self.connection_to(address, Lane::Calls).await {
                Ok(connection) => return Ok(connection),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.expect("the bootstrap list is not empty"))
    }

    async fn connection_to(&self, address: Address, lane: Lane) -> Result<Connection, Error> {
        let place =
            self.inner.connections.lock().unwrap().entry((address.clone(), lane)).or_default().clone();
        let mut place = place.lock().await;
        match &*place {
            Some(open) if open.is_open() => Ok(open.clone()),
            _ => {
                let opened = Connection::open(&address, &self.inner.options).await;
                let mut silent = self.inner.silent.lock().unwrap();
                silent.retain(|it| *it != address);
                if opened.is_err() {
                    silent.push(address);
                }
                drop(silent);
                let opened = opened?;
                *place = Some(opened.clone());
                Ok(opened)
            }
        }
    }

    /// After a failure, the next try finds its way anew.
    pub(crate) fn forget_route(&self, target: Target<'_>, error: &Error) {
        let coordinator = match target {
            Target::Group(key) => (0, key.to_owned()),
            Target::Transaction(key) => (1, key.to_owned()),
            Target::Controller if error.is_retriable() => {
                Arc::make_mut(&mut self.inner.metadata.lock().unwrap()).controller = None;
                return;
            }
            _ => return,
        };
        self.inner.coordinators.lock().unwrap().remove(&coordinator);
    }
}
