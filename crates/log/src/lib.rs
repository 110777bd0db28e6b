//! The log of one partition on disk, in Kafka's format.
