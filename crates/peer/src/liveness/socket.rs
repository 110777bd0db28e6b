//! A socket that tells how it ended: what no layer above it reports precisely.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The other side closed or reset it.
    ByPeer,
    /// The network gave up on it, which says nothing about the other side.
    Lost,
}

/// A TCP connection and the watch that learns of its end.
pub(super) struct Socket {
    stream: TcpStream,
    ended: watch::Sender<Option<End>>,
}

impl Socket {
    /// What is sent and not acknowledged for `patience` ends the connection.
    pub(super) fn new(stream: TcpStream, patience: Duration) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(patience))?;
        Ok(Socket { stream, ended: watch::Sender::default() })
    }

    pub(super) fn ended(&self) -> watch::Receiver<Option<End>> {
        self.ended.subscribe()
    }

    fn end(&self, end: End) {
        self.ended.send_if_modified(|ended| ended.is_none() && ended.replace(end).is_none());
    }

    fn note<T>(&self, result: &io::Result<T>) {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        if let Err(error) = result {
            let by_peer = matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset);
            self.end(if by_peer { End::ByPeer } else { End::Lost });
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.note(&read);
        if read.is_ok() && room > 0 && buffer.filled().len() == before {
            self.end(End::ByPeer);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.note(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        self.note(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
