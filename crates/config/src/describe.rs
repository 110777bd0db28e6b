//! Entries of DescribeConfigs, and of the configs in a CreateTopics answer (test ids CF-1 to CF-3).

use crate::tables::{self, resources, topic::TOPIC};
use crate::topic_config::from_broker;
use crate::{BrokerConfig, ConfigType, Layer, Overrides, Scope, Setting, Value};

/// Where a value was set; the discriminant is the code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// On the topic.
    Topic = 1,
    /// At run time, for one broker.
    DynamicBroker = 2,
    /// At run time, for all brokers.
    DynamicDefaultBroker = 3,
    /// In the file, the environment or the command line.
    StaticBroker = 4,
    /// Nowhere.
    Default = 5,
    /// On a client-metrics subscription.
    ClientMetrics = 7,
    /// On a group.
    Group = 8,
}

/// One setting as a client is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Value in force; null when unset or sensitive.
    pub value: Option<String>,
    /// Where it was set.
    pub source: Source,
    /// Type code.
    pub kind: ConfigType,
    /// Whether the value is withheld.
    pub sensitive: bool,
    /// Whether it cannot change at run time.
    pub read_only: bool,
    /// Every place that has a say, most specific first; the first is in force.
    pub synonyms: Vec<SynonymEntry>,
    /// What it does; null for unknown settings.
    pub documentation: Option<String>,
}

/// A place where a setting, or one behind it, has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynonymEntry {
    /// Name of the setting there.
    pub name: String,
    /// Its value; null when sensitive.
    pub value: Option<String>,
    /// The place.
    pub source: Source,
}

/// All settings of a topic with these overrides, by name.
pub fn topic(overrides: &Overrides, broker: &BrokerConfig) -> Vec<Entry> {
    resource(TOPIC, Source::Topic, overrides, broker)
}

/// All settings of a group with these overrides, by name.
pub fn group(overrides: &Overrides, broker: &BrokerConfig) -> Vec<Entry> {
    resource(resources::group::GROUP, Source::Group, overrides, broker)
}

/// All settings of a client-metrics subscription, by name.
pub fn client_metrics(overrides: &Overrides, broker: &BrokerConfig) -> Vec<Entry> {
    resource(resources::client_metrics::CLIENT_METRICS, Source::ClientMetrics, overrides, broker)
}

