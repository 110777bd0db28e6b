//! The side that is dialled: every beat is answered with one.

use super::board::Board;
use super::detector::Path;
use crate::generated::liveness::Beat;
use crate::generated::liveness::liveness_server::{Liveness, LivenessServer};
use crate::identity::Identity;
use futures_util::future;
use futures_util::stream::{BoxStream, StreamExt};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// Longest beat in bytes: 64 groups, and 64 sightings with as many each.
const LONGEST: usize = 256 << 10;

pub(super) fn service(
    board: Arc<Board>,
    identity: Identity,
    closing: CancellationToken,
) -> LivenessServer<impl Liveness> {
    LivenessServer::new(Answering { board, identity, closing })
        .max_decoding_message_size(LONGEST)
        .max_encoding_message_size(LONGEST)
}

struct Answering {
    board: Arc<Board>,
    identity: Identity,
    closing: CancellationToken,
}

#[async_trait]
impl Liveness for Answering {
    type BeatStream = BoxStream<'static, Result<Beat, Status>>;

    async fn beat(&self, request: Request<Streaming<Beat>>) -> Result<Response<Self::BeatStream>, Status> {
        let from = self.identity.check(&request)?;
        let board = self.board.clone();
        // A stream that breaks ends.
        let beats = request.into_inner().scan((), |(), beat| future::ready(beat.ok()));
        let answers = beats.map(move |beat| {
            board.received(from, Path::Accepted, beat);
            Ok(board.compose(from))
        });
        let closed = self.closing.clone().cancelled_owned();
        Ok(Response::new(answers.take_until(Box::pin(closed)).boxed()))
    }
}
