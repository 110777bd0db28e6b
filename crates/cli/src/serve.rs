//! `milena serve`: reads the settings, starts the broker, waits for a signal.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use milena_broker::{ControllerNode, Server, StartError};
use milena_config::container;
use milena_config::load::{Loaded, Sources};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// Runs a broker in the foreground.
///
/// Without arguments it listens on localhost:9092 and keeps its data in ./milena-data. Settings have Kafka's
/// names; they come from a properties file, from KAFKA_* variables and from --set, the latter winning.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Properties file with Kafka's settings.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Directory for all data; created and formatted if it is not there.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// Time, level, target, message, fields.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged unless `MILENA_LOG` or `RUST_LOG` says otherwise: the libraries only what needs attention. openraft
/// warns of every message that does not get through, several times a second while a node is down.
const DEFAULT_LOG: &str = "info,openraft=error,sled=warn,h2=warn,tonic=warn";

/// Runs the broker until SIGTERM, SIGINT, or a fault that it cannot survive.
pub fn run(args: ServeArgs) -> ExitCode {
    start_logging(args.log_format);
    let loaded = sources(&args).and_then(|sources| sources.load().map_err(|error| error.to_string()));
    start(loaded)
}

/// Runs the broker as a container's process: from the mounted file, if there is one, and these variables.
pub fn run_in_container(environment: Vec<(String, String)>) -> ExitCode {
    start_logging(LogFormat::Text);
    let mounted = Path::new(container::MOUNTED_FILE);
    let file = if mounted.exists() { read(mounted).map(Some) } else { Ok(None) };
    let loaded = file.and_then(|file| {
        let sources = Sources { file, environment, container: true, ..Sources::default() };
        sources.load().map_err(|error| error.to_string())
    });
    start(loaded)
}

/// Runs the broker as `kafka-server-start` does: from a properties file, and `name=value` pairs that win over it.
pub fn run_with_file(file: &Path, overrides: Vec<String>) -> ExitCode {
    let set = overrides;
    let args = ServeArgs { config: Some(file.to_owned()), set, data_dir: None, log_format: LogFormat::Text };
    run(args)
}

fn start(loaded: Result<Loaded, String>) -> ExitCode {
    take_all_descriptors();
    match loaded {
        Ok(loaded) => serve(loaded),
        Err(message) => {
            error!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Raises the limit of open files to what an administrator allows, as a JVM does: the 1,024 of a shell are few for
/// connections and segments.
fn take_all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        warn!(%error, current = limit.current, "the limit of open files stays as it is");
    }
}

fn start_logging(format: LogFormat) {
    let filter = ["MILENA_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::new(filter.unwrap_or_else(|| DEFAULT_LOG.to_owned()));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stdout())).init(),
        LogFormat::Json => lines.json().init(),
    }
}

fn sources(args: &ServeArgs) -> Result<Sources, String> {
    Ok(Sources {
        file: args.config.as_deref().map(read).transpose()?,
        environment: std::env::vars().collect(),
        set: args.set.clone(),
        data_dir: args.data_dir.clone(),
        container: false,
    })
}

/// Name and text of a properties file.
fn read(path: &Path) -> Result<(String, String), String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration {}: {error}", path.display()))?;
    Ok((path.display().to_string(), text))
}

fn serve(loaded: Loaded) -> ExitCode {
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    // Raft has a thread of its own, so that no amount of traffic can cost this broker a leadership.
    let (control, data) =
        match (runtime("control", 1, milena_broker::urgent_thread), runtime("data", threads(), || ())) {
            (Ok(control), Ok(data)) => (control, data),
            (Err(error), _) | (_, Err(error)) => {
                error!("cannot start threads: {error}");
                return ExitCode::FAILURE;
            }
        };
    let handle = control.handle().clone();
    let code = data.block_on(async move {
        // A node may wait for others before it has started.
        let started = tokio::select! {
            started = Running::start(loaded, &handle) => started,
            name = stop_signal() => {
                info!(signal = name, "stopped before the broker had started");
                return ExitCode::SUCCESS;
            }
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                error!("{error}");
                return ExitCode::FAILURE;
            }
        };
        running.announce();
        let code = tokio::select! {
            name = stop_signal() => {
                info!(signal = name, "stopping");
                ExitCode::SUCCESS
            }
            reason = running.failed() => {
                error!(reason, "the metadata quorum has stopped; the node cannot go on");
                ExitCode::FAILURE
            }
        };
        running.stop().await;
        code
    });
    data.shutdown_background();
    control.shutdown_background();
    code
}

/// A node by its roles.
enum Running {
    /// A broker, which may vote as well.
    Broker(Server),
    /// A controller alone.
    Controller(ControllerNode),
}

impl Running {
    async fn start(loaded: Loaded, control: &Handle) -> Result<Self, StartError> {
        match loaded.broker.roles().broker {
            true => Server::start(loaded, control).await.map(Self::Broker),
            false => ControllerNode::start(loaded, control).await.map(Self::Controller),
        }
    }

    async fn failed(&self) -> String {
        match self {
            Self::Broker(server) => server.failed().await,
            Self::Controller(controller) => controller.failed().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Broker(server) => server.stop().await,
            Self::Controller(controller) => controller.stop().await,
        }
    }

    fn announce(&self) {
        match self {
            Self::Broker(server) => {
                for endpoint in server.endpoints() {
                    info!(
                        listener = endpoint.listener,
                        advertised = format!("{}:{}", endpoint.host, endpoint.port),
                        "clients connect here"
                    );
                }
                info!(
                    broker = server.broker_id(),
                    cluster_id = server.cluster_id(),
                    data = %server.data_dir().display(),
                    "Kafka Server started"
                );
            }
            Self::Controller(controller) => info!(
                controller = controller.node_id(),
                cluster_id = controller.cluster_id(),
                data = %controller.data_dir().display(),
                "Kafka Server started"
            ),
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn runtime(name: &str, threads: usize, begin: fn()) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name(name).on_thread_start(begin).enable_all().build()
}

async fn stop_signal() -> &'static str {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        },
        // Without handlers the signals end the process by themselves.
        _ => std::future::pending().await,
    }
}