/// All settings of this broker, by name; also those it was given and does not know. Those that Kafka keeps to itself
/// ([`tables::SHOWN_WHEN_SET`]) appear when somebody set them.
pub fn broker(broker: &BrokerConfig) -> Vec<Entry> {
    let mut entries: Vec<Entry> = tables::BROKER
        .iter()
        .flat_map(|(_, rows)| rows.iter())
        .filter(|row| broker.is_set(row.name) || !tables::SHOWN_WHEN_SET.contains(&row.name))
        .map(|row| {
            let value = row.default.map(str::to_owned);
            entry(row, broker_places(row.name, broker), value, row.scope == Scope::ReadOnly)
        })
        .collect();
    entries.extend(unknown(broker));
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

/// What was altered at run time for all brokers: the resource with the empty name. Kafka answers only these.
pub fn cluster_default(overrides: &Overrides) -> Vec<Entry> {
    overrides
        .iter()
        .map(|(name, value)| {
            let setting = tables::broker(name).map(|(_, _, setting)| setting);
            let sensitive = setting.is_none_or(Setting::is_sensitive);
            let shown = (!sensitive).then(|| value.clone());
            Entry {
                name: name.clone(),
                value: shown.clone(),
                source: Source::DynamicDefaultBroker,
                kind: setting.map_or(ConfigType::Unknown, |setting| setting.kind),
                sensitive,
                read_only: false,
                synonyms: vec![SynonymEntry {
                    name: name.clone(),
                    value: shown,
                    source: Source::DynamicDefaultBroker,
                }],
                documentation: setting.map(Setting::doc),
            }
        })
        .collect()
}

/// The settings of one kind of resource: the override, then the broker's settings behind it.
fn resource(rows: &[Setting], source: Source, overrides: &Overrides, broker: &BrokerConfig) -> Vec<Entry> {
    let mut entries: Vec<Entry> = rows
        .iter()
        .map(|row| {
            let own = overrides.get(row.name).filter(|text| row.parse(text).is_ok()).map(|text| {
                SynonymEntry { name: row.name.to_owned(), value: Some(text.trim().to_owned()), source }
            });
            let behind = row.synonyms().first().map(|synonym| broker_places(synonym.name, broker));
            let mut places: Vec<SynonymEntry> = own.into_iter().chain(behind.into_iter().flatten()).collect();
            if row.synonyms().is_empty() && source != Source::Topic {
                places.extend(default_place(row));
            }
            entry(row, places, inherited(row, broker), false)
        })
        .collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

/// A row with the places that set it. Its value is the first one's, or `unplaced` where there is none.
fn entry(row: &Setting, synonyms: Vec<SynonymEntry>, unplaced: Option<String>, read_only: bool) -> Entry {
    let first = synonyms.first();
    let sensitive = row.is_sensitive();
    let value = first.map_or(unplaced, |place| place.value.clone());
    Entry {
        name: row.name.to_owned(),
        value: value.filter(|_| !sensitive),
        source: first.map_or(Source::Default, |place| place.source),
        kind: row.kind,
        sensitive,
        read_only,
        documentation: Some(row.doc()),
        synonyms,
    }
}

/// The value of a setting that no place is shown for: the broker's coarser settings (hours) still have a say, in the
/// setting's own unit.
fn inherited(row: &Setting, broker: &BrokerConfig) -> Option<String> {
    match from_broker(row, broker) {
        Some(Value::Long(number)) => Some(number.to_string()),
        _ => row.default.map(str::to_owned),
    }
}

/// The broker settings that are resolved together with one: `log.retention.hours` with `log.retention.ms`.
fn family(name: &str) -> Vec<&str> {
    TOPIC
        .iter()
        .map(Setting::synonyms)
        .find(|synonyms| synonyms.len() > 1 && synonyms.iter().any(|synonym| synonym.name == name))
        .map_or_else(|| vec![name], |synonyms| synonyms.iter().map(|it| it.name).collect())
}

/// The places where a broker setting, or one of its family, has a value, defaults included; most specific first.
///
/// As in Kafka, the list begins at the setting itself: a default in hours stands behind milliseconds that were set,
/// but does not pass for a value of them. A console that reads 168 for `log.retention.ms` would show 168 ms.
fn broker_places(name: &str, broker: &BrokerConfig) -> Vec<SynonymEntry> {
    let family = family(name);
    let mut places: Vec<_> = family.into_iter().flat_map(|name| own_places(name, broker)).collect();
    // Stable, so that within one source the order of the family stays.
    places.sort_by_key(|place| place.source as i8);
    places.into_iter().skip_while(|place| place.name != name).collect()
}

/// The places where one broker setting has a value, its default included.
fn own_places(name: &str, broker: &BrokerConfig) -> Vec<SynonymEntry> {
    let Some((_, _, row)) = tables::broker(name) else { return Vec::new() };
    let set = Layer::ALL.iter().filter_map(|layer| {
        let text = broker.layer(*layer).get(name).filter(|text| row.parse(text).is_ok())?;
        let source = match layer {
            Layer::DynamicBroker => Source::DynamicBroker,
            Layer::DynamicDefault => Source::DynamicDefaultBroker,
            Layer::Static => Source::StaticBroker,
        };
        let value = (!row.is_sensitive()).then(|| text.trim().to_owned());
        Some(SynonymEntry { name: name.to_owned(), value, source })
    });
    set.chain(default_place(row)).collect()
}

fn default_place(row: &Setting) -> Option<SynonymEntry> {
    let value = row.default?.to_owned();
    Some(SynonymEntry { name: row.name.to_owned(), value: Some(value), source: Source::Default })
}

/// Settings that were given to the broker and that it does not know. They may be secrets, so values are withheld.
fn unknown(broker: &BrokerConfig) -> Vec<Entry> {
    let mut seen = std::collections::BTreeSet::new();
    let mut entries = Vec::new();
    for (layer, source) in [
        (Layer::DynamicBroker, Source::DynamicBroker),
        (Layer::DynamicDefault, Source::DynamicDefaultBroker),
        (Layer::Static, Source::StaticBroker),
    ] {
        for name in broker.layer(layer).keys() {
            if tables::broker(name).is_none() && seen.insert(name.clone()) {
                entries.push(Entry {
                    name: name.clone(),
                    value: None,
                    source,
                    kind: ConfigType::Unknown,
                    sensitive: true,
                    read_only: layer == Layer::Static,
                    synonyms: vec![SynonymEntry { name: name.clone(), value: None, source }],
                    documentation: None,
                });
            }
        }
    }
    entries
}
