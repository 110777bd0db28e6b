//! Waiting for a topic that does not exist yet, as Kafka's clients do.

use std::time::{Duration, Instant};

use milena_client::{Client, Error, Target};
use milena_wire::ErrorCode;
use milena_wire::metadata::{MetadataRequest, MetadataRequestTopic};

use super::java;

/// Longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits until the topic is there, at most `patience`; each question lets a broker with
/// `auto.create.topics.enable` create it. Whether it is there.
///
/// `who` is the client as Kafka's log names it, such as `[Producer clientId=console-producer]`.
pub async fn await_topic(
    client: &Client,
    topic: &str,
    patience: Option<Duration>,
    who: &str,
) -> Result<bool, Error> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let answer = client.send_to(Target::Any, request).await?;
        let code =
            answer.topics.first().map_or(ErrorCode::UnknownTopicOrPartition.code(), |it| it.error_code);
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        match code {
            ErrorCode::None => return Ok(true),
            ErrorCode::UnknownTopicOrPartition | ErrorCode::LeaderNotAvailable => {}
            other => return Err(Error::refused(format!("find topic {topic}"), other.code(), None)),
        }
        let message = format!(
            "{who} The metadata response from the cluster reported a recoverable issue: {{{topic}={}}}",
            code.name()
        );
        java::log("WARN", &message, "org.apache.kafka.clients.NetworkClient");
        if patience.is_some_and(|patience| started.elapsed() + pause >= patience) {
            tokio::time::sleep(patience.unwrap_or_default().saturating_sub(started.elapsed())).await;
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
