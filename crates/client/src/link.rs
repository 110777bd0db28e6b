//! The two tasks behind a connection, which own the socket: one writes requests, one reads answers.
//!
//! A caller who stops waiting therefore never leaves half a request on the wire. Either task ends the
//! connection for good.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::transport::Transport;
use crate::{ClientOptions, Error};

/// Requests that one write to the socket may combine.
const WRITE_TOGETHER: usize = 32;
const READ_BUFFER: usize = 64 * 1024;

/// The way to the two tasks; dropping it ends them.
pub(crate) struct Link {
    outgoing: mpsc::Sender<Outgoing>,
    tasks: [JoinHandle<()>; 2],
    /// Why the connection ended, for everyone who comes later.
    ended: Arc<Mutex<Option<Error>>>,
}

/// Writes a frame once its correlation id is known.
pub(crate) type Encode = Box<dyn FnOnce(i32) -> Result<Vec<Bytes>, Error> + Send>;

/// A request on its way to the writer.
pub(crate) struct Outgoing {
    pub(crate) encode: Encode,
    /// Absent for Produce with acks=0, which is not answered.
    pub(crate) answer: Option<oneshot::Sender<Result<Bytes, Error>>>,
    /// Told when the request was handed to the system, for requests that are not answered.
    pub(crate) written: Option<oneshot::Sender<()>>,
}

struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes, Error>>,
}

impl Link {
    /// Starts both tasks.
    pub(crate) fn start(transport: Transport, address: String, options: &ClientOptions) -> Self {
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
            let mut requests = requests;
            if let Err(reason) = write_requests(transport.writer, &mut requests, waiting).await {
                write_end(reason);
            }
            // A request that was let in before this is waited for and dropped: its caller would not learn of the end.
            requests.close();
            while requests.recv().await.is_some() {}
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

    /// Whether requests can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.ended.lock().unwrap().is_none() && !self.outgoing.is_closed()
    }

    /// Queues a request once there is room among those in flight.
    pub(crate) async fn push(&self, outgoing: Outgoing) -> Result<(), Error> {
        if let Some(error) = self.ended.lock().unwrap().clone() {
            return Err(error);
        }
        self.outgoing.send(outgoing).await.map_err(|_| self.why())
    }

    /// Ends the connection; whoever waits learns `error`.
    pub(crate) fn end(&self, error: Error) {
        self.ended.lock().unwrap().get_or_insert(error);
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    /// Why it ended.
    pub(crate) fn why(&self) -> Error {
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
    requests: &mut mpsc::Receiver<Outgoing>,
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
