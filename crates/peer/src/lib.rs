//! The internal gRPC channel between brokers.
