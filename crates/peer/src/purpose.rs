//! Telling connections apart before anything is read from them: bulk data runs on other threads than Raft and
//! liveness, so that no amount of it costs a leadership (D1).
//!
//! All peers' connections come to one listener and all speak HTTP/2, which says nothing of what they are for. So
//! whoever opens one for bulk data sends a byte before, which HTTP/2 never begins with.

use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

/// First byte of a connection for bulk data. HTTP/2 begins with `P`, TLS with 22.
const BULK: u8 = b'B';

/// Longest wait for the first byte of a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens connections for bulk data: for tonic's `connect_with_connector`.
pub(crate) struct BulkConnector;

impl Service<Uri> for BulkConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        Box::pin(async move {
            let authority = address.authority().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let mut stream = TcpStream::connect(authority.as_str()).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&[BULK]).await?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// Whether an accepted connection is for bulk data; what says so is taken off.
pub(crate) async fn is_bulk(stream: &mut TcpStream) -> io::Result<bool> {
    let look = async {
        let mut first = [0];
        let is_bulk = stream.peek(&mut first).await? == 1 && first[0] == BULK;
        if is_bulk {
            stream.read_exact(&mut first).await?;
        }
        Ok(is_bulk)
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
