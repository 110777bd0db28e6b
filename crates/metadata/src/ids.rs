//! Numbers that must not be taken for each other.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub $inner);

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }

            impl From<$inner> for $name {
                fn from(number: $inner) -> Self {
                    Self(number)
                }
            }
        )*
    };
}

ids! {
    /// Number of a broker (`node.id`); at least 0.
    BrokerId(i32);
    /// One process life of a broker: index of the command that registered it. Fences messages of earlier lives
    /// (KIP-903).
    BrokerEpoch(i64);
    /// Version of a partition's record; grows with every change of it (KIP-497).
    PartitionEpoch(i32);
}
