//! The integers of a batch as distinct types, so that two cannot be swapped by mistake.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// Position of a record in its partition. An offset called `end` is exclusive, one called `last` inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// Number of a partition's leadership: grows by at least one with every new leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

/// Identity of an idempotent or transactional producer, given out by `InitProducerId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

/// Incarnation of a [`ProducerId`]; a higher one fences a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

impl Offset {
    /// First offset of a partition.
    pub const ZERO: Self = Self(0);
    /// Kafka's "no offset" on the wire, for example in answers that carry an error.
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    /// Kafka's "no epoch known": older messages, and batches that no broker has stored yet.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// The batch comes from a producer that is neither idempotent nor transactional.
    pub const NONE: Self = Self(-1);

    /// Whether this names a producer.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl ProducerEpoch {
    /// Goes with [`ProducerId::NONE`].
    pub const NONE: Self = Self(-1);
}

impl Add<i64> for Offset {
    type Output = Self;
    fn add(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, count: i64) {
        self.0 += count;
    }
}

impl Sub for Offset {
    type Output = i64;
    fn sub(self, other: Self) -> i64 {
        self.0 - other.0
    }
}

macro_rules! integer_on_the_wire {
    ($($name:ident($int:ty)),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self(value)
            }
        }
        impl From<$name> for $int {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )*};
}

integer_on_the_wire!(Offset(i64), LeaderEpoch(i32), ProducerId(i64), ProducerEpoch(i16));
