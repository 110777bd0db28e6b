//! Properties of Kafka's producer as options of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_client::{Acks, ProducerOptions};
use milena_records::Compression;

use super::exception::Exception;
use super::java;

/// The options that `properties` stand for; names that mean nothing here are passed over, as Kafka's producer does.
///
/// # Errors
/// `ConfigException` for a value that its property cannot have.
pub fn producer_options(properties: &BTreeMap<String, String>) -> Result<ProducerOptions, Exception> {
    let mut options = ProducerOptions::default();
    let invalid = |name: &str, value: &str| {
        Exception::new(
            "org.apache.kafka.common.config.ConfigException",
            format!("Invalid value {value} for configuration {name}"),
        )
    };
    for (name, value) in properties {
        let number = || value.parse::<u64>().map_err(|_| invalid(name, value));
        match name.as_str() {
            "acks" => {
                options.acks = match value.as_str() {
                    "0" => Acks::None,
                    "1" => Acks::Leader,
                    "-1" | "all" => Acks::All,
                    _ => return Err(invalid(name, value)),
                };
            }
            "compression.type" => {
                let codec = Compression::ALL.into_iter().find(|codec| codec.name() == value);
                options.compression = codec.ok_or_else(|| invalid(name, value))?;
            }
            "linger.ms" => options.linger = Duration::from_millis(number()?),
            "batch.size" => options.batch_size = number()? as usize,
            "buffer.memory" => options.buffer_memory = number()? as usize,
            "max.request.size" => options.max_request_size = number()? as usize,
            "delivery.timeout.ms" => options.delivery_timeout = Duration::from_millis(number()?),
            "enable.idempotence" => options.idempotent = java::is_true(value),
            _ => {}
        }
    }
    options.idempotent &= options.acks == Acks::All;
    Ok(options)
}
