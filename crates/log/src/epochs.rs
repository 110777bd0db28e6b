//! The text of `leader-epoch-checkpoint`.

use milena_partition::{EpochCache, EpochEntry};
use milena_records::LeaderEpoch;

use crate::checkpoint::{decode_lines, encode_lines, parse_offset};

/// Kafka's text.
pub(crate) fn encode(cache: &EpochCache) -> String {
    encode_lines(cache.entries(), |text, entry| {
        text.push_str(&format!("{} {}", entry.epoch.0, entry.start_offset.0));
    })
}

/// Reads Kafka's text. Columns that do not grow are as bad as text that does not parse.
pub(crate) fn decode(text: &str) -> Result<EpochCache, String> {
    let entries = decode_lines(text, |line| {
        let (epoch, start) = line.split_once(' ')?;
        let epoch = epoch.parse().ok().filter(|epoch| *epoch >= 0).map(LeaderEpoch)?;
        Some(EpochEntry { epoch, start_offset: parse_offset(start)? })
    })?;
    EpochCache::from_entries(entries).ok_or_else(|| "epochs that do not grow".into())
}

#[cfg(test)]
mod tests {
    use milena_records::Offset;

    use super::*;

    #[test]
    fn text_is_kafkas_and_bad_text_is_refused() {
        let mut cache = EpochCache::default();
        cache.assign(LeaderEpoch(0), Offset(0));
        cache.assign(LeaderEpoch(3), Offset(170));
        assert_eq!(encode(&cache), "0\n2\n0 0\n3 170\n");
        assert_eq!(decode(&encode(&cache)), Ok(cache));
        for (text, why) in [
            ("", "version None, expected 0"),
            ("1\n0\n", "version Some(\"1\"), expected 0"),
            ("0\n", "no count in the second line"),
            ("0\n2\n0 0\n", "1 lines, 2 announced"),
            ("0\n1\n0 -4\n", "a line that does not parse"),
            ("0\n2\n3 0\n3 5\n", "epochs that do not grow"),
        ] {
            assert_eq!(decode(text), Err(why.into()), "{text:?}");
        }
    }
}
