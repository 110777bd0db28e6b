//! IncrementalAlterConfigs (44) and AlterConfigs (33): test ids CF-4 to CF-7.

use milena_config::{
    BrokerConfig, ClientMetricsConfig, ConfigType, GroupConfig, Overrides, Setting, TopicConfig, tables,
};

use crate::decide::Decision;
use crate::election::PartitionChange;
use crate::{BrokerId, Image, Record, Refusal, Resource, names};

/// Longest value of a setting, as in Kafka.
pub const MAX_VALUE: usize = i16::MAX as usize;

/// How one setting changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Override it.
    Set,
    /// Remove the override.
    Delete,
    /// Add members to a list.
    Append,
    /// Take members off a list.
    Subtract,
}

impl Operation {
    /// Reads Kafka's code.
    pub fn from_code(code: i8) -> Result<Self, Refusal> {
        match code {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            other => Err(Refusal::UnknownOperation(other)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

/// A resource as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Kafka's type code.
    pub code: i8,
    /// Its name.
    pub name: String,
}

/// Changes of one resource: whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alteration {
    /// Whose settings.
    pub target: Target,
    /// Setting, code of the [`Operation`], value.
    pub operations: Vec<(String, i8, Option<String>)>,
}

/// Replacement of one resource's overrides by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Whose settings.
    pub target: Target,
    /// Setting and value.
    pub configs: Vec<(String, Option<String>)>,
}

/// Answers by resource, in the order asked.
pub type AlterConfigsAnswer = Vec<(Target, Result<(), Refusal>)>;

/// Changes overrides one by one. `receiver` is the broker that got the request: a broker's settings are altered there
/// (test id CF-9).
pub fn alter_incrementally(
    image: &Image,
    config: &BrokerConfig,
    receiver: BrokerId,
    alterations: &[Alteration],
    validate_only: bool,
) -> Decision<AlterConfigsAnswer> {
    let targets: Vec<&Target> = alterations.iter().map(|it| &it.target).collect();
    alter_each(image, config, receiver, &targets, validate_only, |at, resource, now| {
        let alteration = &alterations[at];
        check_keys(alteration.operations.iter().map(|(name, _, _)| name))?;
        let nulls = alteration.operations.iter().filter(|(_, code, value)| *code != 1 && value.is_none());
        check_nulls(nulls.map(|(name, _, _)| name.clone()).collect())?;
        let mut next = now.clone();
        for (name, code, value) in &alteration.operations {
            apply(
                resource,
                config,
                &mut next,
                name,
                Operation::from_code(*code)?,
                value.as_deref().unwrap_or(""),
            )?;
        }
        Ok(next)
    })
}

/// Replaces all overrides of each resource (the older API; test id CF-6).
pub fn replace(
    image: &Image,
    config: &BrokerConfig,
    receiver: BrokerId,
    replacements: &[Replacement],
    validate_only: bool,
) -> Decision<AlterConfigsAnswer> {
    let targets: Vec<&Target> = replacements.iter().map(|it| &it.target).collect();
    alter_each(image, config, receiver, &targets, validate_only, |at, _, _| {
        let replacement = &replacements[at];
        check_keys(replacement.configs.iter().map(|(name, _)| name))?;
        let nulls = replacement.configs.iter().filter(|(_, value)| value.is_none());
        check_nulls(nulls.map(|(name, _)| name.clone()).collect())?;
        Ok(replacement
            .configs
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect())
    })
}

/// Works out each resource's next overrides by `next`, checks them and makes the records.
fn alter_each(
    image: &Image,
    config: &BrokerConfig,
    receiver: BrokerId,
    targets: &[&Target],
    validate_only: bool,
    next: impl Fn(usize, &Resource, &Overrides) -> Result<Overrides, Refusal>,
) -> Decision<AlterConfigsAnswer> {
    let mut records = Vec::new();
    let mut answer = Vec::new();
    for (at, target) in targets.iter().enumerate() {
        let repeated = targets.iter().enumerate().any(|(other, it)| other != at && it == target);
        let outcome = if repeated {
            Err(Refusal::DuplicateResource)
        } else {
            alter_one(image, config, receiver, target, &mut records, |resource, now| next(at, resource, now))
        };
        answer.push(((*target).clone(), outcome));
    }
    if validate_only {
        records.clear();
    }
    Decision { records, answer }
}

fn alter_one(
    image: &Image,
    config: &BrokerConfig,
    receiver: BrokerId,
    target: &Target,
    records: &mut Vec<Record>,
    next: impl FnOnce(&Resource, &Overrides) -> Result<Overrides, Refusal>,
) -> Result<(), Refusal> {
    let resource =
        Resource::from_code(target.code, &target.name).ok_or(Refusal::UnknownResourceType(target.code))?;
    check_name(receiver, &resource)?;
    let now = image.overrides(&resource);
    let next = next(&resource, &now)?;
    check_lengths(next.values())?;
    validate(config, &resource, &now, &next)?;
    check_exists(image, &resource)?;
    let removed = now.keys().filter(|name| !next.contains_key(*name)).map(|name| (name, None));
    // A broker's settings are written even if they stay the same: it makes the broker read its key stores again.
    let is_broker = matches!(resource, Resource::Broker(_));
    let set = next
        .iter()
        .filter(|(name, value)| is_broker || now.get(*name) != Some(value))
        .map(|(name, value)| (name, Some(value.clone())));
    records.extend(removed.chain(set).map(|(name, value)| Record::ConfigSet {
        resource: resource.clone(),
        name: name.clone(),
        value,
    }));
    records.extend(move_minimum(image, config, &resource, &next));
    Ok(())
}

fn check_keys<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    let mut names: Vec<&String> = names.collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() == count { Ok(()) } else { Err(Refusal::DuplicateConfigKeys) }
}

