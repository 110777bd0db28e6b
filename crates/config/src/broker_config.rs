//! Typed view of a broker: its start-up settings with what was altered at run time on top.

use std::sync::Arc;

use crate::listeners::Listeners;
use crate::quorum::Quorum;
use crate::roles::Roles;
use crate::tables;
use crate::{Invalid, Overrides, Scope, StartError, Value};

/// Settings in force for one broker. Cheap to clone.
///
/// A change at run time makes a new value by [`BrokerConfig::with_dynamic`]; this one stays as it is.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    values: Arc<[Vec<Value>]>,
    layers: Arc<[Overrides; 3]>,
    listeners: Arc<Listeners>,
    quorum: Arc<Quorum>,
}

/// Where a broker's setting was made; earlier ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Altered at run time for this broker.
    DynamicBroker,
    /// Altered at run time for all brokers.
    DynamicDefault,
    /// From the properties file, the environment or the command line.
    Static,
}

impl Layer {
    /// All layers, most specific first.
    pub const ALL: [Layer; 3] = [Layer::DynamicBroker, Layer::DynamicDefault, Layer::Static];
}

impl BrokerConfig {
    /// The settings a broker starts with. Unknown names are kept (clients can read them) and otherwise ignored.
    pub fn new(mut start: Overrides) -> Result<Self, StartError> {
        for (name, text) in &start {
            if let Some((_, _, setting)) = tables::broker(name) {
                setting.parse(text)?;
            }
        }
        name_node_twice(&mut start);
        let layers = [Overrides::new(), Overrides::new(), start];
        let values = values(&layers);
        let mut config =
            Self { values, layers: Arc::new(layers), listeners: Arc::default(), quorum: Arc::default() };
        config.check_relations()?;
        config.listeners = Arc::new(Listeners::resolve(&config)?);
        config.quorum = Arc::new(Quorum::resolve(&config, &config.listeners)?);
        config.roles().check(&config, &config.listeners, &config.quorum)?;
        Ok(config)
    }

    /// The same broker with these settings altered at run time, for all brokers and for this one.
    ///
    /// Cannot fail: what does not parse is passed over, as are settings that cannot change at run time.
    pub fn with_dynamic(&self, all_brokers: &Overrides, this_broker: &Overrides) -> Self {
        let changeable = |overrides: &Overrides| -> Overrides {
            overrides
                .iter()
                .filter(|(name, _)| is_dynamic(name))
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect()
        };
        let layers = [changeable(this_broker), changeable(all_brokers), self.layer(Layer::Static).clone()];
        Self { values: values(&layers), layers: Arc::new(layers), ..self.clone() }
    }

    /// Checks settings that someone wants to alter at run time: of one broker, or of all if `cluster` (test id CF-7:
    /// unknown names are stored as they are).
    pub fn validate_dynamic(overrides: &Overrides, cluster: bool) -> Result<(), Invalid> {
        let mut read_only = Vec::new();
        let mut per_broker = Vec::new();
        for (name, text) in overrides {
            let Some((_, _, setting)) = tables::broker(name) else { continue };
            match setting.scope {
                Scope::ReadOnly => read_only.push(name.as_str()),
                Scope::PerBroker if cluster => per_broker.push(name.as_str()),
                _ => {
                    setting.parse(text)?;
                }
            }
        }
        if !read_only.is_empty() {
            return Err(Invalid::ReadOnly(read_only.join(", ")));
        }
        if !per_broker.is_empty() {
            return Err(Invalid::PerBrokerOnly(per_broker.join(", ")));
        }
        Ok(())
    }

    /// What was set in one layer, as texts.
    pub fn layer(&self, layer: Layer) -> &Overrides {
        &self.layers[layer as usize]
    }

