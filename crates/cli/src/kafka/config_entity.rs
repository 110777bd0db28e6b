//! What `kafka-configs` is about: types and names of entities, and which flags go with which.

use super::exception::Exception;
use super::options::Options;
use crate::admin::configs::Kind;

/// Entity types, as the flag names them, in the order Apache lists them.
const TYPES: &[&str] =
    &["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"];

/// Flags that stand for a type and a name.
const SHORTCUTS: &[(&str, &str)] = &[
    ("topic", "topics"),
    ("client", "clients"),
    ("user", "users"),
    ("broker", "brokers"),
    ("broker-logger", "broker-loggers"),
    ("ip", "ips"),
    ("client-metrics", "client-metrics"),
    ("group", "groups"),
];

/// Flags that stand for a type and its defaults.
const DEFAULTS: &[(&str, &str)] = &[
    ("client-defaults", "clients"),
    ("user-defaults", "users"),
    ("broker-defaults", "brokers"),
    ("ip-defaults", "ips"),
];

/// The entity that the flags name: its type and, if given, its name (empty for the defaults).
#[derive(Debug, PartialEq, Eq)]
pub struct Entity {
    /// Types, in the plural; two for the clients of a user.
    pub types: Vec<String>,
    /// Names, empty for the defaults.
    pub names: Vec<String>,
}

impl Entity {
    /// The entity of a command line.
    pub fn of(options: &Options) -> Self {
        let mut entity = Entity { types: Vec::new(), names: Vec::new() };
        for (flag, value) in options.given() {
            let value = value.unwrap_or_default().to_owned();
            match flag {
                "entity-type" => entity.types.push(value),
                "entity-name" => entity.names.push(value),
                "entity-default" => entity.names.push(String::new()),
                _ => {}
            }
        }
        for (flag, kind) in SHORTCUTS {
            for value in options.values(flag) {
                entity.types.push((*kind).to_owned());
                entity.names.push(value.to_owned());
            }
        }
        for (_, kind) in DEFAULTS.iter().filter(|(flag, _)| options.has(flag)) {
            entity.types.push((*kind).to_owned());
            entity.names.push(String::new());
        }
        entity
    }

    /// What the protocol calls the type.
    pub fn kind(&self) -> Result<Kind, Exception> {
        match self.types[0].as_str() {
            "topics" => Ok(Kind::Topic),
            "brokers" => Ok(Kind::Broker),
            "broker-loggers" => Ok(Kind::BrokerLogger),
            "client-metrics" => Ok(Kind::ClientMetrics),
            "groups" => Ok(Kind::Group),
            other => Err(Exception::kafka(
                "UnsupportedVersionException",
                format!("{other} have quotas and credentials, which this tool does not manage yet"),
            )),
        }
    }

    /// The type in the singular.
    pub fn one(&self) -> &str {
        &self.types[0][..self.types[0].len() - 1]
    }
}

/// Refuses entities that do not exist, and flags that do not go with them.
pub fn check(options: &Options, entity: &Entity) -> Result<(), String> {
    let types = &entity.types;
    if let Some(unknown) = types.iter().find(|it| !TYPES.contains(&it.as_str())) {
        return Err(format!(
            "Invalid entity type {unknown}, the entity type must be one of {} with a --bootstrap-server or \
             --bootstrap-controller argument",
            TYPES.join(", ")
        ));
    }
    let all = types.join(",");
    match types.as_slice() {
        [] => return Err("At least one entity type must be specified".to_owned()),
        [_] => {}
        [one, other] if one == other => return Err(format!("Duplicate entity type(s) specified: {one}")),
        several if several.iter().all(|it| it == "users" || it == "clients") => {}
        _ => return Err("Only 'users' and 'clients' entity types may be specified together".to_owned()),
    }
    let generic = options.count(&["entity-name", "entity-type", "entity-default"]) > 0;
    if generic && SHORTCUTS.iter().chain(DEFAULTS).any(|(flag, _)| options.has(flag)) {
        let message =
            "--entity-{type,name,default} should not be used in conjunction with specific entity flags";
        return Err(message.to_owned());
    }
    let named = entity.names.iter().any(|name| !name.is_empty());
    let of_broker = types[0] == "brokers" || types[0] == "broker-loggers";
    if of_broker
        && let Some(id) = entity.names.iter().find(|name| !name.is_empty() && name.parse::<i32>().is_err())
    {
        return Err(format!("The entity name for {all} must be a valid integer broker id, but it is: {id}"));
    }
    let has_defaults = ["users", "clients", "brokers", "ips"].contains(&types[0].as_str());
    if options.has("describe") && options.has("entity-default") && !has_defaults {
        return Err(format!("--entity-default must not be specified with --describe of {all}"));
    }
    if options.has("describe") && types[0] == "broker-loggers" && !named {
        return Err(format!("An entity name must be specified with --describe of {all}"));
    }
    if options.has("alter") { check_alter(options, entity, named, has_defaults, &all) } else { Ok(()) }
}

fn check_alter(
    options: &Options,
    entity: &Entity,
    named: bool,
    has_defaults: bool,
    all: &str,
) -> Result<(), String> {
    if has_defaults && entity.names.is_empty() {
        let message = "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips";
        return Err(message.to_owned());
    }
    if !has_defaults && !named {
        return Err(format!("An entity name must be specified with --alter of {all}"));
    }
    if options.has("add-config") && options.has("add-config-file") {
        return Err("Only one of --add-config or --add-config-file must be specified".to_owned());
    }
    if options.count(&["add-config", "add-config-file", "delete-config"]) == 0 {
        let message = "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter";
        return Err(message.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::configs::FLAGS;
    use super::*;

    #[test]
    fn entities_are_named_in_two_ways() {
        let entity = |line: &str| {
            let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let entity = Entity::of(&Options::parse(FLAGS, &arguments).unwrap());
            (entity.types.join(","), entity.names.join(","))
        };
        for (line, types, names) in [
            ("--topic a", "topics", "a"),
            ("--entity-type topics --entity-name a", "topics", "a"),
            ("--broker-defaults", "brokers", ""),
            (
                "--entity-type users --entity-name u --entity-type clients --entity-name c",
                "users,clients",
                "u,c",
            ),
        ] {
            assert_eq!(entity(line), (types.to_owned(), names.to_owned()), "{line}");
        }
    }
}
