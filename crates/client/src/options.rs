//! What a client can be told; every default is Kafka's unless a reason is given.

use std::time::Duration;

/// How a [`Client`](crate::Client) behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Name told to brokers, for their logs and quotas.
    pub client_id: String,
    /// Longest that opening a connection may take, until the broker has told its versions.
    pub connect_timeout: Duration,
    /// Longest wait for one answer; the connection is given up afterwards, as its answers come in order.
    pub request_timeout: Duration,
    /// Longest that one call may take with all its retries (`default.api.timeout.ms`).
    pub deadline: Duration,
    /// Pause before the second try; it doubles with each further one, up to `retry_backoff_max`.
    pub retry_backoff: Duration,
    /// Longest pause between two tries.
    pub retry_backoff_max: Duration,
    /// Requests that may wait for their answers on one connection.
    pub max_in_flight: usize,
    /// Largest answer that is read, in bytes.
    pub max_response_bytes: usize,
    /// Age at which what is known of a topic is asked for anew.
    pub metadata_max_age: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            client_id: "milena".into(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            max_in_flight: 64,
            max_response_bytes: 100 << 20,
            metadata_max_age: Duration::from_secs(300),
        }
    }
}
