//! The follower's end: one connection, one stream.

use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt};
use milena_quorum::{NodeId, Unreachable};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::transport::Endpoint;

use super::message::{Batches, Positions};
use super::{FRAME, LONGEST_MESSAGE, WINDOW};
use crate::generated::replica::replica_client::ReplicaClient;
use crate::identity::{Identity, check_protocol};
use crate::line::reason;
use crate::purpose::BulkConnector;

/// Longest time for a connection to be made and the stream to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection on which nothing arrives for this long is probed, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Fetches from the broker `leader` at `address` over a connection of its own, which ends with the answers.
///
/// # Errors
/// [`Unreachable`] if nobody is there, or somebody else is.
pub async fn fetch(
    identity: &Identity,
    leader: NodeId,
    address: &str,
    positions: impl Stream<Item = Positions> + Send + 'static,
) -> Result<BoxStream<'static, Result<Batches, Unreachable>>, Unreachable> {
    let unreachable = move |reason: String| Unreachable { node: leader, reason };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| unreachable(format!("address {address}: {error}")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME);
    let accepted = async {
        let channel = endpoint
            .connect_with_connector(BulkConnector)
            .await
            .map_err(|error| unreachable(whole(&error)))?;
        let mut client = ReplicaClient::new(channel)
            .max_decoding_message_size(LONGEST_MESSAGE)
            .max_encoding_message_size(LONGEST_MESSAGE);
        let request = identity.call(leader, Outgoing(positions.boxed()));
        let answer = client.fetch(request).await.map_err(|status| unreachable(reason(&status)))?;
        check_protocol(answer.metadata(), leader).map_err(unreachable)?;
        Ok(answer)
    };
    let accepted = tokio::time::timeout(CONNECT_TIMEOUT, accepted).await;
    let answers = accepted.map_err(|_| unreachable("no answer in time".into()))??.into_inner();
    Ok(answers.map(move |answer| answer.map_err(|status| unreachable(reason(&status)))).boxed())
}

/// An error with what is behind it: tonic says "transport error" and hides "connection refused".
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A stream of a named type: with the boxed one, the compiler cannot prove the call's future `Send`.
struct Outgoing(BoxStream<'static, Positions>);

impl Stream for Outgoing {
    type Item = Positions;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Positions>> {
        self.0.poll_next_unpin(context)
    }
}
