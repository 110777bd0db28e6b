//! `host:port` as people write it.

use std::fmt;

use crate::Error;

/// Port of an address that names none.
const DEFAULT_PORT: u16 = 9092;

/// Where a broker listens. IPv6 addresses are written in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::BadAddress { address: text.into(), reason };
        // A listener's name in front, as in `PLAINTEXT://host:9092`, is no harm.
        let rest = text.trim().split_once("://").map_or(text.trim(), |(_, rest)| rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(bad("the bracket is not closed"))?;
                (host, after.strip_prefix(':'))
            }
            None => match rest.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => return Err(bad("write IPv6 addresses in brackets")),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(bad("the port is not a number between 1 and 65535")),
            },
        };
        Ok(Self { host: host.into(), port })
    }

    /// The addresses in `list`, of which each item may itself be a list separated by commas.
    pub(crate) fn parse_list(list: &[String]) -> Result<Vec<Self>, Error> {
        let addresses: Result<Vec<_>, _> = list
            .iter()
            .flat_map(|it| it.split(','))
            .filter(|it| !it.trim().is_empty())
            .map(Self::parse)
            .collect();
        match addresses {
            Ok(addresses) if addresses.is_empty() => Err(Error::BadAddress {
                address: "an empty bootstrap list".into(),
                reason: "it names no broker",
            }),
            addresses => addresses,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, want) in [
            ("localhost:9092", Ok("localhost:9092")),
            (" kafka ", Ok("kafka:9092")),
            ("PLAINTEXT://10.0.0.1:19092", Ok("10.0.0.1:19092")),
            ("[::1]:9093", Ok("[::1]:9093")),
            ("[::1]", Ok("[::1]:9092")),
            ("::1:9092", Err("write IPv6 addresses in brackets")),
            (":9092", Err("the host is missing")),
            ("host:0", Err("the port is not a number between 1 and 65535")),
            ("host:http", Err("the port is not a number between 1 and 65535")),
            ("[::1:9092", Err("the bracket is not closed")),
        ] {
            let read = Address::parse(text).map(|it| it.to_string());
            let want =
                want.map(String::from).map_err(|reason| Error::BadAddress { address: text.into(), reason });
            assert_eq!(read, want);
        }
    }

    #[test]
    fn lists_may_be_separated_by_commas() {
        let list = Address::parse_list(&["a:1,b:2".into(), "c:3".into()]).unwrap();
        assert_eq!(list.iter().map(Address::to_string).collect::<Vec<_>>(), ["a:1", "b:2", "c:3"]);
        assert!(Address::parse_list(&[",".into()]).is_err());
    }
}
