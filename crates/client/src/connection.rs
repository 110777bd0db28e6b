//! One connection: requests are pipelined, answers come back in the order of the requests.
//!
//! Two tasks own the socket, so that a caller who stops waiting never leaves half a request on the wire.
//! Either task ends the connection for good; the client opens another.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use milena_wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use milena_wire::{ApiKey, ErrorCode, Message, Reader, Request, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::address::Address;
use crate::error::Served;
use crate::transport::{Transport, unreachable};
use crate::{BrokerVersions, ClientOptions, Error};

/// Requests that one write to the socket may combine.
const WRITE_TOGETHER: usize = 32;
const READ_BUFFER: usize = 64 * 1024;

/// An open connection to a broker whose versions are known. Clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    client_id: String,
    request_timeout: Duration,
    versions: BrokerVersions,
    link: Link,
}

/// The way to the two tasks; dropping it ends them.
struct Link {
    outgoing: mpsc::Sender<Outgoing>,
    tasks: [JoinHandle<()>; 2],
    /// Why the connection ended, for everyone who comes later.
    ended: Arc<Mutex<Option<Error>>>,
}

struct Outgoing {
    /// Writes the frame once its correlation id is known.
    encode: Box<dyn FnOnce(i32) -> Result<Vec<Bytes>, Error> + Send>,
    /// Absent for Produce with acks=0, which is not answered.
    answer: Option<oneshot::Sender<Result<Bytes, Error>>>,
    /// Told when the request was handed to the system, for requests that are not answered.
    written: Option<oneshot::Sender<()>>,
}

struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes, Error>>,
}

