//! A small Kafka client: the command line, tests and benchmarks speak through it.
