//! What a broker says it serves, and which version to speak.

use std::ops::RangeInclusive;

use milena_wire::ApiKey;
use milena_wire::api_versions::ApiVersionsResponse;

/// A broker's answer to ApiVersions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerVersions {
    answer: ApiVersionsResponse,
}

impl BrokerVersions {
    pub(crate) fn new(answer: ApiVersionsResponse) -> Self {
        Self { answer }
    }

    /// The answer itself, features included.
    pub fn answer(&self) -> &ApiVersionsResponse {
        &self.answer
    }

    /// Versions of `api` that the broker serves, if any.
    pub fn served(&self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        let row = self.answer.api_keys.iter().find(|row| row.api_key == api.code())?;
        Some(row.min_version..=row.max_version)
    }

    /// The highest version of `api` that both sides speak and that is not above `most`.
    pub fn highest(&self, api: ApiKey, most: i16) -> Option<i16> {
        let (ours, theirs) = (api.versions(), self.served(api)?);
        let version = (*ours.end()).min(*theirs.end()).min(most);
        (ours.contains(&version) && theirs.contains(&version)).then_some(version)
    }

    /// Level at which a feature such as `transaction.version` is finalized, if it is.
    pub fn finalized(&self, feature: &str) -> Option<i16> {
        let row = self.answer.finalized_features.iter().find(|row| row.name == *feature)?;
        Some(row.max_version_level)
    }
}

#[cfg(test)]
mod tests {
    use milena_wire::api_versions::ApiVersion;

    use super::*;

    #[test]
    fn highest_common_version_is_chosen() {
        for (min_version, max_version, most, want) in [
            (0, 100, i16::MAX, Some(*ApiKey::Fetch.versions().end())),
            (4, 11, i16::MAX, Some(11)),
            (4, 11, 9, Some(9)),
            (0, 3, i16::MAX, None),
            (100, 110, i16::MAX, None),
            (8, 11, 6, None),
        ] {
            let row = ApiVersion { api_key: ApiKey::Fetch.code(), min_version, max_version };
            let versions =
                BrokerVersions::new(ApiVersionsResponse { api_keys: vec![row], ..Default::default() });
            assert_eq!(versions.highest(ApiKey::Fetch, most), want, "{min_version}..={max_version}, {most}");
            assert_eq!(versions.highest(ApiKey::Produce, most), None);
        }
    }
}