fn check_nulls(nulls: Vec<String>) -> Result<(), Refusal> {
    if nulls.is_empty() { Ok(()) } else { Err(Refusal::NullConfigs(nulls)) }
}

/// Whether all values are short enough to be stored.
pub(crate) fn check_lengths<'a>(values: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    let mut values = values;
    if values.any(|value| value.len() > MAX_VALUE) {
        return Err(Refusal::ConfigTooLong { limit: MAX_VALUE });
    }
    Ok(())
}

fn check_name(receiver: BrokerId, resource: &Resource) -> Result<(), Refusal> {
    match resource {
        Resource::Topic(name) if name.is_empty() => Err(Refusal::DefaultTopic),
        Resource::Topic(name) => match names::fault(name) {
            Some(fault) => Err(Refusal::InvalidTopicName(fault)),
            None => Ok(()),
        },
        Resource::Broker(name) if name.is_empty() => Ok(()),
        Resource::Broker(name) => match name.parse() {
            Ok(id) if BrokerId(id) == receiver => Ok(()),
            Ok(_) => Err(Refusal::OtherBroker { expected: receiver, received: name.clone() }),
            Err(_) => Err(Refusal::BrokerNameNotANumber(name.clone())),
        },
        Resource::ClientMetrics(name) if name.is_empty() => Err(Refusal::DefaultSubscription),
        Resource::Group(name) if name.is_empty() => Err(Refusal::DefaultGroup),
        Resource::ClientMetrics(_) | Resource::Group(_) => Ok(()),
    }
}

/// Whether what is altered is there. Groups and subscriptions need not be.
fn check_exists(image: &Image, resource: &Resource) -> Result<(), Refusal> {
    match resource {
        Resource::Topic(name) if image.topic(name).is_none() => {
            Err(Refusal::NoSuchTopicResource(name.clone()))
        }
        _ => Ok(()),
    }
}

