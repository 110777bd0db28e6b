//! Pages that are generated from the tables of this crate.

use std::fmt::Write;

use crate::ApiKey;

/// The table of `docs/protocol.md`: one row per API with the versions told to clients, the
/// versions decoded, and the first flexible version.
pub fn protocol_table() -> String {
    let mut page = String::from(
        "| Key | API | Advertised | Decoded | Flexible from |\n| --: | --- | --- | --- | --- |\n",
    );
    for api in ApiKey::ALL {
        let range = |r: std::ops::RangeInclusive<i16>| match (r.start(), r.end()) {
            (min, max) if min == max => min.to_string(),
            (min, max) => format!("{min}-{max}"),
        };
        let flexible = api.flexible_from().map_or_else(|| "never".to_owned(), |v| v.to_string());
        let (advertised, decoded) = (range(api.advertised()), range(api.versions()));
        let key = api.code();
        writeln!(page, "| {key} | {api} | {advertised} | {decoded} | {flexible} |")
            .expect("writing to a string cannot fail");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_per_api() {
        let table = protocol_table();
        assert_eq!(table.lines().count(), ApiKey::ALL.len() + 2);
        for row in ["| 0 | Produce | 0-13 | 3-13 | 9 |", "| 17 | SaslHandshake | 0-1 | 0-1 | never |"] {
            assert!(table.lines().any(|line| line == row), "no row {row} in\n{table}");
        }
    }
}
