//! What a container starts with when nobody says otherwise: the defaults of Kafka's images.
//!
//! The weakest source of all: a mounted file or a variable wins over each of them.

use crate::Overrides;

/// Properties file that is read if it is mounted (apache/kafka).
pub const MOUNTED_FILE: &str = "/mnt/shared/config/server.properties";

/// Data directory of apache/kafka's volume.
const DATA_DIR: &str = "/var/lib/kafka/data";
/// Data directory of bitnami/kafka's volume.
const BITNAMI_DATA_DIR: &str = "/bitnami/kafka/data";

/// Adds what is missing. `bitnami` tells that the variables are those of bitnami's image, whose volume lies elsewhere.
///
/// Listeners: without any, the broker is open on port 9092 of every interface and tells clients `localhost:9092`, which
/// `docker run -p 9092:9092` makes true.
pub(crate) fn add_defaults(settings: &mut Overrides, bitnami: bool) {
    let mut default = |name: &str, value: &str| {
        settings.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    default("milena.http.listener", "0.0.0.0:9644");
    if !settings.contains_key("log.dirs") && !settings.contains_key("log.dir") {
        let dir = if bitnami { BITNAMI_DATA_DIR } else { DATA_DIR };
        settings.insert("log.dirs".to_owned(), dir.to_owned());
    }
    if !settings.contains_key("listeners") && !settings.contains_key("advertised.listeners") {
        settings.insert("listeners".to_owned(), "PLAINTEXT://:9092".to_owned());
        settings.insert("advertised.listeners".to_owned(), "PLAINTEXT://localhost:9092".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_defaults(given: &[(&str, &str)], bitnami: bool) -> Overrides {
        let mut settings: Overrides =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        add_defaults(&mut settings, bitnami);
        settings
    }

    #[test]
    fn a_container_without_variables_is_reached_by_a_published_port() {
        let settings = with_defaults(&[], false);
        let get = |name: &str| settings.get(name).map(String::as_str);
        assert_eq!(get("listeners"), Some("PLAINTEXT://:9092"));
        assert_eq!(get("advertised.listeners"), Some("PLAINTEXT://localhost:9092"));
        assert_eq!(get("log.dirs"), Some("/var/lib/kafka/data"));
        assert_eq!(get("milena.http.listener"), Some("0.0.0.0:9644"));
    }

    #[test]
    fn what_is_given_stays() {
        let given = [("listeners", "A://:1"), ("log.dir", "/data"), ("milena.http.listener", "")];
        let settings = with_defaults(&given, true);
        assert_eq!(settings.len(), given.len(), "{settings:?}");
    }

    #[test]
    fn bitnami_s_variables_bring_bitnami_s_volume() {
        assert_eq!(with_defaults(&[], true)["log.dirs"], "/bitnami/kafka/data");
    }
}
