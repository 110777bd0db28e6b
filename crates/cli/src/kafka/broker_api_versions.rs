//! `kafka-broker-api-versions`

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use milena_client::{BrokerVersions, Target};
use milena_wire::ApiKey;

use super::exception::Exception;
use super::options::{Flag, Options, Refusal, value};
use super::tool::{self, Spec, When};
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: The broker to connect to."),
    value("command-config", "command config property file", "A properties file for the client."),
];

/// APIs of Kafka's client that we do not speak: key, name, newest version of Kafka 4.3.
const OTHERS: &[(i16, &str, i16)] = &[
    (38, "CreateDelegationToken", 3),
    (39, "RenewDelegationToken", 2),
    (40, "ExpireDelegationToken", 2),
    (41, "DescribeDelegationToken", 3),
    (71, "GetTelemetrySubscriptions", 0),
    (72, "PushTelemetry", 0),
    (76, "ShareGroupHeartbeat", 1),
    (77, "ShareGroupDescribe", 1),
    (78, "ShareFetch", 2),
    (79, "ShareAcknowledge", 2),
    (83, "InitializeShareGroupState", 0),
    (84, "ReadShareGroupState", 0),
    (85, "WriteShareGroupState", 1),
    (86, "DeleteShareGroupState", 0),
    (87, "ReadShareGroupStateSummary", 1),
    (88, "StreamsGroupHeartbeat", 0),
    (89, "StreamsGroupDescribe", 0),
    (90, "DescribeShareGroupOffsets", 1),
    (91, "AlterShareGroupOffsets", 0),
    (92, "DeleteShareGroupOffsets", 0),
];

const SPEC: Spec =
    Spec { intro: "This tool helps to retrieve broker version information.", flags: FLAGS, throw };

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, |options| options.require(&["bootstrap-server"]), work)
}

fn throw(exception: &Exception, _: When) -> ExitCode {
    complain!("{}\n{exception}\n", exception.message());
    ExitCode::FAILURE
}

async fn work(options: Options) -> Result<(), Refusal> {
    let client = tool::connect(&options, "admin-1", "listAllBrokers").await?;
    let mut out = output::stdout();
    for broker in client.metadata().brokers.values() {
        let rack = broker.rack.as_deref().unwrap_or("null");
        write!(out, "{}:{} (id: {} rack: {rack} isFenced: false) -> ", broker.host, broker.port, broker.id)?;
        match client.versions(Target::Broker(broker.id)).await {
            Ok(versions) => writeln!(out, "{}", block(&versions))?,
            Err(error) => writeln!(out, "ERROR: {}", Exception::from(error))?,
        }
    }
    Ok(out.flush()?)
}

/// Every API that Kafka's client knows or the broker serves, by key.
fn block(versions: &BrokerVersions) -> String {
    let known = ApiKey::ALL.iter().map(|api| (api.code(), (api.name(), *api.advertised().end())));
    let known: BTreeMap<i16, (&str, i16)> =
        known.chain(OTHERS.iter().map(|(key, name, newest)| (*key, (*name, *newest)))).collect();
    let served: BTreeMap<i16, (i16, i16)> =
        versions.answer().api_keys.iter().map(|it| (it.api_key, (it.min_version, it.max_version))).collect();
    let mut keys: Vec<i16> = known.keys().chain(served.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let lines: Vec<String> = keys.iter().map(|key| line(*key, known.get(key), served.get(key))).collect();
    format!("(\n\t{}\n)", lines.join(",\n\t"))
}

fn line(key: i16, known: Option<&(&str, i16)>, served: Option<&(i16, i16)>) -> String {
    let name = known.map_or("UNKNOWN", |(name, _)| name);
    let Some((oldest, newest)) = served else { return format!("{name}({key}): UNSUPPORTED") };
    let range = if oldest == newest { oldest.to_string() } else { format!("{oldest} to {newest}") };
    let usable = match known {
        None => String::new(),
        Some((_, ours)) if ours < oldest => " [unusable: node too new]".to_owned(),
        Some((_, ours)) => format!(" [usable: {}]", ours.min(newest)),
    };
    format!("{name}({key}): {range}{usable}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_kafka_prints_them() {
        for (known, served, want) in [
            (Some(("Fetch", 18)), Some((4, 18)), "Fetch(1): 4 to 18 [usable: 18]"),
            (Some(("Fetch", 18)), Some((4, 12)), "Fetch(1): 4 to 12 [usable: 12]"),
            (Some(("Fetch", 18)), Some((0, 0)), "Fetch(1): 0 [usable: 0]"),
            (Some(("Fetch", 18)), Some((20, 21)), "Fetch(1): 20 to 21 [unusable: node too new]"),
            (Some(("Fetch", 18)), None, "Fetch(1): UNSUPPORTED"),
            (None, Some((0, 3)), "UNKNOWN(1): 0 to 3"),
        ] {
            assert_eq!(line(1, known.as_ref(), served.as_ref()), want);
        }
    }
}
