//! The client connections of a broker that may have to send its clients away: its disk is stuck and others lead its
//! partitions. Its data threads hang in writes then, so that nobody there could answer, or even close; clients would
//! wait for their time-outs. So the sockets are closed from a thread that does no disk work, as if the process had
//! died, which every client knows what to do about.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Who is inside, and whether anybody may come in.
pub(crate) struct Doors {
    /// Whether connections are kept track of: a broker that is alone has nowhere to send its clients.
    watched: bool,
    closed: watch::Sender<bool>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// A second descriptor of each socket, as many as there are connections.
    sockets: BTreeMap<u64, OwnedFd>,
}

/// A connection that was let in; dropped when it ends.
pub(crate) struct Guest {
    doors: Arc<Doors>,
    id: Option<u64>,
}

impl Doors {
    /// Open doors. If not `watched`, they never close.
    pub(crate) fn new(watched: bool) -> Self {
        Self { watched, closed: watch::Sender::new(false), inside: Mutex::default() }
    }

    /// Lets a connection in; `None` if it is to be dropped at once.
    pub(crate) fn admit(self: &Arc<Self>, stream: &TcpStream) -> Option<Guest> {
        let mut id = None;
        if self.watched {
            let mut inside = self.inside.lock().unwrap();
            if *self.closed.borrow() {
                return None;
            }
            match stream.as_fd().try_clone_to_owned() {
                Ok(socket) => {
                    inside.next += 1;
                    let next = inside.next;
                    inside.sockets.insert(next, socket);
                    id = Some(next);
                }
                // It cannot be sent away, but served.
                Err(error) => debug!(%error, "connection is not kept track of"),
            }
        }
        Some(Guest { doors: Arc::clone(self), id })
    }

    /// Sends everybody away and lets nobody in, or opens again. Returns how many were sent away.
    pub(crate) fn close(&self, close: bool) -> usize {
        let inside = self.inside.lock().unwrap();
        let close = close && self.watched;
        let is_news = self.closed.send_if_modified(|closed| std::mem::replace(closed, close) != close);
        if !(is_news && close) {
            return 0;
        }
        for socket in inside.sockets.values() {
            // One that has ended meanwhile is an error.
            let _ = SockRef::from(socket).shutdown(Shutdown::Both);
        }
        inside.sockets.len()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.doors.inside.lock().unwrap().sockets.remove(&id);
        }
    }
}

/// While the doors are closed, ends connections that the kernel has accepted. Runs where no thread touches the disk,
/// until `closing`.
pub(crate) async fn turn_away(doors: Arc<Doors>, socket: TcpListener, closing: CancellationToken) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return warn!(%error, "clients will not be turned away while the disk is stuck"),
    };
    let mut closed = doors.closed.subscribe();
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            waited = closed.wait_for(|closed| *closed) => if waited.is_err() { return },
        }
        let mut opened = doors.closed.subscribe();
        tokio::select! {
            () = closing.cancelled() => return,
            _ = opened.wait_for(|closed| !*closed) => {}
            accepted = socket.accept() => drop(accepted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn closed_doors_end_connections_and_admit_nobody_until_they_open() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let doors = Arc::new(Doors::new(true));
        let guest = doors.admit(&server).expect("they are open");
        assert_eq!(doors.close(true), 1);
        // The server's own descriptor is still open, held by a thread that hangs.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert!(doors.admit(&server).is_none());
        assert_eq!(doors.close(true), 0);
        drop(guest);
        doors.close(false);
        assert!(doors.admit(&server).is_some());
        assert!(doors.inside.lock().unwrap().sockets.is_empty(), "the second guest has left, too");
    }

    #[tokio::test]
    async fn client_that_connects_to_closed_doors_is_turned_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let doors = Arc::new(Doors::new(true));
        doors.close(true);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(turn_away(Arc::clone(&doors), listener, shutdown.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
        shutdown.cancel();
        task.await.unwrap();
    }

    #[test]
    fn doors_of_a_broker_alone_never_close() {
        let doors = Doors::new(false);
        assert_eq!(doors.close(true), 0);
        assert!(!*doors.closed.borrow());
    }
}
