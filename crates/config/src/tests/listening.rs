//! Listeners: names, protocols, what is advertised.

use super::overrides;
use crate::listeners::{Listener, Listeners, SecurityProtocol};
use crate::{BrokerConfig, StartError};

fn resolve(pairs: &[(&str, &str)]) -> Result<Listeners, String> {
    BrokerConfig::new(overrides(pairs))
        .map(|config| config.listeners().clone())
        .map_err(|it: StartError| it.to_string())
}

fn show(listeners: &[Listener]) -> Vec<String> {
    listeners.iter().map(|it| format!("{}://{}:{} {:?}", it.name, it.host, it.port, it.protocol)).collect()
}

#[test]
fn without_configuration_one_plaintext_listener_is_open() {
    let found = resolve(&[]).unwrap();
    assert_eq!(show(&found.bind), ["PLAINTEXT://:9092 Plaintext"]);
    assert_eq!(show(&found.advertised), ["PLAINTEXT://:9092 Plaintext"]);
    assert_eq!((found.inter_broker.as_str(), found.warnings.len()), ("PLAINTEXT", 0));
}

/// The images' three listeners, as Testcontainers sets them (test ids IM-1, IM-3).
#[test]
fn controller_listeners_are_neither_opened_nor_advertised() {
    let found = resolve(&[
        ("listeners", "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094"),
        ("advertised.listeners", "PLAINTEXT://localhost:32768,BROKER://172.17.0.2:9093"),
        ("listener.security.protocol.map", "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("inter.broker.listener.name", "BROKER"),
        ("controller.listener.names", "CONTROLLER"),
    ])
    .unwrap();
    assert_eq!(show(&found.bind), ["PLAINTEXT://0.0.0.0:9092 Plaintext", "BROKER://0.0.0.0:9093 Plaintext"]);
    assert_eq!(
        show(&found.advertised),
        ["PLAINTEXT://localhost:32768 Plaintext", "BROKER://172.17.0.2:9093 Plaintext"]
    );
    assert_eq!(show(&found.controller), ["CONTROLLER://0.0.0.0:9094 Plaintext"]);
    assert_eq!(found.inter_broker, "BROKER");
    assert_eq!(found.advertised_for("BROKER").map(|it| it.port), Some(9093));
}

#[test]
fn names_are_free_and_without_case() {
    let found =
        resolve(&[("listeners", "tc-0://[::1]:19092"), ("listener.security.protocol.map", "TC-0:PLAINTEXT")])
            .unwrap();
    let want = Listener {
        name: "TC-0".into(),
        host: "::1".into(),
        port: 19092,
        protocol: SecurityProtocol::Plaintext,
    };
    assert_eq!(
        (&found.bind[..], &found.advertised[..]),
        (std::slice::from_ref(&want), std::slice::from_ref(&want))
    );
}

#[test]
fn an_open_listener_without_advertised_address_warns() {
    let found = resolve(&[("listeners", "PLAINTEXT://0.0.0.0:9092")]).unwrap();
    assert_eq!(show(&found.advertised), ["PLAINTEXT://:9092 Plaintext"]);
    assert_eq!(found.warnings.len(), 1);
    assert!(
        found.warnings[0].contains("set advertised.listeners=PLAINTEXT://<address>:9092"),
        "{}",
        found.warnings[0]
    );
}

#[test]
fn contradictions_are_refused_in_kafkas_words() {
    for (pairs, want) in [
        (&[("listeners", "INTERNAL://:9092")][..], "No security protocol defined for listener INTERNAL"),
        (
            &[("listeners", "PLAINTEXT://:9092,PLAINTEXT://:9093")],
            "Each listener must have a different name, listeners: PLAINTEXT://:9092,PLAINTEXT://:9093",
        ),
        (
            &[("listeners", "PLAINTEXT://:9092,SSL://:9092")],
            "Each listener must have a different port, listeners: PLAINTEXT://:9092,SSL://:9092",
        ),
        (
            &[("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")],
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
        ),
        (
            &[("advertised.listeners", "SSL://a:9092")],
            "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found \
             SSL. The valid options based on the current configuration are PLAINTEXT",
        ),
        (
            &[("inter.broker.listener.name", "PLAINTEXT"), ("security.inter.broker.protocol", "PLAINTEXT")],
            "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
        ),
        (
            &[("listeners", "PLAINTEXT:9092")],
            "listeners: unable to parse PLAINTEXT:9092 to a broker endpoint: expected name://host:port",
        ),
        (
            &[("listeners", "PLAINTEXT://a:99999")],
            "listeners: unable to parse PLAINTEXT://a:99999 to a broker endpoint: expected name://host:port",
        ),
        (
            &[("listeners", "C://:9092"), ("controller.listener.names", "C")],
            "listeners: at least one listener must be for clients, that is, not in controller.listener.names",
        ),
    ] {
        assert_eq!(resolve(pairs), Err(want.to_owned()), "{pairs:?}");
    }
}

#[test]
fn one_port_may_serve_both_families() {
    let found = resolve(&[
        ("listeners", "FOUR://127.0.0.1:9092,SIX://[::1]:9092"),
        ("listener.security.protocol.map", "FOUR:PLAINTEXT,SIX:PLAINTEXT"),
    ])
    .unwrap();
    assert_eq!(found.bind.len(), 2);
}

/// Better no listener than one in clear where somebody relies on TLS or passwords.
#[test]
fn a_listener_that_asks_for_security_is_not_served_in_clear() {
    for (listeners, protocol) in [("SSL://:9093", "SSL"), ("SASL_PLAINTEXT://:9093", "SASL_PLAINTEXT")] {
        let want = format!(
            "listener {protocol} asks for {protocol}, which this release does not serve: give it the protocol PLAINTEXT \
             in listener.security.protocol.map, or leave it out"
        );
        assert_eq!(resolve(&[("listeners", listeners)]), Err(want));
    }
}
