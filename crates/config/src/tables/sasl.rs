//! SASL beyond the choice of mechanisms: Kerberos, OAuth bearer tokens, and a broker's own logins.
//!
//! Kafka's brokers log in to each other and to token servers; ours talk over `milena.peer.listener`, so that whatever
//! describes such a login has nothing to change. What describes the checking of clients' tokens comes with the security
//! release.

use crate::Effect;
use crate::setting::{settings, words::*};

const NO_KERBEROS: Effect = Accepted("Kerberos is not offered");
const NO_CLASSES: Effect = Accepted("no Java classes are loaded");
const NO_LOGIN: Effect = Accepted("brokers talk over milena.peer.listener and log in nowhere");

settings! { BrokerConfig part 7 SASL:
    /// Name of the broker's Kerberos service.
    sasl_kerberos_service_name: "sasl.kerberos.service.name", MaybeText = null, Any, PerBroker, NO_KERBEROS;
    /// Command that obtains Kerberos tickets.
    sasl_kerberos_kinit_cmd: "sasl.kerberos.kinit.cmd", Text = "/usr/bin/kinit", Any, PerBroker, NO_KERBEROS;
    /// Shortest time between two Kerberos logins.
    sasl_kerberos_min_time_before_relogin: "sasl.kerberos.min.time.before.relogin", Long = 60_000, Any, PerBroker, NO_KERBEROS;
    /// How a Kerberos principal becomes a short name.
    sasl_kerberos_principal_to_local_rules: "sasl.kerberos.principal.to.local.rules", List = "DEFAULT", Any, PerBroker, NO_KERBEROS;
    /// Random share added to the time at which a Kerberos ticket is renewed.
    sasl_kerberos_ticket_renew_jitter: "sasl.kerberos.ticket.renew.jitter", Double = 0.05, Any, PerBroker, NO_KERBEROS;
    /// Share of a Kerberos ticket's life after which it is renewed.
    sasl_kerberos_ticket_renew_window_factor: "sasl.kerberos.ticket.renew.window.factor", Double = 0.8, Any, PerBroker, NO_KERBEROS;
    /// Class that answers a SASL client's questions, on the broker's own connections.
    sasl_client_callback_handler_class: "sasl.client.callback.handler.class", Class = null, Any, ReadOnly, NO_CLASSES;
    /// Class that answers a SASL server's questions; usually with a listener's and a mechanism's prefix.
    sasl_server_callback_handler_class: "sasl.server.callback.handler.class", Class = null, Any, ReadOnly, NO_CLASSES;
    /// Class that answers the questions of a login.
    sasl_login_callback_handler_class: "sasl.login.callback.handler.class", Class = null, Any, ReadOnly, NO_CLASSES;
    /// Class that logs the broker in.
    sasl_login_class: "sasl.login.class", Class = null, Any, ReadOnly, NO_CLASSES;
    /// Longest wait for a connection to the server that issues tokens.
    sasl_login_connect_timeout_ms: "sasl.login.connect.timeout.ms", MaybeInt = null, Any, ReadOnly, NO_LOGIN;
    /// Longest wait for an answer of the server that issues tokens.
    sasl_login_read_timeout_ms: "sasl.login.read.timeout.ms", MaybeInt = null, Any, ReadOnly, NO_LOGIN;
    /// Time before a token's end by which it should be renewed.
    sasl_login_refresh_buffer_seconds: "sasl.login.refresh.buffer.seconds", Short = 300, Between(0, 3600), PerBroker, NO_LOGIN;
    /// Shortest time between two renewals of a token.
    sasl_login_refresh_min_period_seconds: "sasl.login.refresh.min.period.seconds", Short = 60, Between(0, 900), PerBroker, NO_LOGIN;
    /// Share of a token's life after which it is renewed.
    sasl_login_refresh_window_factor: "sasl.login.refresh.window.factor", Double = 0.8, Ratio(0.5, 1.0), PerBroker, NO_LOGIN;
    /// Random share added to the time at which a token is renewed.
    sasl_login_refresh_window_jitter: "sasl.login.refresh.window.jitter", Double = 0.05, Ratio(0.0, 0.25), PerBroker, NO_LOGIN;
    /// Pause before a failed login is tried again.
    sasl_login_retry_backoff_ms: "sasl.login.retry.backoff.ms", Long = 100, Any, ReadOnly, NO_LOGIN;
    /// Upper end of the growing pause between failed logins.
    sasl_login_retry_backoff_max_ms: "sasl.login.retry.backoff.max.ms", Long = 10_000, Any, ReadOnly, NO_LOGIN;
    /// Address of the server that issues the broker's own tokens.
    sasl_oauthbearer_token_endpoint_url: "sasl.oauthbearer.token.endpoint.url", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// Name under which the broker asks for its own token.
    sasl_oauthbearer_client_credentials_client_id: "sasl.oauthbearer.client.credentials.client.id", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// Secret with which the broker asks for its own token.
    sasl_oauthbearer_client_credentials_client_secret: "sasl.oauthbearer.client.credentials.client.secret", Password = null, Any, ReadOnly, NO_LOGIN;
    /// Scope that the broker asks for.
    sasl_oauthbearer_scope: "sasl.oauthbearer.scope", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// Class that fetches the broker's own token.
    sasl_oauthbearer_jwt_retriever_class: "sasl.oauthbearer.jwt.retriever.class", Class =
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", Any, ReadOnly, NO_CLASSES;
    /// Signature algorithm of the assertion that the broker asks for a token with.
    sasl_oauthbearer_assertion_algorithm: "sasl.oauthbearer.assertion.algorithm", Text = "RS256", OneOfAnyCase(&["ES256", "RS256"]), ReadOnly, NO_LOGIN;
    /// Audience that the broker's assertion names.
    sasl_oauthbearer_assertion_claim_aud: "sasl.oauthbearer.assertion.claim.aud", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// Life of the broker's assertion.
    sasl_oauthbearer_assertion_claim_exp_seconds: "sasl.oauthbearer.assertion.claim.exp.seconds", Int = 300, Between(0, 86_400), ReadOnly, NO_LOGIN;
    /// Issuer that the broker's assertion names.
    sasl_oauthbearer_assertion_claim_iss: "sasl.oauthbearer.assertion.claim.iss", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// Whether the broker's assertion carries a unique id.
    sasl_oauthbearer_assertion_claim_jti_include: "sasl.oauthbearer.assertion.claim.jti.include", Boolean = false, Any, ReadOnly, NO_LOGIN;
    /// How long before its making the broker's assertion is already valid.
    sasl_oauthbearer_assertion_claim_nbf_seconds: "sasl.oauthbearer.assertion.claim.nbf.seconds", Int = 60, Between(0, 3600), ReadOnly, NO_LOGIN;
    /// Subject that the broker's assertion names.
    sasl_oauthbearer_assertion_claim_sub: "sasl.oauthbearer.assertion.claim.sub", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// File with an assertion made beforehand.
    sasl_oauthbearer_assertion_file: "sasl.oauthbearer.assertion.file", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// File with the key that signs the broker's assertion.
    sasl_oauthbearer_assertion_private_key_file: "sasl.oauthbearer.assertion.private.key.file", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// Password of the key that signs the broker's assertion.
    sasl_oauthbearer_assertion_private_key_passphrase: "sasl.oauthbearer.assertion.private.key.passphrase", Password = null, Any, ReadOnly, NO_LOGIN;
    /// File with further claims for the broker's assertion.
    sasl_oauthbearer_assertion_template_file: "sasl.oauthbearer.assertion.template.file", MaybeText = null, Any, ReadOnly, NO_LOGIN;
    /// Class that checks clients' tokens.
    sasl_oauthbearer_jwt_validator_class: "sasl.oauthbearer.jwt.validator.class", Class =
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", Any, ReadOnly, NO_CLASSES;
    /// Difference of clocks that is tolerated in clients' tokens.
    sasl_oauthbearer_clock_skew_seconds: "sasl.oauthbearer.clock.skew.seconds", Int = 30, Any, ReadOnly, Later;
    /// Audiences of which a client's token must name one; empty accepts any.
    sasl_oauthbearer_expected_audience: "sasl.oauthbearer.expected.audience", List = "", Any, ReadOnly, Later;
    /// Issuer that a client's token must name.
    sasl_oauthbearer_expected_issuer: "sasl.oauthbearer.expected.issuer", MaybeText = null, Any, ReadOnly, Later;
    /// Address of the public keys that clients' tokens are signed with.
    sasl_oauthbearer_jwks_endpoint_url: "sasl.oauthbearer.jwks.endpoint.url", MaybeText = null, Any, ReadOnly, Later;
    /// How often the public keys are fetched anew.
    sasl_oauthbearer_jwks_endpoint_refresh_ms: "sasl.oauthbearer.jwks.endpoint.refresh.ms", Long = 3_600_000, Any, ReadOnly, Later;
    /// Pause before public keys that could not be fetched are asked for again.
    sasl_oauthbearer_jwks_endpoint_retry_backoff_ms: "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long = 100, Any, ReadOnly, Later;
    /// Upper end of the growing pause between attempts to fetch the public keys.
    sasl_oauthbearer_jwks_endpoint_retry_backoff_max_ms: "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long = 10_000, Any, ReadOnly, Later;
    /// Claim of a client's token that holds its scopes.
    sasl_oauthbearer_scope_claim_name: "sasl.oauthbearer.scope.claim.name", Text = "scope", Any, ReadOnly, Later;
    /// Claim of a client's token that holds its principal.
    sasl_oauthbearer_sub_claim_name: "sasl.oauthbearer.sub.claim.name", Text = "sub", Any, ReadOnly, Later;
}
