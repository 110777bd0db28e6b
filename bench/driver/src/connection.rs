//! A blocking connection to one broker, and who leads what: for load whose client must cost next to nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::{frame, Reader, Request};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::ClientConfig;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub struct Connection(TcpStream);

impl Connection {
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(stream))
    }

    /// Sends a frame that [`request`] made.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        Ok(self.0.write_all(frame)?)
    }

    /// The next answer, which must be to an `R` of `version`.
    pub fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let mut size = [0; frame::SIZE_LENGTH];
        self.0.read_exact(&mut size)?;
        let mut body = vec![0; i32::from_be_bytes(size) as usize];
        self.0.read_exact(&mut body)?;
        Ok(frame::decode_response::<R>(&mut Reader::new(Bytes::from(body)), version)?.1)
    }

    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.send(&self::request(request, version)?)?;
        self.receive::<R>(version)
    }
}

/// A whole request frame.
pub fn request<R: Request>(request: &R, version: i16) -> Result<Vec<u8>> {
    Ok(frame::encode_request(request, version, 0, Some("bench"))?.concat())
}

/// The address of each partition's leader, by partition.
pub fn leaders(bootstrap: &str, topic: &str) -> Result<Vec<String>> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(20))?;
    let address = |id| {
        let broker = metadata.brokers().iter().find(|it| it.id() == id);
        broker.map(|it| format!("{}:{}", it.host(), it.port()))
    };
    let topic = metadata.topics().first().ok_or("the topic is unknown")?;
    let mut leaders: Vec<_> = topic.partitions().iter().map(|it| (it.id(), address(it.leader()))).collect();
    leaders.sort();
    leaders
        .into_iter()
        .map(|(id, it)| it.ok_or_else(|| format!("partition {id} has no leader").into()))
        .collect()
}
