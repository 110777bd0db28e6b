//! Voters and the addresses of other nodes.

use super::overrides;
use crate::BrokerConfig;
use crate::quorum::{Quorum, Voter};

fn resolve(pairs: &[(&str, &str)]) -> Result<Quorum, String> {
    BrokerConfig::new(overrides(pairs)).map(|it| it.quorum().clone()).map_err(|it| it.to_string())
}

#[test]
fn node_without_others_opens_no_listener_for_them() {
    assert_eq!(resolve(&[]).unwrap(), Quorum::default());
}

/// What Apache's compose files with three combined nodes say (test id IM-1).
#[test]
fn controller_listener_and_voters_say_where_brokers_meet() {
    let found = resolve(&[
        ("node.id", "2"),
        ("listeners", "PLAINTEXT://:19092,CONTROLLER://:9093,PLAINTEXT_HOST://:9092"),
        ("advertised.listeners", "PLAINTEXT_HOST://localhost:29092,PLAINTEXT://broker-2:19092"),
        (
            "listener.security.protocol.map",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "3@broker-3:9093, 1@broker-1:9093,2@broker-2:9093"),
    ])
    .unwrap();
    let voter = |id: i32| Voter { id, address: format!("broker-{id}:9093") };
    assert_eq!(found.voters, [voter(1), voter(2), voter(3)]);
    assert_eq!(found.listen, Some((String::new(), 9093)));
    assert_eq!(found.advertised.as_deref(), Some("broker-2:9093"));
    assert!(found.names_others(2));
}

#[test]
fn peer_listener_is_used_where_no_controller_listener_is_named() {
    let voters = ("controller.quorum.voters", "1@[::1]:9093,2@[::1]:9193");
    let found = resolve(&[voters, ("milena.peer.listener", "[::1]:9093")]).unwrap();
    assert_eq!(found.listen, Some(("::1".to_owned(), 9093)));
    assert_eq!(found.advertised.as_deref(), Some("[::1]:9093"));
    let found = resolve(&[("node.id", "9"), voters]).unwrap();
    assert_eq!((found.listen, found.advertised), (Some(("0.0.0.0".to_owned(), 9093)), None));
    assert_eq!(found.host, None);
    let found = resolve(&[("controller.quorum.bootstrap.servers", "a:9093,b:9093")]).unwrap();
    assert_eq!(found.bootstrap_servers, ["a:9093", "b:9093"]);
    assert_eq!(found.listen, Some(("0.0.0.0".to_owned(), 9093)));
}

#[test]
fn voters_that_cannot_be_read_or_contradict_each_other_are_refused() {
    let form = "each voter is given as id@host:port";
    for (voters, entry, reason) in [
        ("1@a:9093,b:9093", "b:9093", form),
        ("x@a:9093", "x@a:9093", form),
        ("-1@a:9093", "-1@a:9093", form),
        ("1@a", "1@a", form),
        ("1@a:9093,1@b:9093", "1@b:9093", "voter 1@a:9093 is named twice"),
        ("1@a:9093,2@a:9093", "2@a:9093", "voter 1@a:9093 is named twice"),
    ] {
        let want = format!("Invalid value {entry} for configuration controller.quorum.voters: {reason}");
        assert_eq!(resolve(&[("controller.quorum.voters", voters)]), Err(want));
    }
}

const VOTERS: (&str, &str) = ("controller.quorum.voters", "1@controller-1:9093,2@controller-2:9093");
const CONTROLLER: (&str, &str) = ("controller.listener.names", "CONTROLLER");

/// What Apache's compose files with nodes of one role each say.
#[test]
fn nodes_of_one_role_say_where_they_meet() {
    let controller = [("node.id", "1"), ("process.roles", "controller"), ("listeners", "CONTROLLER://:9093")];
    let found = resolve(&[&controller[..], &[VOTERS, CONTROLLER]].concat()).unwrap();
    assert_eq!(found.listen, Some((String::new(), 9093)));
    assert_eq!(found.advertised.as_deref(), Some("controller-1:9093"));
    let broker = [
        ("node.id", "4"),
        ("process.roles", "broker"),
        ("listeners", "PLAINTEXT://:19092,PLAINTEXT_HOST://:9092"),
        ("advertised.listeners", "PLAINTEXT://kafka-1:19092,PLAINTEXT_HOST://localhost:29092"),
        ("inter.broker.listener.name", "PLAINTEXT"),
        (
            "listener.security.protocol.map",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
    ];
    let found = resolve(&[&broker[..], &[VOTERS, CONTROLLER]].concat()).unwrap();
    assert_eq!(found.listen, Some(("0.0.0.0".to_owned(), 9093)));
    assert_eq!((found.advertised.as_deref(), found.host.as_deref()), (None, Some("kafka-1")));
    assert!(found.names_others(4));
}

#[test]
fn roles_that_contradict_other_settings_are_refused_in_kafkas_words() {
    let both = "PLAINTEXT://:9092,CONTROLLER://:9093";
    for (id, roles, listeners, voters, want) in [
        (
            "1",
            "controller",
            both,
            VOTERS,
            "The listeners config must only contain KRaft controller listeners",
        ),
        (
            "1",
            "controller",
            "PLAINTEXT://:9092",
            VOTERS,
            "controller.listener.names must contain at least one",
        ),
        (
            "7",
            "controller",
            "CONTROLLER://:9093",
            VOTERS,
            "the node id 7 must be included in the set of voters controller.quorum.voters=Set(1,2)",
        ),
        ("7", "broker", both, VOTERS, "controller.listener.names must not contain a value"),
        (
            "2",
            "broker",
            "PLAINTEXT://:9092",
            VOTERS,
            "the node id 2 must not be included in the set of voters controller.quorum.voters=Set(1,2)",
        ),
        (
            "7",
            "broker",
            "PLAINTEXT://:9092",
            ("controller.quorum.voters", ""),
            "If using process.roles, either",
        ),
    ] {
        let found = resolve(&[
            ("node.id", id),
            ("process.roles", roles),
            ("listeners", listeners),
            voters,
            CONTROLLER,
        ]);
        let refusal = found.expect_err(want);
        assert!(refusal.contains(want), "{refusal}");
    }
    // Without roles a node is both, whoever votes.
    assert!(resolve(&[("node.id", "7"), ("listeners", "PLAINTEXT://:9092"), VOTERS]).is_ok());
}
