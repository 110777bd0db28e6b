//! Kafka's wire protocol: frames, headers, messages, the API table and error codes. No I/O.
