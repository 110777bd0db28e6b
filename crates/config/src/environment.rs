//! Settings from the environment of a container, by the rules of the common images.
//!
//! `KAFKA_X_Y` (apache/kafka, confluentinc/cp-kafka) and `KAFKA_CFG_X_Y` (bitnami/kafka) mean `x.y`; two underscores
//! mean an underscore, three a hyphen. Variables for the Java machine and for the images' own scripts are no settings.

use crate::topic_list::{self, TopicToCreate};
use crate::{Overrides, StartError};

/// What the environment says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Settings by name.
    pub settings: Overrides,
    /// Cluster id to format an empty data directory with.
    pub cluster_id: Option<String>,
    /// Topics to create at the first start.
    pub create_topics: Vec<TopicToCreate>,
}

/// Variables that begin with `KAFKA_` and are not settings: the Java machine's, and those of the images' scripts.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_DEBUG",
    "KAFKA_HOME",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_ENABLE_KRAFT",
];

/// Reads the variables. Others than the ones above are passed over.
pub fn read<I>(variables: I) -> Result<Environment, StartError>
where
    I: IntoIterator<Item = (String, String)>,
{
    let mut found = Environment::default();
    for (name, value) in variables {
        match name.as_str() {
            "CLUSTER_ID" | "KAFKA_KRAFT_CLUSTER_ID" | "KAFKA_CLUSTER_ID" => found.cluster_id = Some(value),
            "KAFKA_CREATE_TOPICS" => found.create_topics = topic_list::parse(&value)?,
            _ => {
                if let Some(setting) = setting_name(&name) {
                    found.settings.insert(setting, value);
                }
            }
        }
    }
    Ok(found)
}

/// The setting that a variable stands for.
fn setting_name(variable: &str) -> Option<String> {
    if NOT_SETTINGS.contains(&variable) || variable.starts_with("KAFKA_LOG4J") {
        return None;
    }
    let rest = variable.strip_prefix("KAFKA_CFG_").or_else(|| variable.strip_prefix("KAFKA_"))?;
    if rest.is_empty() {
        return None;
    }
    Some(
        rest.to_ascii_lowercase()
            .replace("___", "-")
            .replace("__", "\0")
            .replace('_', ".")
            .replace('\0', "_"),
    )
}
