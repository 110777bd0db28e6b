//! `milena cluster health`

use std::time::{Duration, Instant};

use clap::Args;
use milena_client::Client;
use serde::Serialize;

use crate::admin::cluster::{self, Ailing, Members};
use crate::admin::topics;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Align, Format, Table};

use super::counted;

/// Pause between two looks while it waits.
const PAUSE: Duration = Duration::from_millis(200);
/// Partitions named under each heading.
const NAMED: usize = 10;

/// Arguments of `milena cluster health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Wait until the cluster is healthy, at most for --timeout. A cluster that does not answer yet is waited for too.
    #[arg(short, long)]
    wait: bool,
    /// Brokers that there must be; fewer are unhealthy.
    #[arg(long = "expect-brokers", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    brokers: Option<u32>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Health {
    healthy: bool,
    brokers: usize,
    controller: Option<i32>,
    /// What is wrong, each a phrase.
    reasons: Vec<String>,
    fenced_brokers: Vec<i32>,
    offline: Vec<String>,
    under_min_isr: Vec<String>,
    under_replicated: Vec<String>,
    at_min_isr: Vec<String>,
}

impl HealthArgs {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let deadline = Instant::now() + self.connection.timeout;
        loop {
            let looked = self.look(deadline.saturating_duration_since(Instant::now())).await;
            let is_over = !self.wait || Instant::now() + PAUSE >= deadline;
            match looked {
                Ok(health) if health.healthy || is_over => return self.tell(&health),
                Err(failure) if is_over => return Err(failure),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn look(&self, patience: Duration) -> Outcome<Health> {
        let looking = async {
            let client = self.connection.open().await?;
            Health::of(&client, self.brokers).await
        };
        let late = |_| Err(Failure::new("the cluster does not answer in time"));
        tokio::time::timeout(patience.max(PAUSE), looking).await.unwrap_or_else(late)
    }

    fn tell(&self, health: &Health) -> Outcome {
        output::print(self.format, health, tables)?;
        if health.healthy { Ok(()) } else { Err(Failure::Reported) }
    }
}

impl Health {
    async fn of(client: &Client, wanted: Option<u32>) -> Outcome<Self> {
        let members = cluster::members(client).await?;
        let topics = topics::list(client).await?;
        let min_isr = cluster::min_isr(client, &topics).await?;
        Ok(Self::judge(&members, Ailing::of(&topics, &min_isr), wanted.unwrap_or(1) as usize))
    }

    /// Partitions at their minimum are told but not held against the cluster: nothing fails yet, and they are under-replicated too.
    fn judge(members: &Members, ailing: Ailing, wanted: usize) -> Self {
        let fenced_brokers: Vec<i32> =
            members.brokers.iter().filter(|it| it.fenced).map(|it| it.id).collect();
        let live = members.brokers.len() - fenced_brokers.len();
        let mut reasons = Vec::new();
        if members.controller.is_none() {
            reasons.push("no controller is known".to_owned());
        }
        if live < wanted {
            reasons.push(format!("{} of {wanted} alive", counted(live, "broker")));
        }
        if !fenced_brokers.is_empty() {
            reasons.push(format!("{} fenced", counted(fenced_brokers.len(), "broker")));
        }
        for (partitions, what) in [
            (&ailing.offline, "without a leader"),
            (&ailing.under_min_isr, "below min.insync.replicas"),
            (&ailing.under_replicated, "under-replicated"),
        ] {
            if !partitions.is_empty() {
                reasons.push(format!("{} {what}", counted(partitions.len(), "partition")));
            }
        }
        Self {
            healthy: reasons.is_empty(),
            brokers: live,
            controller: members.controller,
            reasons,
            fenced_brokers,
            offline: ailing.offline,
            under_min_isr: ailing.under_min_isr,
            under_replicated: ailing.under_replicated,
            at_min_isr: ailing.at_min_isr,
        }
    }
}

fn tables(health: &Health) -> Vec<Table> {
    let mut summary = Table::new([("HEALTH", Align::Left), ("BROKERS", Align::Right), ("WHY", Align::Left)]);
    let verdict = if health.healthy { "healthy" } else { "unhealthy" };
    summary.row([verdict.to_owned(), health.brokers.to_string(), health.reasons.join(", ")]);
    let mut partitions = Table::new([("STATE", Align::Left), ("PARTITIONS", Align::Left)]);
    let mut is_empty = true;
    for (state, names) in [
        ("offline", &health.offline),
        ("under-min-isr", &health.under_min_isr),
        ("at-min-isr", &health.at_min_isr),
        ("under-replicated", &health.under_replicated),
    ] {
        if names.is_empty() {
            continue;
        }
        is_empty = false;
        let more = names.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        partitions.row([state.to_owned(), names[..names.len().min(NAMED)].join(",") + &rest]);
    }
    if is_empty { vec![summary] } else { vec![summary, partitions] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::cluster::Broker;

    fn members(fenced: &[bool]) -> Members {
        let broker = |(at, fenced): (usize, &bool)| Broker {
            id: at as i32 + 1,
            host: "h".to_owned(),
            port: 9092,
            rack: None,
            fenced: *fenced,
        };
        Members {
            cluster_id: None,
            controller: Some(1),
            brokers: fenced.iter().enumerate().map(broker).collect(),
        }
    }

    #[test]
    fn health_names_what_is_wrong() {
        let all = members(&[false, false, false]);
        assert!(Health::judge(&all, Ailing::default(), 3).healthy);
        assert_eq!(Health::judge(&all, Ailing::default(), 4).reasons, ["3 brokers of 4 alive"]);
        let ailing = Ailing {
            under_replicated: vec!["t-0".to_owned(), "t-1".to_owned()],
            at_min_isr: vec!["t-0".to_owned()],
            ..Default::default()
        };
        let health = Health::judge(&members(&[false, true, false]), ailing, 1);
        assert_eq!(health.reasons, ["1 broker fenced", "2 partitions under-replicated"]);
        assert_eq!(health.fenced_brokers, [2]);
        let nobody = Members { controller: None, ..members(&[false]) };
        assert_eq!(Health::judge(&nobody, Ailing::default(), 1).reasons, ["no controller is known"]);
    }
}
