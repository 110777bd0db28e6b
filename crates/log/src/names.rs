//! Names of files and directories, all Kafka's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use milena_records::Offset;

/// Suffix of a segment's batches.
pub(crate) const LOG: &str = "log";
/// Suffix of a segment's offset index.
pub(crate) const INDEX: &str = "index";
/// Suffix of a segment's time index.
pub(crate) const TIME_INDEX: &str = "timeindex";
/// Suffix of a segment's index of aborted transactions.
pub(crate) const TXN_INDEX: &str = "txnindex";
/// Suffix of a producer snapshot; its base is the offset it was taken at, not a segment's.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Second suffix of a file that is to be unlinked soon.
pub(crate) const DELETED: &str = "deleted";

/// End of the name of a file that is being written and will be renamed.
pub(crate) const TEMPORARY: &str = ".tmp";
/// End of the name of a file of a compacted segment that does not count yet.
pub(crate) const CLEANED: &str = ".cleaned";
/// Second suffix of a file of a compacted segment on its way to its place.
pub(crate) const SWAP: &str = "swap";

/// The file of `dir` whose name is an offset.
pub(crate) fn file(dir: &Path, offset: Offset, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}.{suffix}", offset.0))
}

/// Takes `00000000000000000042.log` apart; `None` for any other kind of name.
pub(crate) fn parse(name: &str) -> Option<(Offset, &str)> {
    let (digits, suffix) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((Offset(digits.parse().ok()?), suffix))
}

/// The identity of a topic, which a topic of the same name created later does not share (KIP-516).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for TopicId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NotAnId)
    }
}

/// The text is not 22 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 22 characters of url-safe base64")]
pub struct NotAnId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_only_if_they_are_ours() {
        for (name, want) in [
            ("00000000000000000042.log", Some((Offset(42), LOG))),
            ("00000000000000000042.timeindex.deleted", Some((Offset(42), "timeindex.deleted"))),
            ("42.log", None),
            ("0000000000000000004x.log", None),
            ("99999999999999999999.log", None),
            ("leader-epoch-checkpoint", None),
        ] {
            assert_eq!(parse(name), want, "{name}");
        }
        assert_eq!(file(Path::new("/t-0"), Offset(42), LOG), Path::new("/t-0/00000000000000000042.log"));
    }

    #[test]
    fn topic_ids_read_back_as_kafka_writes_them() {
        let id: TopicId = "AAAAAAAAAAAAAAAAAAAAAQ".parse().unwrap();
        assert_eq!(id.0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(id.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("short".parse::<TopicId>(), Err(NotAnId));
    }
}
