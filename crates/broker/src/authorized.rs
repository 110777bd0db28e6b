//! The operations a client is told that it may do: everything, as there is no authorizer (KIP-430).
//!
//! A bit field by Kafka's operation codes.

const READ: u8 = 3;
const WRITE: u8 = 4;
const CREATE: u8 = 5;
const DELETE: u8 = 6;
const ALTER: u8 = 7;
const DESCRIBE: u8 = 8;
const CLUSTER_ACTION: u8 = 9;
const DESCRIBE_CONFIGS: u8 = 10;
const ALTER_CONFIGS: u8 = 11;
const IDEMPOTENT_WRITE: u8 = 12;

/// Nobody asked (MD-10).
pub(crate) const NOT_ASKED: i32 = i32::MIN;

/// All that can be done with a topic.
pub(crate) const TOPIC: i32 =
    bits(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

/// All that can be done with a group.
pub(crate) const GROUP: i32 = bits(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

/// All that can be done with the cluster.
pub(crate) const CLUSTER: i32 =
    bits(&[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE]);

const fn bits(operations: &[u8]) -> i32 {
    let (mut field, mut at) = (0, 0);
    while at < operations.len() {
        field |= 1 << operations[at];
        at += 1;
    }
    field
}
