//! What all of Apache's tools have in common: parse, check, run, and fail in the tool's own way.

use std::process::{ExitCode, Termination};
use std::time::{Duration, Instant};

use milena_client::{Client, ClientOptions, Error};

use super::exception::Exception;
use super::java;
use super::options::{Flag, Options, Refusal, describe};
use crate::commands;
use crate::output::complain;

/// Kafka's release whose tools these are.
const KAFKA_VERSION: &str = "4.3.1";

/// How long Kafka's clients wait for a broker to appear, unless `default.api.timeout.ms` says otherwise.
const API_TIMEOUT: Duration = Duration::from_secs(60);

/// A tool's name for its help, its flags, and how it prints an exception.
pub struct Spec {
    /// What the tool does, first line of `--help`.
    pub intro: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
    /// Prints an exception as Apache's tool does and says how to exit.
    pub throw: fn(&Exception, When) -> ExitCode,
}

/// When an exception was thrown: it decides how tools print it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While the flags were parsed and checked.
    Parsing,
    /// Afterwards.
    Running,
}

/// Runs a tool: `check` refuses what its flags cannot mean, `work` does the rest.
pub fn run<F>(
    spec: &Spec,
    arguments: &[String],
    check: impl FnOnce(&Options) -> Result<(), Refusal>,
    work: impl FnOnce(Options) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), Refusal>>,
{
    let options = match Options::parse(spec.flags, arguments) {
        Ok(options) => options,
        Err(exception) => return (spec.throw)(&exception, When::Parsing),
    };
    if options.is_empty() || options.has("help") {
        return usage(spec, spec.intro);
    }
    if options.has("version") {
        return print_version();
    }
    if let Err(refusal) = check(&options) {
        return refuse(spec, refusal, When::Parsing);
    }
    let outcome = commands::block_on(work(options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => refuse(spec, refusal, When::Running),
    }
}

fn refuse(spec: &Spec, refusal: Refusal, when: When) -> ExitCode {
    match refusal {
        Refusal::Usage(message) => usage(spec, &message),
        Refusal::Exception(exception) => (spec.throw)(&exception, when),
        Refusal::BrokenPipe => ExitCode::SUCCESS,
        Refusal::Signal(number) => by_signal(number),
    }
}

/// Prints `message` and the list of options; always a failure, as with Apache's tools.
pub fn usage(spec: &Spec, message: &str) -> ExitCode {
    complain!("{message}\n{}", describe(spec.flags).trim_end());
    ExitCode::FAILURE
}

/// The arguments of a tool whose parser has sub-commands; else how to exit, with help or a refusal printed.
pub fn parse<T: clap::Parser>(name: &str, arguments: &[String]) -> Result<T, ExitCode> {
    T::try_parse_from(std::iter::once(name).chain(arguments.iter().map(String::as_str))).map_err(|refusal| {
        // Printing fails only where nobody reads.
        let _ = refusal.print();
        if refusal.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

/// How a tool with sub-commands ends; `throw` prints an exception as Apache's tool does.
pub fn end(outcome: Result<impl Termination, Refusal>, throw: impl FnOnce(&Exception)) -> ExitCode {
    match outcome {
        Ok(done) => return done.report(),
        Err(Refusal::BrokenPipe) => return ExitCode::SUCCESS,
        Err(Refusal::Signal(number)) => return by_signal(number),
        Err(Refusal::Usage(message)) => complain!("{message}"),
        Err(Refusal::Exception(exception)) => throw(&exception),
    }
    ExitCode::FAILURE
}

/// As shells count, and Java does.
fn by_signal(number: u8) -> ExitCode {
    ExitCode::from(128 + number)
}

fn print_version() -> ExitCode {
    use std::io::Write;
    // Whoever closed standard output does not want to know.
    let _ = writeln!(std::io::stdout(), "{KAFKA_VERSION}");
    ExitCode::SUCCESS
}

/// Connects as Kafka's clients do: a broker that is not there yet is waited for.
///
/// `call` is the request that Kafka's client would name in its time-out.
pub async fn connect(options: &Options, client_id: &str, call: &str) -> Result<Client, Refusal> {
    let properties = match options.value("command-config")? {
        Some(path) => java::load_properties(path)?,
        None => Default::default(),
    };
    let bootstrap = options.value("bootstrap-server")?.unwrap_or_default().to_owned();
    connect_to(&bootstrap, &properties, client_id, call).await
}

/// As [`connect`], with the properties that the tool has gathered.
pub async fn connect_to(
    bootstrap: &str,
    properties: &std::collections::BTreeMap<String, String>,
    client_id: &str,
    call: &str,
) -> Result<Client, Refusal> {
    refuse_security(properties)?;
    let millis =
        |name: &str| properties.get(name).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let deadline = millis("default.api.timeout.ms").unwrap_or(API_TIMEOUT);
    let mut client_options = ClientOptions {
        client_id: properties.get("client.id").cloned().unwrap_or_else(|| client_id.to_owned()),
        deadline,
        ..ClientOptions::default()
    };
    if let Some(timeout) = millis("request.timeout.ms") {
        client_options.request_timeout = timeout;
    }
    let started = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        let error = match Client::connect(&[bootstrap.to_owned()], client_options.clone()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        if !error.is_retriable() {
            java::log("WARN", &error.to_string(), "org.apache.kafka.clients.ClientUtils");
            return Err(Exception::general("Failed to create new KafkaAdminClient").into());
        }
        java::log(
            "WARN",
            &connection_lost(client_id, bootstrap, &error),
            "org.apache.kafka.clients.NetworkClient",
        );
        if started.elapsed() + pause >= deadline {
            let message = format!("Timed out waiting for a node assignment. Call: {call}");
            return Err(Exception::kafka("TimeoutException", message).into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

fn connection_lost(client_id: &str, bootstrap: &str, error: &Error) -> String {
    format!(
        "[AdminClient clientId={client_id}] Connection to node -1 ({bootstrap}) could not be established. \
         Node may not be available. {error}"
    )
}

fn refuse_security(properties: &std::collections::BTreeMap<String, String>) -> Result<(), Exception> {
    match properties.get("security.protocol").map(String::as_str) {
        None | Some("PLAINTEXT") => Ok(()),
        Some(protocol) => Err(Exception::new(
            "org.apache.kafka.common.config.ConfigException",
            format!(
                "Invalid value {protocol} for configuration security.protocol: this tool speaks PLAINTEXT only"
            ),
        )),
    }
}
