//! One connection to one node, for one purpose, dialled again with bounded patience.

use crate::network::PeerConfig;
use milena_quorum::{NodeId, Unreachable};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// A connection and how it has been doing. A call to a node that was just found dead fails at
/// once instead of dialling again: many tasks call, and each would.
pub(crate) struct Line {
    node: NodeId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The channel, and the address it goes to.
    channel: Option<(String, Channel)>,
    failures: u32,
    /// When it may be tried again.
    retry_at: Option<Instant>,
}

impl Line {
    pub(crate) fn new(node: NodeId) -> Line {
        Line { node, state: Mutex::default() }
    }

    /// The channel to `address`; connected at the first call on it.
    pub(crate) fn channel(
        &self,
        address: Option<String>,
        config: &PeerConfig,
    ) -> Result<Channel, Unreachable> {
        let address = address.ok_or_else(|| self.unreachable("its address is not known"))?;
        let mut state = self.state.lock().unwrap();
        if let Some((known, channel)) = &state.channel
            && *known == address
        {
            return match state.retry_at {
                Some(at) if at > Instant::now() => Err(self.unreachable("it failed a moment ago")),
                _ => Ok(channel.clone()),
            };
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(|error| self.unreachable(&format!("address {address}: {error}")))?;
        let channel = endpoint
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(config.keep_alive)
            .keep_alive_timeout(config.keep_alive)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .connect_lazy();
        *state = State { channel: Some((address, channel.clone())), failures: 0, retry_at: None };
        Ok(channel)
    }

    /// Notes that a call went through.
    pub(crate) fn worked(&self) {
        let mut state = self.state.lock().unwrap();
        (state.failures, state.retry_at) = (0, None);
    }

    /// Notes that a call did not go through: the next waits 10 ms, then twice as long, up to the
    /// configured bound.
    pub(crate) fn failed(&self, status: &Status, config: &PeerConfig) -> Unreachable {
        let mut state = self.state.lock().unwrap();
        state.failures += 1;
        let wait = Duration::from_millis(10 << (state.failures - 1).min(10));
        state.retry_at = Some(Instant::now() + wait.min(config.longest_backoff));
        if state.failures == 1 {
            tracing::debug!(node = %self.node, %status, "peer call failed");
        }
        self.unreachable(&reason(status))
    }

    pub(crate) fn unreachable(&self, reason: &str) -> Unreachable {
        Unreachable { node: self.node, reason: reason.to_owned() }
    }
}

/// The status and what is behind it: tonic hides "connection refused" in the sources.
pub(crate) fn reason(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}
