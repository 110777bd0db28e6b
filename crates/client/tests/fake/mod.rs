//! A broker of one process and few words: it answers what a test tells it to.

#![allow(dead_code)]

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use milena_wire::api_versions::{ApiVersion, ApiVersionsResponse};
use milena_wire::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_wire::{ApiKey, ErrorCode, Reader, RequestHeader, Response, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What a test does with a request.
pub enum Reply {
    /// These bytes, whole frames or not.
    Bytes(Vec<u8>),
    /// Nothing yet; the connection stays.
    Silence,
    /// The connection is closed after these bytes.
    Close(Vec<u8>),
}

impl Reply {
    /// `answer` as it should be.
    pub fn to(header: &RequestHeader, answer: &impl Response) -> Self {
        Self::Bytes(answer_bytes(header, answer, header.api_version))
    }
}

/// `answer` to `header`, written in `version`.
pub fn answer_bytes<R: Response>(header: &RequestHeader, answer: &R, version: i16) -> Vec<u8> {
    frame::encode_response(answer, version, header.correlation_id).unwrap().concat()
}

/// A request as it came: header, and a reader at its body.
pub type Request<'a> = (&'a RequestHeader, Reader);

/// The broker; it ends with the test.
pub struct Fake {
    pub address: String,
    pub port: u16,
    asked: Arc<Mutex<Vec<(ApiKey, i16)>>>,
}

impl Fake {
    /// Answers with `reply`; what it returns `None` for gets the answers of a healthy broker.
    pub async fn start(reply: impl FnMut(Request<'_>) -> Option<Reply> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let reply = Arc::new(Mutex::new(reply));
        let told = asked.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (reply, told) = (reply.clone(), told.clone());
                tokio::spawn(async move { serve(socket, port, &reply, &told).await });
            }
        });
        Self { address: format!("127.0.0.1:{port}"), port, asked }
    }

    /// Every request so far: API and version.
    pub fn asked(&self) -> Vec<(ApiKey, i16)> {
        self.asked.lock().unwrap().clone()
    }

    pub fn bootstrap(&self) -> [String; 1] {
        [self.address.clone()]
    }
}

/// An address at which nobody listens, nor will as long as the socket is kept.
pub fn nobody() -> (TcpSocket, String) {
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap().to_string();
    (held, address)
}

async fn serve<F>(mut socket: TcpStream, port: u16, reply: &Mutex<F>, asked: &Mutex<Vec<(ApiKey, i16)>>)
where
    F: FnMut(Request<'_>) -> Option<Reply>,
{
    while let Some(request) = read_frame(&mut socket).await {
        let mut reader = Reader::new(request);
        let header = RequestHeader::decode(&mut reader).unwrap();
        let api = header.api().unwrap();
        asked.lock().unwrap().push((api, header.api_version));
        let reply = (reply.lock().unwrap())((&header, reader));
        let reply = reply.unwrap_or_else(|| healthy(api, &header, port));
        match reply {
            Reply::Bytes(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Silence => {}
            Reply::Close(bytes) => {
                let _ = socket.write_all(&bytes).await;
                return;
            }
        }
    }
}

async fn read_frame(socket: &mut TcpStream) -> Option<Bytes> {
    let size = socket.read_i32().await.ok()?;
    let mut frame = BytesMut::zeroed(size as usize);
    socket.read_exact(&mut frame).await.ok()?;
    Some(frame.freeze())
}

fn healthy(api: ApiKey, header: &RequestHeader, port: u16) -> Reply {
    match api {
        ApiKey::ApiVersions => Reply::to(header, &versions(|_| None)),
        ApiKey::Metadata => Reply::to(header, &metadata(port, &[])),
        other => panic!("the test does not say what to answer to {other}"),
    }
}

/// An answer to ApiVersions: everything we know, but for what `other` says.
pub fn versions(other: impl Fn(ApiKey) -> Option<(i16, i16)>) -> ApiVersionsResponse {
    let row = |api: &ApiKey| {
        let (min_version, max_version) =
            other(*api).unwrap_or((*api.versions().start(), *api.versions().end()));
        ApiVersion { api_key: api.code(), min_version, max_version }
    };
    ApiVersionsResponse { api_keys: ApiKey::ALL.iter().map(row).collect(), ..Default::default() }
}

/// An answer to Metadata: broker 1 at `port`, leader of `partitions` partitions of each topic.
pub fn metadata(port: u16, topics: &[(&str, i32)]) -> MetadataResponse {
    let broker =
        MetadataResponseBroker { node_id: 1, host: "127.0.0.1".into(), port: port.into(), rack: None };
    let partition = |partition_index| MetadataResponsePartition {
        error_code: ErrorCode::None.code(),
        partition_index,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        offline_replicas: vec![],
    };
    let topic = |(name, partitions): &(&str, i32)| MetadataResponseTopic {
        name: Some((*name).into()),
        partitions: (0..*partitions).map(partition).collect(),
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![broker],
        cluster_id: Some("fake".into()),
        controller_id: 1,
        topics: topics.iter().map(topic).collect(),
        ..Default::default()
    }
}
