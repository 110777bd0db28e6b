//! Typed view of a topic: its overrides on top of the broker's settings.

use std::sync::Arc;

use crate::tables::{self, topic::TOPIC};
use crate::{BrokerConfig, Invalid, Layer, Overrides, Setting, Value};

/// Settings in force for one topic. Cheap to clone; a row's accessor is a bounds-checked read.
///
/// A topic's override wins over the broker's dynamic setting, the cluster's dynamic default, the broker's start-up
/// setting, and the default, in this order (test ids CF-1, CF-3).
#[derive(Debug, Clone)]
pub struct TopicConfig {
    values: Arc<[Value]>,
}

/// Who stamps a record's time: `message.timestamp.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The client.
    CreateTime,
    /// The broker, when it appends.
    LogAppendTime,
}

/// Codec at rest: `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent it.
    Producer,
    /// None.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy, in xerial framing.
    Snappy,
    /// lz4 frames.
    Lz4,
    /// zstd.
    Zstd,
}

impl TopicConfig {
    /// The topic's overrides on top of the broker's settings.
    ///
    /// Cannot fail: a stored override that no longer parses (written by another release) is passed over.
    pub fn resolve(overrides: &Overrides, broker: &BrokerConfig) -> Self {
        Self { values: resolve(TOPIC, overrides, broker) }
    }

    /// Checks a topic's overrides as a whole, as they would be stored: names, values, and values against each other
    /// (test ids TP-4, CF-7). `broker` supplies the other side of a comparison when only one setting is overridden.
    ///
    /// [`tables::RETIRED_TOPIC_SETTINGS`] pass unchecked; the caller warns of them.
    pub fn validate(overrides: &Overrides, broker: &BrokerConfig) -> Result<(), Invalid> {
        let live: Overrides = overrides
            .iter()
            .filter(|(name, _)| !tables::RETIRED_TOPIC_SETTINGS.contains(&name.as_str()))
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect();
        if let Some(name) = live.keys().find(|name| tables::topic(name).is_none()) {
            return Err(Invalid::UnknownTopicConfig(name.clone()));
        }
        crate::resource_config::validate_rows(TOPIC, &live, Invalid::UnknownTopicConfig)?;
        let topic = Self::resolve(&live, broker);
        topic.check_compaction_lag()?;
        topic.check_tiered_storage(broker)
    }

    /// Whether old segments are deleted by age and size.
    pub fn deletes(&self) -> bool {
        self.cleanup_policy().iter().any(|policy| policy == "delete")
    }

    /// Whether the newest record of each key is kept, which makes keys mandatory (test id PR-9).
    pub fn compacts(&self) -> bool {
        self.cleanup_policy().iter().any(|policy| policy == "compact")
    }

    /// Who stamps a record's time.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.message_timestamp_type_name() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }

    /// Codec at rest.
    pub fn compression_type(&self) -> CompressionType {
        match self.compression_type_name() {
            "uncompressed" => CompressionType::Uncompressed,
            "gzip" => CompressionType::Gzip,
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd,
            _ => CompressionType::Producer,
        }
    }

    /// Age at which a segment is closed: compaction with a lag limit must close it in time (test id CP-2).
    pub fn segment_max_age_ms(&self) -> i64 {
        if self.compacts() { self.segment_ms().min(self.max_compaction_lag_ms()) } else { self.segment_ms() }
    }

    pub(crate) fn value(&self, _part: usize, index: usize) -> &Value {
        &self.values[index]
    }

    fn check_compaction_lag(&self) -> Result<(), Invalid> {
        let (min, max) = (self.min_compaction_lag_ms(), self.max_compaction_lag_ms());
        if min > max {
            return Err(Invalid::Conflict(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            )));
        }
        Ok(())
    }

    fn check_tiered_storage(&self, broker: &BrokerConfig) -> Result<(), Invalid> {
        if !self.remote_storage_enable() {
            return Ok(());
        }
        if !broker.remote_log_storage_system_enable() {
            return Err(Invalid::Conflict(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                 storage."
                    .into(),
            ));
        }
        if self.compacts() || !self.deletes() {
            return Err(Invalid::Conflict(
                "Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an empty \
                 list."
                    .into(),
            ));
        }
        for (local, total, local_name, name) in [
            (
                self.local_retention_bytes(),
                self.retention_bytes(),
                "local.retention.bytes",
                "retention.bytes",
            ),
            (self.local_retention_ms(), self.retention_ms(), "local.retention.ms", "retention.ms"),
        ] {
            if total != -1 && local == -1 {
                return Err(Invalid::value(
                    local_name,
                    &local.to_string(),
                    format!("Value must not be -1 as {name} value is set as {total}."),
                ));
            }
            if total != -1 && local > total {
                return Err(Invalid::value(
                    local_name,
                    &local.to_string(),
                    format!("Value must not be more than {name} property value: {total}"),
                ));
            }
        }
        Ok(())
    }
}

/// The values in force for every row: override, else the first broker layer that has a synonym, else the default.
pub(crate) fn resolve(rows: &[Setting], overrides: &Overrides, broker: &BrokerConfig) -> Arc<[Value]> {
    rows.iter()
        .map(|row| {
            overrides
                .get(row.name)
                .and_then(|text| row.parse(text).ok())
                .or_else(|| from_broker(row, broker))
                .unwrap_or_else(|| row.default_value())
        })
        .collect()
}

/// The value that the broker's layers give for a row by its synonyms.
pub(crate) fn from_broker(row: &Setting, broker: &BrokerConfig) -> Option<Value> {
    Layer::ALL.iter().find_map(|layer| {
        row.synonyms().iter().find_map(|synonym| {
            let text = broker.layer(*layer).get(synonym.name)?;
            let (_, _, setting) = tables::broker(synonym.name)?;
            match setting.parse(text).ok()? {
                Value::Long(number) => Some(Value::Long(synonym.unit.convert(number))),
                value => Some(value),
            }
        })
    })
}
