//! Cuts in the network between brokers: whose packets are dropped, which way, and for how long.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use super::system::run;
use crate::failure::Outcome;

/// A flapping network stays as it is for so many milliseconds at least, ..
const FLAP_LEAST: u64 = 200;
/// .. and at most so many more.
const FLAP_MORE: u64 = 300;

/// How a broker is cut off from other brokers. Its clients still reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// From all others, both ways.
    #[default]
    Full,
    /// What the others send to it is dropped.
    OneWayIn,
    /// What it sends to the others is dropped.
    OneWayOut,
    /// From one other broker, both ways; the two are the controller only if that is aimed at.
    Link,
    /// From all others, both ways, on and off every 200 to 500 ms.
    Flapping,
}

impl Cut {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |it| it.get_name().to_owned())
    }

    /// How long it lasts at least unless the user says otherwise.
    pub fn lasts(self) -> Duration {
        Duration::from_secs(if self == Self::Flapping { 20 } else { 5 })
    }

    /// The rules of a broker's firewall that cut it off from these addresses.
    fn rules(self, hosts: &[String]) -> Vec<String> {
        let both = matches!(self, Self::Full | Self::Link | Self::Flapping);
        let (hears, speaks) = (both || self == Self::OneWayIn, both || self == Self::OneWayOut);
        let of = |host: &String| {
            let heard = hears.then(|| format!("-A INPUT -s {host} -j DROP"));
            let said = speaks.then(|| format!("-A OUTPUT -d {host} -j DROP"));
            [heard, said].into_iter().flatten()
        };
        hosts.iter().flat_map(of).collect()
    }
}

/// The firewall of one broker, in the broker's network namespace.
#[derive(Clone, Debug)]
pub struct Firewall {
    namespace: String,
    rules: Vec<String>,
}

impl Firewall {
    /// Of the broker in `namespace`, to cut it off from `hosts`.
    pub fn new(namespace: String, cut: Cut, hosts: &[String]) -> Self {
        Self { namespace, rules: cut.rules(hosts) }
    }

    /// Drops the packets, all from the same moment on, or none any more.
    pub fn close(&self, closed: bool) -> Outcome {
        let rules = if closed { self.rules.join("\n") } else { String::new() };
        let table = format!("*filter\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n{rules}\nCOMMIT");
        let script = r#"printf '%s\n' "$0" | iptables-restore"#;
        run("ip", &["netns", "exec", &self.namespace, "sh", "-c", script, &table])
    }

    /// Opens and closes it again and again until `until`, and leaves it open.
    pub async fn flap(self, until: Instant) -> Outcome {
        let mut closed = true;
        let mut random = u64::from(std::process::id());
        while Instant::now() < until {
            // An odd multiplier and the high bits: as random as a network needs to be.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis(FLAP_LEAST + (random >> 33) % FLAP_MORE)).await;
            closed = !closed;
            self.set(closed).await?;
        }
        self.set(false).await
    }

    async fn set(&self, closed: bool) -> Outcome {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || this.close(closed)).await;
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_drop_what_is_heard_what_is_said_or_both() {
        let hosts = ["10.0.0.2".to_owned()];
        let (heard, said) = ("-A INPUT -s 10.0.0.2 -j DROP", "-A OUTPUT -d 10.0.0.2 -j DROP");
        assert_eq!(Cut::Full.rules(&hosts), [heard, said]);
        assert_eq!(Cut::Link.rules(&hosts), [heard, said]);
        assert_eq!(Cut::OneWayIn.rules(&hosts), [heard]);
        assert_eq!(Cut::OneWayOut.rules(&hosts), [said]);
    }
}
