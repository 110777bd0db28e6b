//! `milena health`

use std::time::Duration;

use clap::Args;
use milena_client::{Client, ClientOptions};

use crate::admin::topics;
use crate::failure::{Failure, Outcome};
use crate::time;

use super::{Each, counted};

/// Says whether a broker answers and knows its controller: exit code 0, else 1. For container health checks.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Print nothing.
    #[arg(short, long)]
    quiet: bool,
    /// Fail if a partition has no leader.
    #[arg(long)]
    partitions: bool,
    /// Brokers to ask, separated by commas.
    #[arg(
        short = 'b',
        long,
        value_name = "HOST:PORT",
        env = "MILENA_BOOTSTRAP_SERVERS",
        default_value = "localhost:9092"
    )]
    bootstrap_server: String,
    /// Longest wait for the answer.
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = time::parse_span)]
    timeout: Duration,
}

impl HealthArgs {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let options = ClientOptions {
            client_id: "milena-health".to_owned(),
            connect_timeout: self.timeout,
            request_timeout: self.timeout,
            deadline: self.timeout,
            ..ClientOptions::default()
        };
        let checked = tokio::time::timeout(self.timeout, self.check(options)).await;
        let late = || Failure::new(format!("no answer within {:?}", self.timeout));
        let message = checked.unwrap_or_else(|_| Err(late()))?;
        if self.quiet { Ok(()) } else { Each::new().done(&message) }
    }

    async fn check(&self, options: ClientOptions) -> Outcome<String> {
        let bootstrap = std::slice::from_ref(&self.bootstrap_server);
        let client = Client::connect(bootstrap, options).await?;
        let metadata = client.metadata();
        let unhealthy = |what: &str| Err(Failure::new(format!("unhealthy: {what}")));
        if metadata.controller.is_none() {
            return unhealthy("no controller is known");
        }
        if metadata.brokers.is_empty() {
            return unhealthy("no broker is alive");
        }
        if self.partitions {
            let topics = topics::list(&client).await?;
            let offline =
                topics.iter().flat_map(|it| &it.partitions).filter(|it| it.leader.is_none()).count();
            if offline > 0 {
                return unhealthy(&format!("{offline} partitions have no leader"));
            }
        }
        Ok(format!("healthy: {}", counted(metadata.brokers.len(), "broker")))
    }
}
