//! Bounds of a setting, and the sentences Kafka says when they are crossed.

use crate::{ConfigType, Invalid, Value};

/// What a parsed value must satisfy beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// Nothing.
    Any,
    /// Number not below the bound.
    AtLeast(i64),
    /// Number within both bounds, both allowed.
    Between(i64, i64),
    /// Float within both bounds, both allowed.
    Ratio(f64, f64),
    /// One of these texts, in this case.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// List of these texts without repetition; may be empty.
    Members(&'static [&'static str]),
    /// A text or list with something in it.
    NotEmpty,
    /// -1 for the codec's own default, or 1 to 9.
    GzipLevel,
    /// `*`, or a list of partition:broker.
    ThrottledReplicas,
}

impl Check {
    /// Whether `value` of the setting `name`, given as `text`, is within bounds.
    pub fn check(&self, name: &str, text: &str, value: &Value) -> Result<(), Invalid> {
        let refuse = |reason: String| Err(Invalid::value(name, text.trim(), reason));
        match (self, value) {
            (Self::AtLeast(min) | Self::Between(min, _), Value::Long(it)) if it < min => {
                refuse(format!("Value must be at least {min}"))
            }
            (Self::Between(_, max), Value::Long(it)) if it > max => {
                refuse(format!("Value must be no more than {max}"))
            }
            (Self::Ratio(min, _), Value::Double(it)) if it.is_nan() || it < min => {
                refuse(format!("Value must be at least {}", java_double(*min)))
            }
            (Self::Ratio(_, max), Value::Double(it)) if it > max => {
                refuse(format!("Value must be no more than {}", java_double(*max)))
            }
            (Self::OneOf(valid), Value::Text(it)) if !valid.contains(&it.as_str()) => {
                refuse(format!("String must be one of: {}", valid.join(", ")))
            }
            (Self::OneOfAnyCase(valid), Value::Text(it))
                if !valid.iter().any(|word| word.eq_ignore_ascii_case(it)) =>
            {
                refuse(format!("String must be one of (case insensitive): {}", valid.join(", ")))
            }
            (Self::Members(valid), Value::List(list)) => check_members(name, valid, list),
            (Self::NotEmpty, Value::Text(it)) if it.is_empty() => refuse("String must be non-empty".into()),
            (Self::NotEmpty, Value::List(it)) if it.is_empty() => refuse("List must be non-empty".into()),
            (Self::GzipLevel, Value::Long(it)) if *it != -1 && !(1..=9).contains(it) => {
                refuse("Value must be between 1 and 9 or equal to -1".into())
            }
            (Self::ThrottledReplicas, Value::List(list)) if !throttled_replicas(list) => refuse(format!(
                "{name} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )),
            _ => Ok(()),
        }
    }

    /// The bounds as the documentation prints them; empty when there are none.
    pub fn describe(&self, kind: ConfigType) -> String {
        match self {
            Self::Any if kind == ConfigType::Boolean => "true, false".into(),
            Self::Any => String::new(),
            Self::AtLeast(min) => format!("at least {min}"),
            Self::Between(min, max) => format!("{min} to {max}"),
            Self::Ratio(min, max) => format!("{min} to {max}"),
            Self::OneOf(valid) | Self::OneOfAnyCase(valid) => valid.join(", "),
            Self::Members(valid) => format!("any of {}", valid.join(", ")),
            Self::NotEmpty => "not empty".into(),
            Self::GzipLevel => "1 to 9, or -1".into(),
            Self::ThrottledReplicas => "`*` or partition:broker,...".into(),
        }
    }
}

/// The sentences of Kafka's `ConfigDef.ValidList`.
fn check_members(name: &str, valid: &[&str], list: &[String]) -> Result<(), Invalid> {
    for (at, member) in list.iter().enumerate() {
        if !valid.contains(&member.as_str()) {
            return Err(Invalid::value(name, member, format!("String must be one of: {}", valid.join(", "))));
        }
        if list[..at].contains(member) {
            return Err(Invalid::Duplicated { name: name.to_owned() });
        }
    }
    Ok(())
}

/// Java prints a whole double with `.0`.
fn java_double(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number:.1}") } else { number.to_string() }
}

fn throttled_replicas(list: &[String]) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pair = |entry: &String| {
        entry.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
    };
    list.is_empty() || (list.len() == 1 && list[0] == "*") || list.iter().all(pair)
}
