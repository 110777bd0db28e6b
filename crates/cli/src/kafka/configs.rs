//! `kafka-configs`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use milena_client::Client;

use super::config_entity::{self, Entity};
use super::exception::Exception;
use super::java;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use crate::admin::configs::{self, Change, Entry, Kind, Source};
use crate::admin::{groups, live_brokers, topics};
use crate::output::{self, complain};

/// The flags.
pub const FLAGS: &[Flag] = &[
    value("bootstrap-server", "server to connect to", "The broker to connect to."),
    value("bootstrap-controller", "controller to connect to", "The controller to connect to."),
    value("command-config", "command config property file", "A properties file for the client."),
    switch("alter", "Change configurations."),
    switch("describe", "Show configurations."),
    switch("all", "Show inherited and default configurations too."),
    value(
        "entity-type",
        "type",
        "topics, brokers, groups, client-metrics, broker-loggers, users, clients or ips.",
    ),
    value("entity-name", "name", "Name of the entity."),
    switch("entity-default", "The defaults of the type."),
    value(
        "add-config",
        "k1=v1,k2=[v1,v2]",
        "Configurations to set; brackets group values that contain commas.",
    ),
    value("add-config-file", "file", "A properties file of configurations to set."),
    value("delete-config", "k1,k2", "Configurations to set back to their defaults."),
    value("topic", "name", "A topic."),
    value("client", "id", "A client id."),
    switch("client-defaults", "The defaults of all clients."),
    value("user", "name", "A user."),
    switch("user-defaults", "The defaults of all users."),
    value("broker", "id", "A broker."),
    switch("broker-defaults", "The defaults of all brokers."),
    value("broker-logger", "id", "The log levels of a broker."),
    switch("ip-defaults", "The defaults of all addresses."),
    value("ip", "address", "An address."),
    value("group", "id", "A group."),
    value("client-metrics", "name", "A client metrics subscription."),
];

const SPEC: Spec = Spec {
    intro: "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, \
            client-metrics or group",
    flags: FLAGS,
    throw,
};

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let line = arguments.join(" ");
    tool::run(&SPEC, arguments, check, |options| async move {
        work(&options).await.inspect_err(|refusal| {
            if let Refusal::Exception(exception) = refusal
                && !is_terse(exception)
            {
                complain!("Error while executing config command with args '{line}'");
            }
        })
    })
}

/// Exceptions that the tool prints as their message alone.
fn is_terse(exception: &Exception) -> bool {
    let class = exception.class();
    class == "java.lang.IllegalArgumentException"
        || class.starts_with("joptsimple.")
        || exception.is("InvalidConfigurationException")
        || exception.is("UnsupportedVersionException")
}

fn throw(exception: &Exception, _: When) -> ExitCode {
    match is_terse(exception) {
        true => complain!("{}", exception.message()),
        false => complain!("{exception}"),
    }
    ExitCode::FAILURE
}

fn check(options: &Options) -> Result<(), Refusal> {
    if options.count(&["alter", "describe"]) != 1 {
        let message = "Command must include exactly one action: --describe, --alter";
        return Err(Refusal::Usage(message.to_owned()));
    }
    options.exclude("describe", &["add-config", "delete-config"])?;
    if options.count(&["bootstrap-server", "bootstrap-controller"]) == 0 {
        let message = "Either --bootstrap-server or --bootstrap-controller must be specified.";
        return Err(Exception::illegal_argument(message).into());
    }
    if options.has("bootstrap-controller") {
        let message = "This tool speaks to brokers only: use --bootstrap-server";
        return Err(Exception::illegal_argument(message).into());
    }
    config_entity::check(options, &Entity::of(options))
        .map_err(|message| Exception::illegal_argument(message).into())
}

async fn work(options: &Options) -> Result<(), Refusal> {
    let entity = Entity::of(options);
    if options.has("alter") && entity.types.len() != entity.names.len() {
        let message = "An entity name must be specified for every entity type";
        return Err(Exception::illegal_argument(message).into());
    }
    let kind = entity.kind()?;
    if options.has("alter") {
        let changes = changes(options)?;
        let client = tool::connect(options, "adminclient-1", "incrementalAlterConfigs").await?;
        alter(&client, kind, &entity, &changes).await
    } else {
        let client = tool::connect(options, "adminclient-1", "describeConfigs").await?;
        describe(&client, kind, &entity, options.has("all")).await
    }
}

fn changes(options: &Options) -> Result<Vec<Change>, Exception> {
    let mut set = match options.value("add-config-file")? {
        Some(path) => java::load_properties(path)?,
        None => BTreeMap::new(),
    };
    set.extend(parse_add_config(options.value("add-config")?.unwrap_or_default())?);
    let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    if let Some(key) = set.keys().find(|key| !key.chars().all(plain)) {
        return Err(Exception::illegal_argument(format!("Invalid character found for config key: {key}")));
    }
    let deleted = options.values("delete-config").flat_map(|list| list.split(',')).map(str::trim);
    let unset = deleted.map(|name| Change::Unset(name.to_owned()));
    Ok(unset.chain(set.into_iter().map(|(name, value)| Change::Set(name, value))).collect())
}

