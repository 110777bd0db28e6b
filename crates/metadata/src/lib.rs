//! The cluster state machine: brokers, topics, partitions, configs. No I/O, no clock.
