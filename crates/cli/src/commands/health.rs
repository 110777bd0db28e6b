//! `milena health`

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Args;
use milena_client::{Client, ClientOptions};

use crate::admin::topics;
use crate::failure::{Failure, Outcome};
use crate::time;

use super::{Each, counted};

/// Says whether a broker answers and knows its controller: exit code 0, else 1. For container health checks.
///
/// With --ready it asks the broker of this machine or container instead whether it is ready: in the cluster, and in sync with
/// all that it should hold.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Print nothing.
    #[arg(short, long)]
    quiet: bool,
    /// Fail if a partition has no leader.
    #[arg(long)]
    partitions: bool,
    /// Ask this machine's broker at its milena.http.listener whether it is ready.
    #[arg(long, conflicts_with = "partitions")]
    ready: bool,
    /// Where --ready asks: what milena.http.listener says.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "KAFKA_MILENA_HTTP_LISTENER",
        default_value = "127.0.0.1:9644"
    )]
    http_listener: String,
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
        if self.ready {
            let message = self.check_ready()?;
            return if self.quiet { Ok(()) } else { Each::new().done(&message) };
        }
        let checked = tokio::time::timeout(self.timeout, self.check(options)).await;
        let late = || Failure::new(format!("no answer within {:?}", self.timeout));
        let message = checked.unwrap_or_else(|_| Err(late()))?;
        if self.quiet { Ok(()) } else { Each::new().done(&message) }
    }

    fn check_ready(&self) -> Outcome<String> {
        // What is open everywhere is reached at home.
        let address = self.http_listener.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
        let failed = |error: std::io::Error| Failure::new(format!("http://{address}/readyz: {error}"));
        let answer = get(&address, "/readyz", self.timeout).map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let is_ready = head.split(' ').nth(1) == Some("200");
        let message = body.trim_end().to_owned();
        if is_ready { Ok(message) } else { Err(Failure::new(message)) }
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

/// One request over HTTP/1.0: head and body of the answer, at most 64 KiB.
fn get(address: &str, path: &str, timeout: Duration) -> std::io::Result<String> {
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(timeout))?;
                write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
                let mut answer = String::new();
                stream.take(64 * 1024).read_to_string(&mut answer)?;
                return Ok(answer);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
