//! Which addresses a broker opens and which it tells clients: `listeners`, `advertised.listeners`,
//! `listener.security.protocol.map`, `controller.listener.names`, `inter.broker.listener.name`.
//!
//! Listener names are free (`BROKER`, `TC-0`: test id IM-3) and compared without regard to case.

use crate::{BrokerConfig, StartError};

/// Security protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL, in clear.
    SaslPlaintext,
    /// SASL within TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Reads Kafka's name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Code in broker registrations.
    pub fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

/// One address under a listener's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Name in upper case.
    pub name: String,
    /// Host without brackets. Empty: to listen on, every interface; advertised, whatever name the machine has.
    pub host: String,
    /// Port; 0 to listen on means any free one, advertised the one that was found.
    pub port: u16,
    /// Its protocol.
    pub protocol: SecurityProtocol,
}

/// What a broker opens for clients and tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Addresses to open for clients.
    pub bind: Vec<Listener>,
    /// Addresses told to clients who come in by the listener of the same name; a listener may be missing here.
    pub advertised: Vec<Listener>,
    /// Listeners of Kafka's controllers: at the first of them this broker listens for others.
    pub controller: Vec<Listener>,
    /// Where others find it, if that was said.
    pub controller_advertised: Vec<Listener>,
    /// Name of the listener that tools of the operator are told to use.
    pub inter_broker: String,
    /// What works, but probably not as intended.
    pub warnings: Vec<String>,
}

impl Listeners {
    /// The address told to clients of the listener `name`.
    pub fn advertised_for(&self, name: &str) -> Option<&Listener> {
        self.advertised.iter().find(|listener| listener.name == name)
    }

    /// Works out the listeners from a broker's settings, or says in Kafka's words why they contradict each other.
    pub(crate) fn resolve(config: &BrokerConfig) -> Result<Self, StartError> {
        let controllers: Vec<String> =
            config.controller_listener_names().iter().map(|name| name.to_ascii_uppercase()).collect();
        let protocols = Protocols::new(config, &controllers)?;
        let all = parse_list("listeners", config.listener_list(), &protocols)?;
        check_distinct(&all)?;
        let (controller, bind): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|listener| controllers.contains(&listener.name));
        let mut warnings = Vec::new();
        if !config.roles().broker {
            let (_, controller_advertised) =
                advertised(config, &bind, &controllers, &protocols, &mut warnings)?;
            return Ok(Self { bind, controller, controller_advertised, warnings, ..Self::default() });
        }
        if bind.is_empty() {
            return Err(refuse(
                "listeners: at least one listener must be for clients, that is, not in controller.listener.names",
            ));
        }
        if let Some(listener) = bind.iter().find(|listener| listener.protocol != SecurityProtocol::Plaintext)
        {
            return Err(refuse(format!(
                "listener {} asks for {}, which this release does not serve: give it the protocol PLAINTEXT in \
                 listener.security.protocol.map, or leave it out",
                listener.name,
                listener.protocol.name()
            )));
        }
        let (advertised, controller_advertised) =
            advertised(config, &bind, &controllers, &protocols, &mut warnings)?;
        let inter_broker = inter_broker(config, &bind)?;
        Ok(Self { bind, advertised, controller, controller_advertised, inter_broker, warnings })
    }
}

/// The protocol of each listener name.
struct Protocols(Vec<(String, SecurityProtocol)>);

impl Protocols {
    fn new(config: &BrokerConfig, controllers: &[String]) -> Result<Self, StartError> {
        let mut map = Vec::new();
        for entry in
            config.listener_security_protocol_map().split(',').filter(|entry| !entry.trim().is_empty())
        {
            let (name, protocol) = entry.rsplit_once(':').ok_or_else(|| {
                refuse(format!("listener.security.protocol.map: {entry:?}: expected name:protocol"))
            })?;
            let protocol = SecurityProtocol::from_name(protocol.trim()).ok_or_else(|| {
                refuse(format!("listener.security.protocol.map: {entry:?}: no such security protocol"))
            })?;
            map.push((name.trim().to_ascii_uppercase(), protocol));
        }
        // As in Kafka: a controller's listener needs no entry as long as nobody gave a map.
        if !config.is_set("listener.security.protocol.map") {
            for name in controllers {
                if !map.iter().any(|(known, _)| known == name) {
                    map.push((name.clone(), SecurityProtocol::Plaintext));
                }
            }
        }
        Ok(Self(map))
    }

    fn of(&self, name: &str) -> Result<SecurityProtocol, StartError> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, protocol)| *protocol)
            .ok_or_else(|| refuse(format!("No security protocol defined for listener {name}")))
    }
}

fn refuse(reason: impl Into<String>) -> StartError {
    StartError::Listeners(reason.into())
}

