//! A broker in this process, and a connection that speaks frames to it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use milena_broker::{Server, StartError};
use milena_config::load::Sources;
use milena_records::{BatchBuilder, Compression};
use milena_wire::create_topics::{CreatableTopic, CreateTopicsRequest};
use milena_wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use milena_wire::{Reader, Request, frame};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest that a test waits for an answer: many times what is needed on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Pause between two questions for what comes some time: whoever asks without end keeps a busy machine from getting there.
pub const PAUSE: Duration = Duration::from_millis(5);

/// A broker on a port of its own.
pub struct Broker {
    server: Option<Server>,
    runtime: Runtime,
    control: Runtime,
    pub address: SocketAddr,
}

impl Broker {
    /// Starts on the directory, with these settings beside.
    pub fn start(dir: &Path, settings: &[&str]) -> Self {
        Self::try_start(dir, settings, None).unwrap()
    }

    /// The same, and perhaps for a cluster that must have this id.
    pub fn try_start(dir: &Path, settings: &[&str], cluster_id: Option<&str>) -> Result<Self, StartError> {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let (runtime, control) = (runtime().unwrap(), runtime().unwrap());
        let mut set = vec!["listeners=PLAINTEXT://127.0.0.1:0".to_owned()];
        set.extend(settings.iter().map(|&setting| setting.to_owned()));
        let data_dir = Some(dir.display().to_string());
        let environment = cluster_id.map(|id| ("CLUSTER_ID".to_owned(), id.to_owned())).into_iter().collect();
        let loaded = Sources { set, data_dir, environment, ..Default::default() }.load().unwrap();
        let server = runtime.block_on(Server::start(loaded, control.handle()))?;
        let endpoint = &server.endpoints()[0];
        let address = format!("{}:{}", endpoint.host, endpoint.port).parse().unwrap();
        Ok(Self { server: Some(server), runtime, control, address })
    }

    /// Starts on a directory that lives as long as the test.
    pub fn fresh() -> (TempDir, Self) {
        let dir = TempDir::new().unwrap();
        let broker = Self::start(dir.path(), &[]);
        (dir, broker)
    }

    /// Its id.
    pub fn id(&self) -> i32 {
        self.server.as_ref().map_or(-1, Server::broker_id)
    }

    /// Where it serves HTTP.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.server.as_ref().and_then(Server::http_address)
    }

    /// Stops in good order.
    pub fn stop(mut self) {
        self.runtime.block_on(self.server.take().unwrap().stop());
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, correlation_id: 0 }
    }
}

/// A client's connection.
pub struct Connection {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let sent = self.send(request, version);
        self.receive::<R>(version, sent)
    }

    /// Sends a request; returns its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.correlation_id += 1;
        let frame = frame::encode_request(request, version, self.correlation_id, Some("test")).unwrap();
        self.stream.write_all(&frame.concat()).unwrap();
        self.correlation_id
    }

    /// Reads the answer to the request with this correlation id, which must be the next one.
    pub fn receive<R: Request>(&mut self, version: i16, sent: i32) -> R::Response {
        let mut reader = Reader::new(self.frame().expect("an answer instead of the end"));
        let (correlation_id, response) = frame::decode_response::<R>(&mut reader, version).unwrap();
        assert_eq!(correlation_id, sent, "answers leave in the order of the requests");
        assert_eq!(reader.remaining(), 0, "nothing follows the answer");
        response
    }

    /// The next frame, or `None` if the broker closed the connection.
    pub fn frame(&mut self) -> Option<Bytes> {
        let mut size = [0; 4];
        match self.stream.read_exact(&mut size) {
            Ok(()) => {}
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "neither answer nor close in time");
                return None;
            }
        }
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        Some(frame.into())
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Creates a topic; fails the test unless it is created.
    pub fn create_topic(&mut self, name: &str, partitions: i32) {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let response = self.call(&request, 7);
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    /// Produces one batch to partition 0 with `acks=all`.
    pub fn produce(&mut self, topic: &str, batch: Bytes) -> PartitionProduceResponse {
        self.call(&produce_request(topic, batch), 9).responses[0].partition_responses[0].clone()
    }
}

/// A Produce request of one batch to partition 0.
pub fn produce_request(topic: &str, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(batch.into()) };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// An uncompressed batch of records with these values and the time now.
pub fn batch(values: &[&str]) -> BatchBuilder {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(now.as_millis() as i64, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder
}

/// A batch as a producer sends it.
pub fn bytes(builder: BatchBuilder) -> Bytes {
    builder.build().to_bytes()
}
