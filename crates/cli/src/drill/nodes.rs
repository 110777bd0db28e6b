//! The brokers as processes: ours, or those of a cluster that somebody else started.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::ground::Land;
use super::system::{self, wait_until};
use crate::failure::{Failure, Outcome};

/// Longest that a process may take to end after a signal that asks it to.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// A broker's process.
pub struct Node {
    /// Its node id.
    pub id: i32,
    launch: Launch,
    child: Option<Child>,
}

enum Launch {
    /// A child of ours.
    Own { command: Vec<String>, log: PathBuf },
    /// Started by a shell command, with its process id in a file.
    Foreign { pid_file: PathBuf, start: Option<String> },
}

/// All brokers of a cluster.
pub struct Nodes {
    /// By id.
    pub list: Vec<Node>,
    /// Where clients begin.
    pub bootstrap: Vec<String>,
}

impl Nodes {
    /// Starts `count` brokers of this binary. They are not waited for.
    pub fn start(count: i32, settings: &[String], land: &Land) -> Outcome<Self> {
        let program = std::env::current_exe()?.display().to_string();
        let ports = free_ports(2 * count as usize)?;
        let port = |id: i32, which: usize| ports[2 * (id as usize - 1) + which];
        let voters: Vec<String> =
            (1..=count).map(|id| format!("{id}@{}:{}", land.host(id), port(id, 1))).collect();
        let mut nodes = Self { list: Vec::new(), bootstrap: Vec::new() };
        for id in 1..=count {
            let host = land.host(id);
            let client = format!("{host}:{}", port(id, 0));
            let mut command = land.wrapper(id);
            command.extend([program.clone(), "serve".into()]);
            command.extend(["--data-dir".into(), land.data_dir(id).display().to_string()]);
            let mut set =
                |key: &str, value: String| command.extend(["--set".into(), format!("{key}={value}")]);
            set("node.id", id.to_string());
            set("process.roles", "broker,controller".into());
            set("controller.listener.names", "CONTROLLER".into());
            set("controller.quorum.voters", voters.join(","));
            set("listeners", format!("PLAINTEXT://{client},CONTROLLER://{host}:{}", port(id, 1)));
            set("advertised.listeners", format!("PLAINTEXT://{client}"));
            for pair in settings {
                command.extend(["--set".into(), pair.clone()]);
            }
            let log = land.log(id);
            let mut node = Node { id, launch: Launch::Own { command, log }, child: None };
            node.start()?;
            nodes.list.push(node);
            nodes.bootstrap.push(client);
        }
        Ok(nodes)
    }

    /// Brokers that run already. `{id}` in both templates stands for the node id.
    pub fn foreign(ids: &[i32], bootstrap: Vec<String>, pid_file: &str, start: Option<&str>) -> Self {
        let fill = |template: &str, id: i32| template.replace("{id}", &id.to_string());
        let node = |id: i32| Node {
            id,
            launch: Launch::Foreign {
                pid_file: fill(pid_file, id).into(),
                start: start.map(|template| fill(template, id)),
            },
            child: None,
        };
        Self { list: ids.iter().map(|id| node(*id)).collect(), bootstrap }
    }

    /// The broker with this id.
    pub fn node(&mut self, id: i32) -> Outcome<&mut Node> {
        let ids: Vec<i32> = self.list.iter().map(|it| it.id).collect();
        let found = self.list.iter_mut().find(|it| it.id == id);
        found.ok_or_else(|| Failure::new(format!("broker {id} is not one of this drill's: {ids:?}")))
    }
}

impl Node {
    /// Starts the process. A foreign one has started when its command has ended.
    pub fn start(&mut self) -> Outcome {
        match &self.launch {
            Launch::Own { command, log } => {
                let log = File::options().create(true).append(true).open(log)?;
                let mut process = Command::new(&command[0]);
                process.args(&command[1..]).stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
                self.child = Some(process.spawn()?);
                Ok(())
            }
            Launch::Foreign { start: Some(start), .. } => system::run("sh", &["-c", start]),
            Launch::Foreign { start: None, .. } => {
                Err(Failure::new("there is no command to start a broker again").hint("give --start-command"))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Outcome<u32> {
        match (&self.launch, &self.child) {
            (Launch::Own { .. }, Some(child)) => Ok(child.id()),
            (Launch::Own { .. }, None) => Err(Failure::new(format!("broker {} was not started", self.id))),
            (Launch::Foreign { pid_file, .. }, _) => {
                let text = std::fs::read_to_string(pid_file)
                    .map_err(|error| Failure::new(format!("cannot read {}: {error}", pid_file.display())))?;
                let pid = text.trim().parse();
                pid.map_err(|_| Failure::new(format!("{} holds no process id", pid_file.display())))
            }
        }
    }

    /// Whether the process runs.
    pub fn is_alive(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => self.pid().is_ok_and(system::is_alive),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Outcome {
        system::signal(self.pid()?, signal)
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> Outcome {
        match wait_until(STOP_PATIENCE, || !self.is_alive()).await {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "broker {} has not ended within {} s",
                self.id,
                STOP_PATIENCE.as_secs()
            ))),
        }
    }

    /// The last lines of its log, for a broker that is not ours none.
    pub fn last_words(&self) -> String {
        let Launch::Own { log, .. } = &self.launch else { return String::new() };
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Continued first: a stopped process that is killed stays in the way of its mount a little longer.
            let _ = system::signal(child.id(), Signal::CONT);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports of loopback that were free a moment ago.
fn free_ports(count: usize) -> Outcome<Vec<u16>> {
    let listeners: Result<Vec<_>, _> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    Ok(listeners?
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<Vec<_>, _>>()?
        .iter()
        .map(|it| it.port())
        .collect())
}
