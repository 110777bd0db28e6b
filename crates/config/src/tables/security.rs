//! Who may connect and what they may do. Everything here takes effect with the security release; until then a listener
//! whose protocol is not PLAINTEXT is refused at start rather than served in clear.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 6 SECURITY:
    /// SASL mechanisms offered to clients.
    sasl_enabled_mechanisms: "sasl.enabled.mechanisms", List = "GSSAPI", Any, PerBroker, Later;
    /// SASL mechanism between Kafka's brokers.
    sasl_mechanism_inter_broker_protocol: "sasl.mechanism.inter.broker.protocol", Text = "GSSAPI", Any, PerBroker, Later;
    /// SASL mechanism of Kafka's controllers.
    sasl_mechanism_controller_protocol: "sasl.mechanism.controller.protocol", Text = "GSSAPI", Any, ReadOnly, Later;
    /// Credentials in JAAS form; usually with a listener's and a mechanism's prefix.
    sasl_jaas_config: "sasl.jaas.config", Password = null, Any, PerBroker, Later;
    /// Largest SASL token accepted.
    sasl_server_max_receive_size: "sasl.server.max.receive.size", Int = 524_288, AtLeast(1), ReadOnly, Later;
    /// Time after which a SASL client must authenticate again; 0 for never.
    connections_max_reauth_ms: "connections.max.reauth.ms", Long = 0, Any, ReadOnly, Later;
    /// Whether TLS clients show a certificate.
    ssl_client_auth: "ssl.client.auth", Text = "none", OneOfAnyCase(&["required", "requested", "none"]), PerBroker, Later;
    /// File with the broker's key and certificate.
    ssl_keystore_location: "ssl.keystore.location", MaybeText = null, Any, PerBroker, Later;
    /// Password of the file with the broker's key.
    ssl_keystore_password: "ssl.keystore.password", Password = null, Any, PerBroker, Later;
    /// Format of the file with the broker's key.
    ssl_keystore_type: "ssl.keystore.type", Text = "JKS", Any, PerBroker, Later;
    /// The broker's key in PEM form.
    ssl_keystore_key: "ssl.keystore.key", Password = null, Any, PerBroker, Later;
    /// The broker's certificates in PEM form.
    ssl_keystore_certificate_chain: "ssl.keystore.certificate.chain", Password = null, Any, PerBroker, Later;
    /// Password of the broker's key.
    ssl_key_password: "ssl.key.password", Password = null, Any, PerBroker, Later;
    /// File with the certificates that are trusted.
    ssl_truststore_location: "ssl.truststore.location", MaybeText = null, Any, PerBroker, Later;
    /// Password of the file with trusted certificates.
    ssl_truststore_password: "ssl.truststore.password", Password = null, Any, PerBroker, Later;
    /// Format of the file with trusted certificates.
    ssl_truststore_type: "ssl.truststore.type", Text = "JKS", Any, PerBroker, Later;
    /// Trusted certificates in PEM form.
    ssl_truststore_certificates: "ssl.truststore.certificates", Password = null, Any, PerBroker, Later;
    /// TLS versions that are offered.
    ssl_enabled_protocols: "ssl.enabled.protocols", List = "TLSv1.2,TLSv1.3", Any, PerBroker, Later;
    /// TLS version that is preferred.
    ssl_protocol: "ssl.protocol", Text = "TLSv1.3", Any, PerBroker, Later;
    /// Cipher suites offered; unset for all good ones.
    ssl_cipher_suites: "ssl.cipher.suites", List = "", Any, PerBroker, Later;
    /// How a server's name is checked against its certificate.
    ssl_endpoint_identification_algorithm: "ssl.endpoint.identification.algorithm", Text = "https", Any, PerBroker, Later;
    /// How a certificate's subject becomes a principal.
    ssl_principal_mapping_rules: "ssl.principal.mapping.rules", Text = "DEFAULT", Any, ReadOnly, Later;
    /// Class that makes principals.
    principal_builder_class: "principal.builder.class", Class =
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Any, PerBroker,
        Accepted("no Java classes are loaded");
    /// Authorizer; `org.apache.kafka.metadata.authorizer.StandardAuthorizer` or none.
    authorizer_class_name: "authorizer.class.name", Text = "", Any, ReadOnly, Later;
    /// Principals that may do everything, separated by semicolons.
    super_users: "super.users", Text = "", Any, ReadOnly, Later;
    /// Allow what no rule speaks of.
    allow_everyone_if_no_acl_found: "allow.everyone.if.no.acl.found", Boolean = false, Any, ReadOnly, Later;
    /// Secret that delegation tokens are signed with.
    delegation_token_secret_key: "delegation.token.secret.key", Password = null, Any, ReadOnly, Later;
    /// Longest life of a delegation token.
    delegation_token_max_lifetime_ms: "delegation.token.max.lifetime.ms", Long = 604_800_000, AtLeast(1), ReadOnly, Later;
    /// Life of a delegation token until it must be renewed.
    delegation_token_expiry_time_ms: "delegation.token.expiry.time.ms", Long = 86_400_000, AtLeast(1), ReadOnly, Later;
    /// How often expired delegation tokens are removed.
    delegation_token_expiry_check_interval_ms: "delegation.token.expiry.check.interval.ms", Long = 3_600_000, AtLeast(1), ReadOnly, Later;
    /// Classes that add Java security providers.
    security_providers: "security.providers", MaybeText = null, Any, ReadOnly, Accepted("no Java classes are loaded");
    /// Let a renewed certificate have another subject.
    ssl_allow_dn_changes: "ssl.allow.dn.changes", Boolean = false, Any, ReadOnly, Later;
    /// Let a renewed certificate have other alternative names.
    ssl_allow_san_changes: "ssl.allow.san.changes", Boolean = false, Any, ReadOnly, Later;
    /// Class that makes TLS engines.
    ssl_engine_factory_class: "ssl.engine.factory.class", Class = null, Any, PerBroker, Accepted("no Java classes are loaded");
    /// Java's algorithm for the broker's keys.
    ssl_keymanager_algorithm: "ssl.keymanager.algorithm", Text = "SunX509", Any, PerBroker, Accepted("TLS is not Java's");
    /// Java's algorithm for trusted certificates.
    ssl_trustmanager_algorithm: "ssl.trustmanager.algorithm", Text = "PKIX", Any, PerBroker, Accepted("TLS is not Java's");
    /// Name of Java's TLS provider.
    ssl_provider: "ssl.provider", MaybeText = null, Any, PerBroker, Accepted("TLS is not Java's");
    /// Name of Java's random source for TLS.
    ssl_secure_random_implementation: "ssl.secure.random.implementation", MaybeText = null, Any, PerBroker, Accepted("TLS is not Java's");
}