impl Connection {
    /// Opens a connection and asks what the broker serves, all within the connect time-out.
    pub(crate) async fn open(address: &Address, options: &ClientOptions) -> Result<Self, Error> {
        let opening = async {
            let transport = Transport::connect(address).await?;
            let link = Link::start(transport, address.to_string(), options);
            let mut shared = Shared {
                address: address.to_string(),
                client_id: options.client_id.clone(),
                request_timeout: options.request_timeout,
                versions: BrokerVersions::default(),
                link,
            };
            shared.versions = BrokerVersions::new(shared.negotiate().await?);
            Ok(Self { shared: Arc::new(shared) })
        };
        match timeout(options.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(unreachable(address, &std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// What the broker serves.
    pub(crate) fn versions(&self) -> &BrokerVersions {
        &self.shared.versions
    }

    /// Whether requests can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.link.ended.lock().unwrap().is_none() && !self.shared.link.outgoing.is_closed()
    }

    /// Sends `request` in the highest common version up to `most` and waits for the answer, as long as the
    /// request time-out or `patience`, whichever is longer.
    pub(crate) async fn call<R>(
        &self,
        request: R,
        most: i16,
        patience: Duration,
    ) -> Result<R::Response, Error>
    where
        R: Request + Send + 'static,
    {
        let version = self.version(R::KEY, most)?;
        let bytes = self.shared.exchange(request, version, patience).await?;
        self.shared.decode::<R>(bytes, version)
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
        let versions = &self.shared.versions;
        versions.highest(api, most).ok_or_else(|| Error::NoCommonVersion {
            api,
            address: self.shared.address.clone(),
            theirs: Served(versions.served(api)),
            ours: *api.versions().start()..=most.min(*api.versions().end()),
        })
    }
}

impl Shared {
    /// Asks in our newest version; a broker that does not know it says in the oldest what it knows (AV-1).
    async fn negotiate(&self) -> Result<ApiVersionsResponse, Error> {
        let newest = *ApiKey::ApiVersions.versions().end();
        let request = ApiVersionsRequest {
            client_software_name: "milena".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let answer = self.ask_versions(request.clone(), newest).await?;
        if answer.error_code != ErrorCode::UnsupportedVersion.code() {
            return self.checked(answer);
        }
        let row = answer.api_keys.iter().find(|row| row.api_key == ApiKey::ApiVersions.code());
        let version = row.map_or(0, |row| row.max_version.clamp(0, newest));
        let answer = self.ask_versions(request, version).await?;
        self.checked(answer)
    }

    async fn ask_versions(
        &self,
        request: ApiVersionsRequest,
        version: i16,
    ) -> Result<ApiVersionsResponse, Error> {
        let bytes = self.exchange(request, version, Duration::ZERO).await?;
        // The code comes first in every version, and an "unsupported version" is always written as version 0.
        let code = bytes.get(4..6).map(|it| i16::from_be_bytes([it[0], it[1]]));
        let version = if code == Some(ErrorCode::UnsupportedVersion.code()) { 0 } else { version };
        self.decode::<ApiVersionsRequest>(bytes, version)
    }

    fn checked(&self, answer: ApiVersionsResponse) -> Result<ApiVersionsResponse, Error> {
        match answer.error_code {
            0 => Ok(answer),
            code => Err(Error::refused(format!("ask {} for its versions", self.address), code, None)),
        }
    }

    async fn exchange<R>(&self, request: R, version: i16, patience: Duration) -> Result<Bytes, Error>
    where
        R: Request + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let outgoing =
            Outgoing { encode: self.encoder(request, version), answer: Some(answer), written: None };
        let exchange = async {
            self.link.push(outgoing).await?;
            answered.await.unwrap_or_else(|_| Err(self.link.why()))
        };
        let after = self.request_timeout.max(patience);
        match timeout(after, exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                let error = Error::RequestTimedOut { api: R::KEY, address: self.address.clone(), after };
                // What comes after it on this connection would wait behind it.
                self.link.end(error.clone());
                Err(error)
            }
        }
    }

    fn encoder<R>(&self, request: R, version: i16) -> Box<dyn FnOnce(i32) -> Result<Vec<Bytes>, Error> + Send>
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

impl Link {
    fn start(transport: Transport, address: String, options: &ClientOptions) -> Self {
        let (outgoing, requests) = mpsc::channel(options.max_in_flight);
        let (waiting, expected) = mpsc::channel(options.max_in_flight);
        let ended = Arc::new(Mutex::new(None));
        let limit = options.max_response_bytes;
        let end = |ended: Arc<Mutex<Option<Error>>>, address: String| {
            move |reason: String| {
                ended.lock().unwrap().get_or_insert(Error::Disconnected { address, reason });
            }
        };
        let (write_end, read_end) = (end(ended.clone(), address.clone()), end(ended.clone(), address));
        let ended_by_reader = ended.clone();
        let writer = tokio::spawn(async move {
            if let Err(reason) = write_requests(transport.writer, requests, waiting).await {
                write_end(reason);
            }
        });
        let reader = tokio::spawn(async move {
            let mut expected = expected;
            let reason = read_answers(transport.reader, &mut expected, limit).await;
            read_end(reason);
            // Whoever still waits on this connection waits for nothing.
            expected.close();
            let error = ended_by_reader.lock().unwrap().clone();
            while let Some(waiting) = expected.recv().await {
                let error = error.clone().expect("the reader has just said why it ended");
                let _ = waiting.answer.send(Err(error));
            }
        });
        Self { outgoing, tasks: [writer, reader], ended }
    }

    async fn push(&self, outgoing: Outgoing) -> Result<(), Error> {
        if let Some(error) = self.ended.lock().unwrap().clone() {
            return Err(error);
        }
        self.outgoing.send(outgoing).await.map_err(|_| self.why())
    }

    fn end(&self, error: Error) {
        self.ended.lock().unwrap().get_or_insert(error);
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    fn why(&self) -> Error {
        self.ended.lock().unwrap().clone().unwrap_or_else(|| Error::Disconnected {
            address: "the broker".into(),
            reason: "the client was closed".into(),
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Writes requests in the order they came, several at once when they have piled up.
///
/// `waiting` holds as many as may be in flight: when it is full, writing waits for answers.
async fn write_requests(
    mut socket: impl AsyncWrite + Unpin,
    mut requests: mpsc::Receiver<Outgoing>,
    waiting: mpsc::Sender<Waiting>,
) -> Result<(), String> {
    let mut correlation_id: i32 = 0;
    let mut together = Vec::with_capacity(WRITE_TOGETHER);
    while requests.recv_many(&mut together, WRITE_TOGETHER).await > 0 {
        let mut bytes = VecDeque::new();
        let mut written = Vec::new();
        for outgoing in together.drain(..) {
            correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
            match ((outgoing.encode)(correlation_id), outgoing.answer) {
                (Ok(frame), answer) => {
                    if let Some(answer) = answer {
                        // What fills the pipeline must be on the wire before its answers are waited for.
                        if waiting.capacity() == 0 {
                            write_all(&mut socket, &mut bytes).await?;
                        }
                        let waiting = waiting.send(Waiting { correlation_id, answer }).await;
                        waiting.map_err(|_| "the connection was closed".to_owned())?;
                    }
                    bytes.extend(frame);
                    written.extend(outgoing.written);
                }
                (Err(error), Some(answer)) => drop(answer.send(Err(error))),
                (Err(_), None) => {}
            }
        }
        write_all(&mut socket, &mut bytes).await?;
        for told in written.drain(..) {
            let _ = oneshot::Sender::send(told, ());
        }
    }
    Ok(())
}

/// Writes the slices one after the other without joining them.
async fn write_all(
    socket: &mut (impl AsyncWrite + Unpin),
    bytes: &mut VecDeque<Bytes>,
) -> Result<(), String> {
    const SLICES: usize = 64;
    while let Some(first) = bytes.front_mut() {
        if first.is_empty() {
            bytes.pop_front();
            continue;
        }
        let slices: Vec<_> = bytes.iter().take(SLICES).map(|it| IoSlice::new(it)).collect();
        let mut count = socket.write_vectored(&slices).await.map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("the broker takes no more bytes".into());
        }
        while count > 0 {
            let first = bytes.front_mut().expect("no more was written than there was");
            let part = count.min(first.len());
            first.advance(part);
            count -= part;
            if first.is_empty() {
                bytes.pop_front();
            }
        }
    }
    Ok(())
}

/// Hands each answer to the request it belongs to; returns why it ended.
async fn read_answers(
    socket: impl AsyncRead + Unpin,
    expected: &mut mpsc::Receiver<Waiting>,
    limit: usize,
) -> String {
    let mut socket = BufReader::with_capacity(READ_BUFFER, socket);
    loop {
        let answer = match read_frame(&mut socket, limit).await {
            Ok(answer) => answer,
            Err(reason) => return reason,
        };
        // The request was registered before it was written, so it is there.
        let Some(waiting) = expected.recv().await else { return "the client was closed".into() };
        let correlation_id = answer.get(..4).map(|it| i32::from_be_bytes([it[0], it[1], it[2], it[3]]));
        if correlation_id != Some(waiting.correlation_id) {
            return format!("answer {correlation_id:?} came where {} was due", waiting.correlation_id);
        }
        // Nobody may wait for it any more.
        let _ = waiting.answer.send(Ok(answer));
    }
}

async fn read_frame(socket: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Bytes, String> {
    const CLOSED: &str = "closed by the broker; it closes on requests and versions that it does not serve";
    let size = socket.read_i32().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        _ => error.to_string(),
    })?;
    let size = usize::try_from(size).ok().filter(|size| *size <= limit);
    let size = size.ok_or_else(|| format!("an answer of more than {limit} bytes; is this a Kafka port?"))?;
    let mut answer = BytesMut::with_capacity(size);
    while answer.len() < size {
        let left = size - answer.len();
        let read = (&mut *socket).take(left as u64).read_buf(&mut answer).await;
        if read.map_err(|error| error.to_string())? == 0 {
            return Err("closed by the broker in the middle of an answer".into());
        }
    }
    Ok(answer.freeze())
}
