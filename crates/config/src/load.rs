//! From a properties file, the environment and the command line to a broker's settings.
//!
//! The command line wins over the environment, the environment over the file. Unknown names and relics warn, they do
//! not stop a start: files from every release of Kafka work.

use crate::environment::{self, Environment};
use crate::topic_list::TopicToCreate;
use crate::{BrokerConfig, Effect, Overrides, StartError, container, properties, tables};

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Name and text of the properties file.
    pub file: Option<(String, String)>,
    /// The process's environment; variables that are none of ours are passed over.
    pub environment: Vec<(String, String)>,
    /// Arguments of `--set`, each `key=value`.
    pub set: Vec<String>,
    /// Argument of `--data-dir`; wins over `log.dirs` and `log.dir`.
    pub data_dir: Option<String>,
    /// The process is a container's, with the defaults of Kafka's images ([`container`]).
    pub container: bool,
}

/// A broker's settings, and what else the sources said.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub broker: BrokerConfig,
    /// Lines to log as warnings, each a sentence.
    pub warnings: Vec<String>,
    /// Cluster id to format an empty data directory with.
    pub cluster_id: Option<String>,
    /// Topics to create at the first start.
    pub create_topics: Vec<TopicToCreate>,
}

impl Sources {
    /// Puts the sources together.
    pub fn load(self) -> Result<Loaded, StartError> {
        let mut settings = match &self.file {
            Some((name, text)) => properties::parse(name, text)?,
            None => Overrides::new(),
        };
        let bitnami = self.environment.iter().any(|(name, _)| name.starts_with("KAFKA_CFG_"));
        let Environment { settings: variables, cluster_id, create_topics } =
            environment::read(self.environment)?;
        settings.extend(variables.clone());
        for argument in &self.set {
            let (name, value) = argument.split_once('=').ok_or_else(|| StartError::Set(argument.clone()))?;
            settings.insert(name.trim().to_owned(), value.to_owned());
        }
        if let Some(directory) = self.data_dir {
            settings.insert("log.dirs".to_owned(), directory);
        }
        adopt_relatives(&mut settings, &variables);
        if self.container {
            container::add_defaults(&mut settings, bitnami);
        }
        let mut warnings: Vec<String> = settings.keys().filter_map(|name| warning(name)).collect();
        warnings.extend(without_effect_yet(&settings));
        let broker = BrokerConfig::new(settings)?;
        warnings.extend(broker.listeners().warnings.iter().cloned());
        Ok(Loaded { broker, warnings, cluster_id, create_topics })
    }
}

/// Settings that follow from others when they are not given.
fn adopt_relatives(settings: &mut Overrides, variables: &Overrides) {
    // The images listen on every interface at the advertised ports when only the latter are given.
    if !settings.contains_key("listeners")
        && let Some(advertised) = variables.get("advertised.listeners")
    {
        settings.insert("listeners".to_owned(), open_everywhere(advertised));
    }
}

/// The advertised listeners with every host replaced by 0.0.0.0.
fn open_everywhere(advertised: &str) -> String {
    advertised
        .split(',')
        .map(|entry| match (entry.split_once("://"), entry.rsplit_once(':')) {
            (Some((name, _)), Some((_, port))) => format!("{}://0.0.0.0:{port}", name.trim()),
            _ => entry.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

/// What to say about a setting that does not do what its giver may expect.
fn warning(name: &str) -> Option<String> {
    if name.starts_with("zookeeper.") || name == "control.plane.listener.name" {
        return Some(format!(
            "{name} is ignored: there is no ZooKeeper, metadata lies in the brokers' own quorum"
        ));
    }
    if matches!(name, "inter.broker.protocol.version" | "log.message.format.version") {
        return Some(format!("{name} is ignored: it went with Kafka 4.0"));
    }
    if tables::broker(name).is_some() || is_of_one_listener(name) {
        return None;
    }
    Some(format!("{name} is not a setting of this broker and is ignored{}", suggestion(name)))
}

/// One line for all settings that a later release will obey: stock files are full of them.
fn without_effect_yet(settings: &Overrides) -> Option<String> {
    let later = |name: &&String| match tables::broker(name) {
        Some((_, _, setting)) => setting.effect == Effect::Later,
        None => is_of_one_listener(name),
    };
    let names: Vec<&str> = settings.keys().filter(later).map(String::as_str).collect();
    (!names.is_empty())
        .then(|| format!("accepted, without effect yet (see docs/configuration.md): {}", names.join(", ")))
}

/// Whether the name is that of a setting for one listener.
fn is_of_one_listener(name: &str) -> bool {
    name.starts_with("listener.name.")
}

/// The setting whose name is nearest, for a slip of the finger.
fn suggestion(name: &str) -> String {
    let nearest = tables::BROKER
        .iter()
        .flat_map(|(_, rows)| rows.iter())
        .map(|row| (distance(name, row.name), row.name))
        .min();
    match nearest {
        Some((distance, known)) if distance <= 3 => format!("; did you mean {known}?"),
        _ => String::new(),
    }
}

/// Edit distance of two names.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<u8> = other.bytes().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, wanted) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
