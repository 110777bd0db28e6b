//! What settings can belong to.

/// Something with settings of its own. The order is that of Kafka's type codes, then of names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A broker by the decimal number of its id; the empty name means all brokers.
    Broker(String),
    /// A subscription to clients' metrics.
    ClientMetrics(String),
    /// A group.
    Group(String),
}

impl Resource {
    /// The settings of all brokers.
    pub const ALL_BROKERS: Resource = Resource::Broker(String::new());

    /// The resource of a type code on the wire. `None` for types whose settings are not replicated (broker loggers)
    /// and unknown ones.
    pub fn from_code(code: i8, name: impl Into<String>) -> Option<Self> {
        Some(match code {
            2 => Self::Topic(name.into()),
            4 => Self::Broker(name.into()),
            16 => Self::ClientMetrics(name.into()),
            32 => Self::Group(name.into()),
            _ => return None,
        })
    }

    /// Kafka's type code.
    pub fn code(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) => 4,
            Self::ClientMetrics(_) => 16,
            Self::Group(_) => 32,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Topic(name) | Self::Broker(name) | Self::ClientMetrics(name) | Self::Group(name) => name,
        }
    }
}
