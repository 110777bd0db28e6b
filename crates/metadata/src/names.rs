//! Rules for the names of topics (test id TP-1).

/// Longest name of a topic, in bytes: with the partition's number it must fit a file name.
pub const MAX_NAME: usize = 249;

/// Topics that belong to the brokers: clients may read them and not write (test ids MD-9, PR-10).
pub const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Name of Kafka's metadata log, which is not a topic here and cannot become one.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether the topic belongs to the brokers.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Why a name cannot be a topic's, in Kafka's words; nothing if it can.
pub fn fault(name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        // Kafka counts UTF-16 units.
        _ if name.encode_utf16().count() > MAX_NAME => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_NAME}")
        }
        _ if !name.bytes().all(legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return None,
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// The name with `.` and `_` made equal: metrics cannot tell topics apart that agree in it.
pub fn unified(name: &str) -> String {
    name.replace('.', "_")
}