    /// Whether any layer sets `name`, as opposed to its default being in force.
    pub fn is_set(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer.contains_key(name))
    }

    /// The listeners that `listeners`, `advertised.listeners` and their relatives describe.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// The other nodes, as configured.
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// What this node does.
    pub fn roles(&self) -> Roles {
        Roles::of(self)
    }

    /// Number of this node, unique in the cluster.
    pub fn node_id(&self) -> i32 {
        self.configured_node_id().expect("a broker is not made without node.id")
    }

    /// Data directories, in the order given: `log.dirs`, else `log.dir`.
    pub fn data_dirs(&self) -> Vec<&str> {
        let dirs = self.log_dirs().filter(|dirs| !dirs.is_empty()).unwrap_or_else(|| self.log_dir());
        dirs.iter().map(String::as_str).collect()
    }

    /// Rack of this broker, if one was set.
    pub fn rack(&self) -> Option<&str> {
        self.broker_rack()
    }

    /// Replication factor of topics for which none is asked for. Unless somebody set it, it is what survives a
    /// failure: 3 where there are that many brokers, and 1 in smaller clusters, as in Kafka.
    pub fn topic_replication_factor(&self, brokers: usize) -> i16 {
        if !self.is_set("default.replication.factor") && brokers >= 3 {
            return 3;
        }
        i16::try_from(self.default_replication_factor()).unwrap_or(i16::MAX)
    }

    /// Replication factor of an internal topic.
    ///
    /// A factor that somebody set is taken at its word. The default shrinks to the number of live brokers, so that a
    /// broker alone works without configuration.
    fn internal_replication(&self, name: &str, configured: i16, live_brokers: usize) -> i16 {
        if self.is_set(name) {
            configured
        } else {
            configured.min(i16::try_from(live_brokers.max(1)).unwrap_or(i16::MAX))
        }
    }

    /// Replication factor with which `__consumer_offsets` is created.
    pub fn offsets_replication_factor(&self, live_brokers: usize) -> i16 {
        let configured = self.offsets_topic_replication_factor();
        self.internal_replication("offsets.topic.replication.factor", configured, live_brokers)
    }

    /// Replication factor with which `__transaction_state` is created.
    pub fn transaction_replication_factor(&self, live_brokers: usize) -> i16 {
        let configured = self.transaction_state_log_replication_factor();
        self.internal_replication("transaction.state.log.replication.factor", configured, live_brokers)
    }

    /// `min.insync.replicas` with which `__transaction_state` is created; the default never exceeds the replicas.
    pub fn transaction_min_insync_replicas(&self, live_brokers: usize) -> i32 {
        let configured = self.transaction_state_log_min_isr();
        if self.is_set("transaction.state.log.min.isr") {
            configured
        } else {
            configured.min(i32::from(self.transaction_replication_factor(live_brokers)))
        }
    }

    /// How long logs are kept by default: `log.retention.ms`, else `.minutes`, else `.hours`; -1 for ever.
    pub fn retention_ms(&self) -> i64 {
        crate::TopicConfig::resolve(&Overrides::new(), self).retention_ms()
    }

    pub(crate) fn value(&self, part: usize, index: usize) -> &Value {
        &self.values[part][index]
    }

    /// Settings that contradict each other.
    fn check_relations(&self) -> Result<(), StartError> {
        let conflict = |text: String| Err(StartError::Invalid(Invalid::Conflict(text)));
        if self.group_max_session_timeout_ms() < self.group_min_session_timeout_ms() {
            return conflict(format!(
                "group.max.session.timeout.ms ({}) must not be below group.min.session.timeout.ms ({})",
                self.group_max_session_timeout_ms(),
                self.group_min_session_timeout_ms()
            ));
        }
        if self.log_cleaner_min_compaction_lag_ms() > self.log_cleaner_max_compaction_lag_ms() {
            return conflict(format!(
                "log.cleaner.min.compaction.lag.ms ({}) must not exceed log.cleaner.max.compaction.lag.ms ({})",
                self.log_cleaner_min_compaction_lag_ms(),
                self.log_cleaner_max_compaction_lag_ms()
            ));
        }
        for (name, value) in [
            ("log.retention.ms", self.log_retention_ms()),
            ("log.retention.minutes", self.log_retention_minutes().map(i64::from)),
            ("log.retention.hours", Some(self.log_retention_hours().into())),
        ] {
            if value == Some(0) {
                return conflict(format!("{name} must be unlimited (-1) or, equal or greater than 1"));
            }
        }
        Ok(())
    }
}

/// Whether `name` may change at run time. Unknown names may: they are stored and shown.
fn is_dynamic(name: &str) -> bool {
    tables::broker(name).is_none_or(|(_, _, setting)| setting.scope != Scope::ReadOnly)
}

/// Gives `node.id` and its older name `broker.id` one value: Kafka's clients read either. Whoever gives none is node 1.
fn name_node_twice(start: &mut Overrides) {
    let older = start.get("broker.id").filter(|id| id.trim() != "-1");
    let id = start.get("node.id").or(older).cloned().unwrap_or_else(|| "1".to_owned());
    start.insert("node.id".to_owned(), id.clone());
    start.insert("broker.id".to_owned(), id);
}

/// The values in force for all rows.
fn values(layers: &[Overrides; 3]) -> Arc<[Vec<Value>]> {
    tables::BROKER
        .iter()
        .map(|(_, rows)| {
            rows.iter()
                .map(|row| {
                    layers
                        .iter()
                        .find_map(|layer| row.parse(layer.get(row.name)?).ok())
                        .unwrap_or_else(|| row.default_value())
                })
                .collect()
        })
        .collect()
}
