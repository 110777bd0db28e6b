//! Sockets whose end other nodes should see before clients see that of theirs.

use std::os::fd::OwnedFd;

/// Above what all but the largest brokers have open. The kernel's table has room up to the highest: 64 KiB.
const HIGH: i32 = 8_192;

/// The same socket under a high descriptor. Linux closes what a dead process had open from the highest descriptor to
/// the lowest, so clients would know first, and ask brokers that do not know yet. As it was where descriptors are scarce.
pub(crate) fn closed_first<S: From<OwnedFd> + Into<OwnedFd>>(socket: S) -> S {
    let low: OwnedFd = socket.into();
    S::from(rustix::io::fcntl_dupfd_cloexec(&low, HIGH).unwrap_or(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn the_socket_is_the_same_under_a_higher_descriptor() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (low, at) = (listener.as_raw_fd(), listener.local_addr().unwrap());
        let listener = closed_first(listener);
        let high = listener.as_raw_fd();
        // Where the limit is lower it stays what it was.
        assert!(high >= HIGH || high == low, "{low} became {high}");
        assert_eq!(listener.local_addr().unwrap(), at);
        TcpStream::connect(at).unwrap();
        drop(listener);
        TcpStream::connect(at).unwrap_err();
    }
}