/// Reads `k1=v1,k2=[v1,v2]`; commas and equals signs inside of brackets belong to the value.
fn parse_add_config(text: &str) -> Result<Vec<(String, String)>, Exception> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    split_outside_brackets(text, ',')
        .into_iter()
        .map(|pair| parse_pair(pair).ok_or_else(wrong_add_config))
        .collect()
}

fn parse_pair(pair: &str) -> Option<(String, String)> {
    match split_outside_brackets(pair, '=').as_slice() {
        [name, value] => Some((name.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned())),
        _ => None,
    }
}

fn wrong_add_config() -> Exception {
    Exception::illegal_argument(
        "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \
         \"key=[val1,val2]\" to group values which contain commas.",
    )
}

fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut inside = false;
    text.split(|character| {
        inside = match character {
            '[' => true,
            ']' => false,
            _ => inside,
        };
        character == separator && !inside
    })
    .collect()
}

async fn alter(client: &Client, kind: Kind, entity: &Entity, changes: &[Change]) -> Result<(), Refusal> {
    let name = &entity.names[0];
    configs::alter(client, kind, name, changes).await.map_err(|error| Exception::from(error).in_future())?;
    let mut out = output::stdout();
    match name.is_empty() {
        false => writeln!(out, "Completed updating config for {} {name}.", entity.one())?,
        true => writeln!(out, "Completed updating default config for {} in the cluster.", entity.types[0])?,
    }
    Ok(out.flush()?)
}

async fn describe(client: &Client, kind: Kind, entity: &Entity, all: bool) -> Result<(), Refusal> {
    let mut out = output::stdout();
    let names = match entity.names.first() {
        Some(name) if all || exists(client, kind, name).await? => vec![name.clone()],
        Some(name) => {
            let one = entity.one();
            writeln!(out, "The {one} '{name}' doesn't exist and doesn't have dynamic config.")?;
            return Ok(out.flush()?);
        }
        None => everything(client, kind).await?,
    };
    for name in names {
        match name.is_empty() {
            true => writeln!(out, "Default configs for {} in the cluster are:", entity.types[0])?,
            false => writeln!(
                out,
                "{} configs for {} {name} are:",
                if all { "All" } else { "Dynamic" },
                entity.one()
            )?,
        }
        let described = configs::describe(client, kind, std::slice::from_ref(&name), false).await?;
        for described in described {
            let mut entries = described.map_err(|error| Exception::from(error).in_future())?;
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            let own = own_source(kind, &name);
            for entry in entries.iter().filter(|it| all || own.is_none_or(|own| it.source == own)) {
                writeln!(out, "{}", line(entry))?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Source of the configurations that belong to the entity itself.
fn own_source(kind: Kind, name: &str) -> Option<Source> {
    match kind {
        Kind::Topic => Some(Source::TOPIC),
        Kind::Broker if name.is_empty() => Some(Source::DYNAMIC_DEFAULT_BROKER),
        Kind::Broker => Some(Source::DYNAMIC_BROKER),
        Kind::BrokerLogger => None,
        Kind::ClientMetrics => Some(Source::CLIENT_METRICS),
        Kind::Group => Some(Source::GROUP),
    }
}

fn line(entry: &Entry) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms: Vec<String> = entry
        .synonyms
        .iter()
        .map(|it| format!("{}:{}={}", it.source.name(), it.name, text(&it.value)))
        .collect();
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        text(&entry.value),
        entry.sensitive,
        synonyms.join(", ")
    )
}

async fn exists(client: &Client, kind: Kind, name: &str) -> Result<bool, Refusal> {
    Ok(match kind {
        Kind::Topic => topics::list(client).await?.iter().any(|it| it.name == name),
        Kind::Broker | Kind::BrokerLogger => {
            name.is_empty() || live_brokers(client).iter().any(|id| id.to_string() == name)
        }
        Kind::ClientMetrics | Kind::Group => everything(client, kind).await?.iter().any(|it| it == name),
    })
}

/// Every entity of a kind, in Apache's order.
async fn everything(client: &Client, kind: Kind) -> Result<Vec<String>, Refusal> {
    Ok(match kind {
        Kind::Topic => {
            let names = topics::list(client).await?.into_iter().map(|it| it.name).collect();
            java::hash_order(names, |name| name)
        }
        Kind::Broker | Kind::BrokerLogger => {
            let ids = live_brokers(client).into_iter().map(|id| id.to_string());
            ids.chain([String::new()]).collect()
        }
        Kind::ClientMetrics => configs::resources(client, kind).await?,
        Kind::Group => {
            let listed = groups::list(client, &[], &[]).await?.into_iter().map(|it| it.id);
            let configured = configs::resources(client, kind).await?;
            listed.chain(configured).collect::<BTreeSet<_>>().into_iter().collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_config_groups_by_brackets() {
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        for (text, want) in [
            ("", pairs(&[])),
            ("a=1", pairs(&[("a", "1")])),
            ("a = 1,b=[x,y],c=", pairs(&[("a", "1"), ("b", "x,y"), ("c", "")])),
            ("a=[k=v,l=w]", pairs(&[("a", "k=v,l=w")])),
            ("a", Err(wrong_add_config())),
            ("a=1=2", Err(wrong_add_config())),
        ] {
            assert_eq!(parse_add_config(text), want, "{text}");
        }
    }
}
