//! Configurations of topics, brokers, groups and client metrics.

use milena_client::{Client, Error, Target};
use milena_wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use milena_wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use milena_wire::list_config_resources::ListConfigResourcesRequest;

use super::check;

/// What a configuration belongs to. The discriminants are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    /// A topic.
    Topic = 2,
    /// A broker; the empty name means the defaults of all brokers.
    Broker = 4,
    /// A broker's log levels.
    BrokerLogger = 8,
    /// A subscription to client metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

/// One configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Value; `None` if it has none or is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether it can only be set in the broker's file.
    pub read_only: bool,
    /// Whether its value is secret.
    pub sensitive: bool,
    /// All that define it, the one that counts first.
    pub synonyms: Vec<Synonym>,
    /// What it means, if asked for.
    pub documentation: Option<String>,
}

/// One of the places that define a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// Its name there.
    pub name: String,
    /// Its value there.
    pub value: Option<String>,
    /// The place.
    pub source: Source,
}

/// Where a value comes from, by the protocol's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(pub i8);

impl Source {
    /// Of the topic itself.
    pub const TOPIC: Source = Source(1);
    /// Of the broker, set at run time.
    pub const DYNAMIC_BROKER: Source = Source(2);
    /// Of all brokers, set at run time.
    pub const DYNAMIC_DEFAULT_BROKER: Source = Source(3);
    /// The default.
    pub const DEFAULT: Source = Source(5);
    /// Of a client metrics subscription.
    pub const CLIENT_METRICS: Source = Source(7);
    /// Of the group.
    pub const GROUP: Source = Source(8);

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "DYNAMIC_TOPIC_CONFIG",
            2 => "DYNAMIC_BROKER_CONFIG",
            3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            4 => "STATIC_BROKER_CONFIG",
            5 => "DEFAULT_CONFIG",
            6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
            7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
            8 => "DYNAMIC_GROUP_CONFIG",
            _ => "UNKNOWN",
        }
    }
}

/// A change of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the value.
    Set(String, String),
    /// Goes back to the default.
    Unset(String),
    /// Adds members to a list.
    Append(String, String),
    /// Takes members from a list.
    Subtract(String, String),
}

/// The configurations of each of `names`, in that order; each may fail on its own.
pub async fn describe(
    client: &Client,
    kind: Kind,
    names: &[String],
    documented: bool,
) -> Result<Vec<Result<Vec<Entry>, Error>>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let resource = |name: &String| DescribeConfigsResource {
        resource_type: kind as i8,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: names.iter().map(resource).collect(),
        include_synonyms: true,
        include_documentation: documented,
    };
    let answer = client.send_to(target(client, kind, names), request).await?;
    let entries = |name: &String| {
        let what = || format!("describe the configuration of {name}");
        let result = answer.results.iter().find(|it| it.resource_name == *name.as_str());
        let result = result.ok_or_else(|| Error::refused(what(), -1, Some("no answer for it".to_owned())))?;
        check(what, result.error_code, result.error_message.as_deref())?;
        Ok(result.configs.iter().map(entry).collect())
    };
    Ok(names.iter().map(entries).collect())
}

/// Who answers: the broker itself for its own configuration, else any.
fn target(client: &Client, kind: Kind, names: &[String]) -> Target<'static> {
    let id = names.first().and_then(|name| name.parse().ok());
    match (kind, id) {
        (Kind::Broker | Kind::BrokerLogger, Some(id)) if client.metadata().brokers.contains_key(&id) => {
            Target::Broker(id)
        }
        _ => Target::Any,
    }
}

fn entry(it: &DescribeConfigsResourceResult) -> Entry {
    let text = |text: &Option<milena_wire::Text>| text.as_deref().map(str::to_owned);
    Entry {
        name: it.name.to_string(),
        value: text(&it.value),
        source: Source(it.config_source),
        read_only: it.read_only,
        sensitive: it.is_sensitive,
        synonyms: it
            .synonyms
            .iter()
            .map(|it| Synonym {
                name: it.name.to_string(),
                value: text(&it.value),
                source: Source(it.source),
            })
            .collect(),
        documentation: text(&it.documentation),
    }
}

/// Applies `changes` to one resource: all of them or none.
pub async fn alter(client: &Client, kind: Kind, name: &str, changes: &[Change]) -> Result<(), Error> {
    let config = |change: &Change| {
        let (name, operation, value) = match change {
            Change::Set(name, value) => (name, 0, Some(value)),
            Change::Unset(name) => (name, 1, None),
            Change::Append(name, value) => (name, 2, Some(value)),
            Change::Subtract(name, value) => (name, 3, Some(value)),
        };
        AlterableConfig { name: name.into(), config_operation: operation, value: value.map(Into::into) }
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind as i8,
            resource_name: name.into(),
            configs: changes.iter().map(config).collect(),
        }],
        validate_only: false,
    };
    let answer = client.send_to(target(client, kind, &[name.to_owned()]), request).await?;
    answer.responses.iter().try_for_each(|it| {
        let what = || format!("alter the configuration of {name}");
        check(what, it.error_code, it.error_message.as_deref())
    })
}

/// Names of resources of `kind` that have configurations of their own.
pub async fn resources(client: &Client, kind: Kind) -> Result<Vec<String>, Error> {
    let request = ListConfigResourcesRequest { resource_types: vec![kind as i8] };
    let answer = client.send_to(Target::Any, request).await?;
    check(|| "list resources with configurations".to_owned(), answer.error_code, None)?;
    let mine = answer.config_resources.into_iter().filter(|it| it.resource_type == kind as i8);
    Ok(mine.map(|it| it.resource_name.to_string()).collect())
}