fn parse_list(setting: &str, list: &[String], protocols: &Protocols) -> Result<Vec<Listener>, StartError> {
    list.iter()
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (name, host, port) = parse_endpoint(entry).ok_or_else(|| {
                refuse(format!(
                    "{setting}: unable to parse {entry} to a broker endpoint: expected name://host:port"
                ))
            })?;
            let protocol = protocols.of(&name)?;
            Ok(Listener { name, host, port, protocol })
        })
        .collect()
}

/// Splits `name://host:port`; an IPv6 host stands in brackets.
fn parse_endpoint(entry: &str) -> Option<(String, String, u16)> {
    let (name, address) = entry.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        // Without brackets only Kafka's lenient pattern tells host and port apart; so do we, at the last colon.
        None => host,
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte);
    if name.is_empty() || !host.bytes().all(allowed) {
        return None;
    }
    Some((name.to_ascii_uppercase(), host.to_owned(), port.parse().ok()?))
}

fn check_distinct(listeners: &[Listener]) -> Result<(), StartError> {
    let text = || {
        listeners
            .iter()
            .map(|it| format!("{}://{}:{}", it.name, it.host, it.port))
            .collect::<Vec<_>>()
            .join(",")
    };
    for (at, one) in listeners.iter().enumerate() {
        for other in &listeners[..at] {
            if one.name == other.name {
                return Err(refuse(format!(
                    "Each listener must have a different name, listeners: {}",
                    text()
                )));
            }
            // The same port is fine on different interfaces, which covers IPv4 beside IPv6.
            let overlap = one.host == other.host || is_any(&one.host) || is_any(&other.host);
            let families = one.host.contains(':') != other.host.contains(':')
                && !one.host.is_empty()
                && !other.host.is_empty();
            if one.port != 0 && one.port == other.port && overlap && !families {
                return Err(refuse(format!(
                    "Each listener must have a different port, listeners: {}",
                    text()
                )));
            }
        }
    }
    Ok(())
}

/// Whether the host stands for every interface.
fn is_any(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
}

/// Addresses for clients, and those for other nodes.
fn advertised(
    config: &BrokerConfig,
    bind: &[Listener],
    controllers: &[String],
    protocols: &Protocols,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Listener>, Vec<Listener>), StartError> {
    let Some(list) = config.advertised_listener_list().filter(|list| !list.is_empty()) else {
        return Ok((bind.iter().map(|listener| advertise_bound(listener, warnings)).collect(), Vec::new()));
    };
    let all = parse_list("advertised.listeners", list, protocols)?;
    let (of_controllers, advertised): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|listener| controllers.contains(&listener.name));
    for (at, listener) in advertised.iter().enumerate() {
        if is_any(&listener.host) && !listener.host.is_empty() {
            return Err(refuse(
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
            ));
        }
        if !bind.iter().any(|bound| bound.name == listener.name) {
            let valid: Vec<&str> = bind.iter().map(|bound| bound.name.as_str()).collect();
            return Err(refuse(format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. \
                 Found {}. The valid options based on the current configuration are {}",
                listener.name,
                valid.join(",")
            )));
        }
        if advertised[..at].iter().any(|other| other.name == listener.name) {
            return Err(refuse(format!(
                "Each listener must have a different name, listeners: {}",
                list.join(",")
            )));
        }
    }
    Ok((advertised, of_controllers))
}

/// What to advertise for a listener that nobody gave an address for.
fn advertise_bound(listener: &Listener, warnings: &mut Vec<String>) -> Listener {
    if !is_any(&listener.host) {
        return listener.clone();
    }
    if !listener.host.is_empty() {
        warnings.push(format!(
            "listener {} is open on every interface ({}) and advertised.listeners is not set: clients on other \
             machines are told this machine's name; set advertised.listeners={}://<address>:{}",
            listener.name, listener.host, listener.name, listener.port
        ));
    }
    Listener { host: String::new(), ..listener.clone() }
}

fn inter_broker(config: &BrokerConfig, bind: &[Listener]) -> Result<String, StartError> {
    if let Some(name) = config.inter_broker_listener_name() {
        if config.is_set("security.inter.broker.protocol") {
            return Err(refuse(
                "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
            ));
        }
        let name = name.to_ascii_uppercase();
        if !bind.iter().any(|listener| listener.name == name) {
            return Err(refuse(format!("inter.broker.listener.name {name} is not one of the listeners")));
        }
        return Ok(name);
    }
    let protocol = SecurityProtocol::from_name(config.security_inter_broker_protocol());
    let chosen = bind.iter().find(|listener| Some(listener.protocol) == protocol).unwrap_or(&bind[0]);
    Ok(chosen.name.clone())
}
