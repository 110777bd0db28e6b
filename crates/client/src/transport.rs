//! The byte stream under a connection: the one place that knows it is TCP.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::Error;
use crate::address::Address;

/// Both directions of a stream; TLS and SASL would end here.
pub(crate) struct Transport {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Transport {
    /// Opens a TCP connection to the first address of the host that takes one.
    pub(crate) async fn connect(address: &Address) -> Result<Self, Error> {
        let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
        let candidates: Vec<_> = found
            .map_err(|error| Error::Unresolved { address: address.to_string(), reason: error.to_string() })?
            .collect();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for candidate in candidates {
            match TcpStream::connect(candidate).await {
                Ok(stream) => {
                    // Small requests must not wait for the acknowledgement of earlier ones.
                    stream.set_nodelay(true).map_err(|error| unreachable(address, &error))?;
                    let (reader, writer) = stream.into_split();
                    return Ok(Self { reader: Box::new(reader), writer: Box::new(writer) });
                }
                Err(error) => last = error,
            }
        }
        Err(unreachable(address, &last))
    }
}

pub(crate) fn unreachable(address: &Address, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => "timed out".into(),
        _ => error.to_string(),
    };
    Error::Unreachable { address: address.to_string(), reason }
}
