//! The sockets that clients connect to, and the addresses they are told.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use milena_config::BrokerConfig;
use milena_metadata::Endpoint;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connection::{self, Limits};
use crate::dispatch::Dispatcher;
use crate::services::Services;

/// Connections that the kernel completes while none is accepted.
const BACKLOG: i32 = 1_024;
/// How long to wait when no connection can be accepted, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error(
        "{address} is already in use, so the broker cannot listen on it; stop the process that does, or start \
         this one elsewhere with --set listeners={name}://{host}:PORT"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Name of the listener.
        name: String,
        /// Its host as configured.
        host: String,
    },
    /// `milena.http.listener` was asked for and cannot be had.
    #[error("milena.http.listener: cannot listen on {address}: {source}; give another address, or none")]
    Http {
        /// As configured.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The name of the host is unknown here, or the address is not this machine's.
    #[error("listener {name}: cannot listen on {host}:{port}: {source}")]
    Address {
        /// Name of the listener.
        name: String,
        /// Its host as configured.
        host: String,
        /// Its port.
        port: u16,
        /// The system's answer.
        source: io::Error,
    },
}

/// A listener that is bound: its sockets, and what clients are told.
pub(crate) struct Bound {
    pub(crate) name: Arc<str>,
    pub(crate) sockets: Vec<std::net::TcpListener>,
    pub(crate) advertised: Endpoint,
}

/// Binds every listener. Nobody can connect yet.
pub(crate) fn bind(config: &BrokerConfig) -> Result<Vec<Bound>, ListenError> {
    let listeners = config.listeners();
    // Without configuration the broker is for this machine: it is reached as localhost and from nowhere else.
    let is_private = !config.is_set("listeners") && !config.is_set("advertised.listeners");
    let bound = listeners.bind.iter().map(|listener| {
        let host = if is_private && listener.host.is_empty() { "localhost" } else { &listener.host };
        let sockets = bind_one(&listener.name, host, listener.port)?;
        let port = sockets[0].local_addr().map_or(listener.port, |address| address.port());
        let advertised = listeners.advertised_for(&listener.name).unwrap_or(listener);
        Ok(Bound {
            name: listener.name.as_str().into(),
            sockets,
            advertised: Endpoint {
                listener: listener.name.clone(),
                host: match advertised.host.as_str() {
                    "" if is_private => "localhost".to_owned(),
                    "" => machine_name(),
                    host => host.to_owned(),
                },
                port: if advertised.port == 0 { port } else { advertised.port },
                security_protocol: advertised.protocol.code(),
            },
        })
    });
    bound.collect()
}

/// Opens the listener for other brokers, which are accepted from now on. Returns its port, too.
pub(crate) fn open_for_peers(
    host: &str,
    port: u16,
) -> Result<(Vec<std::net::TcpListener>, u16), ListenError> {
    let failed =
        |source| ListenError::Address { name: "for peers".into(), host: host.to_owned(), port, source };
    let sockets = match bind_one("for peers", host, port) {
        Err(ListenError::InUse { .. }) => return Err(failed(io::ErrorKind::AddrInUse.into())),
        bound => bound?,
    };
    for socket in &sockets {
        listen(socket).map_err(failed)?;
    }
    let port = sockets[0].local_addr().map_or(port, |address| address.port());
    Ok((sockets, port))
}

/// Lets clients connect to all of them.
pub(crate) fn open_all(bound: &[Bound]) -> Result<(), ListenError> {
    for bound in bound {
        for socket in &bound.sockets {
            listen(socket).map_err(|source| ListenError::Address {
                name: bound.name.to_string(),
                host: bound.advertised.host.clone(),
                port: bound.advertised.port,
                source,
            })?;
        }
    }
    Ok(())
}

/// Completes connections from now on. Before, a client is refused, so that it tries another broker.
fn listen(socket: &std::net::TcpListener) -> io::Result<()> {
    SockRef::from(socket).listen(BACKLOG)
}

/// One socket for each address that the host's name stands for: `localhost` is two on most machines.
fn bind_one(listener: &str, host: &str, port: u16) -> Result<Vec<std::net::TcpListener>, ListenError> {
    let failed =
        |source| ListenError::Address { name: listener.to_owned(), host: host.to_owned(), port, source };
    let name = if host.is_empty() { "0.0.0.0" } else { host };
    let mut addresses: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(failed)?.collect();
    addresses.sort_by_key(|address| address.is_ipv6());
    addresses.dedup();
    let (mut sockets, mut port, mut last) = (Vec::new(), port, None);
    for mut address in addresses {
        address.set_port(port);
        match open(address) {
            Ok(socket) => {
                port = socket.local_addr().map_err(failed)?.port();
                sockets.push(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(ListenError::InUse { address, name: listener.to_owned(), host: host.to_owned() });
            }
            // A machine without IPv6 still has `localhost` as ::1 in its hosts file.
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if sockets.is_empty() => Err(failed(error)),
        _ if sockets.is_empty() => Err(failed(io::ErrorKind::AddrNotAvailable.into())),
        _ => Ok(sockets),
    }
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restarted broker must not wait for the old one's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What clients elsewhere may know this machine by.
pub(crate) fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if (name.as_str(), 0).to_socket_addrs().is_ok() { name } else { "localhost".to_owned() }
}

/// Accepts connections on one socket until `closing`; what is connected is served until `shutdown`.
pub(crate) async fn accept(
    socket: std::net::TcpListener,
    name: Arc<str>,
    services: Arc<Services>,
    limits: Limits,
    closing: CancellationToken,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let socket = TcpListener::from_std(socket)?;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Dropped, it is closed.
                let Some(guest) = services.doors.admit(&stream) else { continue };
                set_options(&stream);
                let services = Arc::clone(&services);
                let dispatcher = Arc::new(Dispatcher::new(Arc::clone(&services), Arc::clone(&name), peer));
                let (limits, shutdown) = (limits.clone(), shutdown.clone());
                connections.spawn(async move {
                    let _counted = (services.meters.connected(), guest);
                    connection::serve(stream, dispatcher, limits, shutdown).await;
                });
            }
            Err(error) => {
                warn!(%error, listener = %name, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
    Ok(())
}

fn set_options(stream: &TcpStream) {
    // Answers are written whole; waiting to fill a packet only delays them.
    let keepalive = SockRef::from(stream).set_keepalive(true);
    if let Err(error) = stream.set_nodelay(true).and(keepalive) {
        debug!(%error, "socket options not set");
    }
}
