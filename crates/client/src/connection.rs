//! One connection: requests are pipelined, answers come back in the order of the requests.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use milena_wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use milena_wire::{ApiKey, ErrorCode, Message, Reader, Request, frame};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::Address;
use crate::error::Served;
use crate::link::{Encode, Link, Outgoing};
use crate::transport::{Transport, unreachable};
use crate::{BrokerVersions, ClientOptions, Error};

/// An open connection to a broker whose versions are known. Clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    versions: Arc<BrokerVersions>,
}

struct Shared {
    address: String,
    client_id: String,
    request_timeout: Duration,
    in_flight: AtomicUsize,
    link: Link,
}

/// A request that was sent and is to be answered.
pub(crate) struct Pending<R> {
    shared: Arc<Shared>,
    version: i16,
    answered: oneshot::Receiver<Result<Bytes, Error>>,
    deadline: Instant,
    after: Duration,
    request: PhantomData<fn() -> R>,
}

impl Connection {
    /// Opens a connection and asks what the broker serves, all within the connect time-out.
    pub(crate) async fn open(address: &Address, options: &ClientOptions) -> Result<Self, Error> {
        let opening = async {
            let transport = Transport::connect(address).await?;
            let shared = Arc::new(Shared {
                address: address.to_string(),
                client_id: options.client_id.clone(),
                request_timeout: options.request_timeout,
                in_flight: AtomicUsize::new(0),
                link: Link::start(transport, address.to_string(), options),
            });
            let versions = Arc::new(BrokerVersions::new(shared.negotiate().await?));
            Ok(Self { shared, versions })
        };
        match timeout(options.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(unreachable(address, &std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// What the broker serves.
    pub(crate) fn versions(&self) -> &BrokerVersions {
        &self.versions
    }

    /// Whether requests can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.link.is_open()
    }

    /// Requests that wait for their answers.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Sends `request` in the highest common version up to `most`, and returns when it has its place in the order
    /// of requests. The answer may take the request time-out or `patience`, whichever is longer.
    pub(crate) async fn start<R>(
        &self,
        request: R,
        most: i16,
        patience: Duration,
    ) -> Result<Pending<R>, Error>
    where
        R: Request + Send + 'static,
    {
        let version = self.version(R::KEY, most)?;
        self.shared.start(request, version, patience).await
    }

    /// As [`Connection::start`], and waits for the answer.
    pub(crate) async fn call<R>(
        &self,
        request: R,
        most: i16,
        patience: Duration,
    ) -> Result<R::Response, Error>
    where
        R: Request + Send + 'static,
    {
        self.start(request, most, patience).await?.answer().await
    }

    /// Sends a request that is not answered (Produce with acks=0) and waits until the system has it.
    pub(crate) async fn send_unanswered<R>(&self, request: R, most: i16) -> Result<(), Error>
    where
        R: Request + Send + 'static,
    {
        let version = self.version(R::KEY, most)?;
        let (written, done) = oneshot::channel();
        let encode = self.shared.encoder(request, version);
        self.shared.link.push(Outgoing { encode, answer: None, written: Some(written) }).await?;
        done.await.map_err(|_| self.shared.link.why())
    }

    fn version(&self, api: ApiKey, most: i16) -> Result<i16, Error> {
        self.versions.highest(api, most).ok_or_else(|| Error::NoCommonVersion {
            api,
            address: self.shared.address.clone(),
            theirs: Served(self.versions.served(api)),
            ours: *api.versions().start()..=most.min(*api.versions().end()),
        })
    }
}

impl Shared {
    /// Asks in our newest version; a broker that does not know it says in the oldest what it knows (AV-1).
    async fn negotiate(self: &Arc<Self>) -> Result<ApiVersionsResponse, Error> {
        let newest = *ApiKey::ApiVersions.versions().end();
        let request = ApiVersionsRequest {
            client_software_name: "milena".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let mut answer = self.ask_versions(request.clone(), newest).await?;
        if answer.error_code == ErrorCode::UnsupportedVersion.code() {
            let row = answer.api_keys.iter().find(|row| row.api_key == ApiKey::ApiVersions.code());
            let version = row.map_or(0, |row| row.max_version.clamp(0, newest));
            answer = self.ask_versions(request, version).await?;
        }
        match answer.error_code {
            0 => Ok(answer),
            code => Err(Error::refused(format!("ask {} for its versions", self.address), code, None)),
        }
    }

    async fn ask_versions(
        self: &Arc<Self>,
        request: ApiVersionsRequest,
        version: i16,
    ) -> Result<ApiVersionsResponse, Error> {
        let bytes = self.start(request, version, Duration::ZERO).await?.bytes().await?;
        // The code comes first in every version, and an "unsupported version" is always written as version 0.
        let code = bytes.get(4..6).map(|it| i16::from_be_bytes([it[0], it[1]]));
        let version = if code == Some(ErrorCode::UnsupportedVersion.code()) { 0 } else { version };
        self.decode::<ApiVersionsRequest>(bytes, version)
    }

    async fn start<R>(
        self: &Arc<Self>,
        request: R,
        version: i16,
        patience: Duration,
    ) -> Result<Pending<R>, Error>
    where
        R: Request + Send + 'static,
    {
        let after = self.request_timeout.max(patience);
        let deadline = Instant::now() + after;
        let (answer, answered) = oneshot::channel();
        let outgoing =
            Outgoing { encode: self.encoder(request, version), answer: Some(answer), written: None };
        match timeout_at(deadline, self.link.push(outgoing)).await {
            Ok(pushed) => pushed?,
            Err(_) => return Err(self.give_up(R::KEY, after)),
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Pending { shared: self.clone(), version, answered, deadline, after, request: PhantomData })
    }

    /// No answer in time: what comes after it on this connection would wait behind it, so the connection ends.
    fn give_up(&self, api: ApiKey, after: Duration) -> Error {
        let error = Error::RequestTimedOut { api, address: self.address.clone(), after };
        self.link.end(error.clone());
        error
    }

    fn encoder<R>(&self, request: R, version: i16) -> Encode
    where
        R: Request + Send + 'static,
    {
        let client_id = self.client_id.clone();
        Box::new(move |correlation_id| {
            frame::encode_request(&request, version, correlation_id, Some(&client_id))
                .map_err(|reason| Error::BadRequest { api: R::KEY, reason })
        })
    }

    fn decode<R: Request>(&self, bytes: Bytes, version: i16) -> Result<R::Response, Error> {
        let mut reader = Reader::new(bytes);
        frame::get_response_header(&mut reader, R::KEY, version)
            .and_then(|_| R::Response::decode(&mut reader, version))
            .map_err(|reason| Error::BadAnswer { api: R::KEY, address: self.address.clone(), reason })
    }
}

impl<R> Drop for Pending<R> {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<R: Request> Pending<R> {
    /// Waits for the answer.
    pub(crate) async fn answer(mut self) -> Result<R::Response, Error> {
        let bytes = self.wait().await?;
        self.shared.decode::<R>(bytes, self.version)
    }

    async fn bytes(mut self) -> Result<Bytes, Error> {
        self.wait().await
    }

    async fn wait(&mut self) -> Result<Bytes, Error> {
        match timeout_at(self.deadline, &mut self.answered).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(self.shared.link.why())),
            Err(_) => Err(self.shared.give_up(R::KEY, self.after)),
        }
    }
}