fn validate(
    config: &BrokerConfig,
    resource: &Resource,
    now: &Overrides,
    next: &Overrides,
) -> Result<(), Refusal> {
    match resource {
        Resource::Topic(_) => TopicConfig::validate(next, config).map_err(Refusal::InvalidConfig),
        Resource::Group(_) => GroupConfig::validate(next).map_err(Refusal::InvalidConfig),
        Resource::ClientMetrics(_) => ClientMetricsConfig::validate(next).map_err(Refusal::InvalidConfig),
        Resource::Broker(name) => {
            const MIN_ISR: &str = "min.insync.replicas";
            if !name.is_empty() && now.get(MIN_ISR) != next.get(MIN_ISR) && next.contains_key(MIN_ISR) {
                return Err(Refusal::BrokerMinIsr);
            }
            BrokerConfig::validate_dynamic(next, name.is_empty()).map_err(Refusal::InvalidBrokerConfig)
        }
    }
}

/// The setting called `name` of a resource, if it is known.
fn setting(resource: &Resource, name: &str) -> Option<&'static Setting> {
    match resource {
        Resource::Topic(_) => tables::topic(name),
        Resource::Broker(_) => tables::broker(name).map(|(_, _, setting)| setting),
        Resource::Group(_) => tables::resources::group::GROUP.iter().find(|row| row.name == name),
        Resource::ClientMetrics(_) => {
            tables::resources::client_metrics::CLIENT_METRICS.iter().find(|row| row.name == name)
        }
    }
}

/// Applies one operation to a resource's overrides.
fn apply(
    resource: &Resource,
    config: &BrokerConfig,
    overrides: &mut Overrides,
    name: &str,
    operation: Operation,
    value: &str,
) -> Result<(), Refusal> {
    match operation {
        Operation::Set => {
            overrides.insert(name.to_owned(), value.to_owned());
        }
        Operation::Delete => {
            overrides.remove(name);
        }
        Operation::Append | Operation::Subtract => {
            let list = setting(resource, name)
                .filter(|setting| setting.kind == ConfigType::List)
                .ok_or_else(|| Refusal::NotAList { operation: operation.name(), key: name.to_owned() })?;
            let now = overrides.get(name).cloned().unwrap_or_else(|| in_force(list, resource, config));
            let mut members: Vec<&str> = now.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
            for member in value.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                match operation {
                    Operation::Append if !members.contains(&member) => members.push(member),
                    Operation::Subtract => members.retain(|it| *it != member),
                    _ => {}
                }
            }
            let joined = members.join(",");
            overrides.insert(name.to_owned(), joined);
        }
    }
    Ok(())
}

/// The text of a list setting as it is without an override.
fn in_force(list: &Setting, resource: &Resource, config: &BrokerConfig) -> String {
    let described = match resource {
        Resource::Topic(_) => milena_config::describe::topic(&Overrides::new(), config),
        Resource::Broker(_) => milena_config::describe::broker(config),
        _ => Vec::new(),
    };
    let entry = described.into_iter().find(|entry| entry.name == list.name);
    entry.and_then(|entry| entry.value).or_else(|| list.default.map(str::to_owned)).unwrap_or_default()
}

/// Changes of partitions that follow from a change of settings: `min.insync.replicas` stands in their records.
fn move_minimum(image: &Image, config: &BrokerConfig, resource: &Resource, next: &Overrides) -> Vec<Record> {
    let topics: Vec<_> = match resource {
        Resource::Topic(name) => image.topic(name).into_iter().collect(),
        Resource::Broker(name) if name.is_empty() => image.topics().collect(),
        _ => return Vec::new(),
    };
    let future = match resource {
        Resource::Broker(_) => config.with_dynamic(next, config.layer(milena_config::Layer::DynamicBroker)),
        _ => config.clone(),
    };
    let mut records = Vec::new();
    for topic in topics {
        let own = Resource::Topic(topic.name.to_string());
        let overrides = if *resource == own { next.clone() } else { (*image.overrides(&own)).clone() };
        let minimum = TopicConfig::resolve(&overrides, &future).min_insync_replicas();
        let is_active = |id| image.is_active(id);
        for (index, partition) in topic.iter().filter(|(_, it)| it.min_insync_replicas != minimum) {
            let mut change = PartitionChange::new(partition, &is_active);
            change.min_insync_replicas = minimum;
            if let Some(partition) = change.build() {
                records.push(Record::PartitionSet { topic: topic.id, index, partition });
            }
        }
    }
    records
}
