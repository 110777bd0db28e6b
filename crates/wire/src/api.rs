//! The API table: which keys exist, which versions are decoded, which are told to clients.
//!
//! `ApiKey` and its rows are generated from the headers of `schema/*.kafka`; everything that
//! depends on an API's versions derives from those rows.

use std::{fmt, ops::RangeInclusive};

pub use crate::generated::ApiKey;

/// One row of the table.
pub struct Api {
    pub name: &'static str,
    pub versions: (i16, i16),
    pub advertised: (i16, i16),
    /// First flexible version; `i16::MAX` for an API that has none.
    pub flexible_from: i16,
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name, such as `ListOffsets`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Versions that can be decoded and encoded.
    pub fn versions(self) -> RangeInclusive<i16> {
        let (min, max) = self.row().versions;
        min..=max
    }

    /// Versions that an ApiVersions answer names.
    ///
    /// Wider than [`versions`](ApiKey::versions) where clients draw conclusions from the lower
    /// end: librdkafka sends uncompressed batches unless Produce starts at 0 (KAFKA-18659).
    /// Narrower where the newest version is not stable in Kafka.
    pub fn advertised(self) -> RangeInclusive<i16> {
        let (min, max) = self.row().advertised;
        min..=max
    }

    /// First version with compact lengths and tagged fields, if any has them.
    pub fn flexible_from(self) -> Option<i16> {
        Some(self.row().flexible_from).filter(|v| *v != i16::MAX)
    }

    /// Header version of a request of `version`: 2 if it is flexible, else 1.
    pub fn request_header_version(self, version: i16) -> i16 {
        if version >= self.row().flexible_from { 2 } else { 1 }
    }

    /// Header version of a response of `version`: 1 if it is flexible, else 0.
    ///
    /// Always 0 for ApiVersions: its reader does not know yet what the sender speaks (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != ApiKey::ApiVersions && version >= self.row().flexible_from)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_versions_follow_flexibility() {
        for (api, version, request, response) in [
            (ApiKey::Produce, 8, 1, 0),
            (ApiKey::Produce, 9, 2, 1),
            (ApiKey::ApiVersions, 2, 1, 0),
            (ApiKey::ApiVersions, 3, 2, 0),
            (ApiKey::ApiVersions, 99, 2, 0),
            (ApiKey::SaslHandshake, 1, 1, 0),
        ] {
            assert_eq!(api.request_header_version(version), request, "{api} v{version}");
            assert_eq!(api.response_header_version(version), response, "{api} v{version}");
        }
    }

    #[test]
    fn every_key_is_found_by_its_code() {
        for api in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(api.code()), Some(*api));
        }
        for unknown in [-1, 4, 5, 6, 7, 1000] {
            assert_eq!(ApiKey::from_code(unknown), None, "{unknown}");
        }
    }
}
