//! Flags for reaching a cluster, the same for every command.

use std::time::Duration;

use milena_client::{Client, ClientOptions, Error};
use milena_wire::ErrorCode;

use crate::failure::{Failure, Outcome};
use crate::time;

/// Which cluster, and how long to try.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Brokers to ask first, separated by commas; they name the others.
    #[arg(
        short = 'b',
        long,
        visible_alias = "brokers",
        value_name = "HOST:PORT",
        env = "MILENA_BOOTSTRAP_SERVERS",
        default_value = "localhost:9092"
    )]
    pub bootstrap_server: String,
    /// Longest that a request may take, with all that is tried again.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = time::parse_span)]
    pub timeout: Duration,
}

impl ConnectionArgs {
    /// Connects; fails at once if nobody listens.
    pub async fn open(&self) -> Outcome<Client> {
        let options = ClientOptions {
            connect_timeout: self.timeout,
            request_timeout: self.timeout,
            deadline: self.timeout,
            ..ClientOptions::default()
        };
        Ok(Client::connect(std::slice::from_ref(&self.bootstrap_server), options).await?)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = error.code().and_then(hint);
        let failure = Failure::new(error.to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// What a user can do about a refusal, where that is not obvious from its words.
fn hint(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::UnknownTopicOrPartition => Some("`milena topic list` shows which topics there are"),
        ErrorCode::TopicAlreadyExists => Some("add --if-not-exists if that is fine"),
        ErrorCode::InvalidReplicationFactor => {
            Some("a topic has at most as many replicas as there are brokers: `milena cluster describe`")
        }
        ErrorCode::InvalidTopicException => {
            Some("names have up to 249 letters, digits, '.', '_' or '-', and are not '.' or '..'")
        }
        ErrorCode::GroupIdNotFound => Some("`milena group list` shows which groups there are"),
        ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId => {
            Some("stop the group's consumers first, or wait until their sessions have timed out")
        }
        ErrorCode::MessageTooLarge => {
            Some("raise max.message.bytes: `milena config alter topic TOPIC --set max.message.bytes=...`")
        }
        _ => None,
    }
}
