//! `kafka-server-stop`: SIGTERM to the brokers of this machine that run this program.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Pid, Signal, kill_process};

use super::server_start::{self, Call};
use super::{Tool, java};
use crate::container;
use crate::output::complain;

const USAGE: &str = "Usage: kafka-server-stop [--process-role=value] [--node-id=value]";

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let Some(wanted) = Wanted::parse(arguments) else {
        complain!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let running: Vec<_> = processes().filter(|(_, broker)| wanted.includes(broker)).collect();
    if running.is_empty() {
        complain!("No kafka server to stop");
        return ExitCode::FAILURE;
    }
    let mut code = ExitCode::SUCCESS;
    for (process, _) in running {
        if let Err(error) = kill_process(process, Signal::TERM) {
            complain!("error: process {}: {error}", process.as_raw_nonzero());
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Which brokers are to be stopped; all, if nothing is said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    role: Option<String>,
    node_id: Option<String>,
}

/// A broker's process, by what it was started with.
#[derive(Debug, PartialEq, Eq)]
struct BrokerProcess {
    /// Its properties file, if it has one.
    file: Option<PathBuf>,
}

impl Wanted {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut wanted = Wanted::default();
        for argument in arguments {
            let (name, value) = argument.split_once('=')?;
            match name {
                "--process-role" => wanted.role = Some(value.to_owned()),
                "--node-id" => wanted.node_id = Some(value.to_owned()),
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn includes(&self, broker: &BrokerProcess) -> bool {
        if *self == Wanted::default() {
            return true;
        }
        let file = broker.file.as_ref().and_then(|file| java::load_properties(&file.to_string_lossy()).ok());
        let Some(settings) = file else { return false };
        let is = |names: &[&str], wanted: &str| {
            names.iter().find_map(|name| settings.get(*name)).is_some_and(|value| value == wanted)
        };
        // A node's id is looked at first, as Kafka's script does.
        match (&self.node_id, &self.role) {
            (Some(id), _) => is(&["node.id", "broker.id"], id),
            (None, Some(role)) => is(&["process.roles"], role),
            (None, None) => true,
        }
    }
}

impl BrokerProcess {
    /// The broker that this command line runs, if it runs one.
    fn of(words: &[OsString]) -> Option<Self> {
        let called = words.first()?;
        let rest = |from: usize| -> Vec<String> {
            words[from..].iter().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        if container::is_start_script(called) {
            return Some(Self { file: None });
        }
        for (at, word) in words.iter().enumerate().take(2) {
            if Tool::named(word).is_some_and(|tool| tool.name == server_start::NAME) {
                return Some(Self { file: Some(Call::parse(&rest(at + 1))?.file.into()) });
            }
        }
        if words.get(1)? != "serve" {
            return None;
        }
        let rest = rest(2);
        let after = |flag: &str| rest.iter().skip_while(|word| *word != flag).nth(1).cloned();
        let inline = rest.iter().find_map(|word| word.strip_prefix("--config=").map(str::to_owned));
        Some(Self { file: after("--config").or(after("-c")).or(inline).map(PathBuf::from) })
    }
}

/// Processes of this machine that run a broker of this program, but for this one. Relative paths are told from
/// the process's own directory.
fn processes() -> impl Iterator<Item = (Pid, BrokerProcess)> {
    let program = std::env::current_exe().ok();
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folders.filter_map(move |folder| {
        let process: i32 = folder.file_name().to_str()?.parse().ok()?;
        let path = folder.path();
        if process == std::process::id() as i32 || std::fs::read_link(path.join("exe")).ok() != program {
            return None;
        }
        let mut broker = BrokerProcess::of(&command_line(&path)?)?;
        if let (Some(file), Ok(cwd)) = (&mut broker.file, std::fs::read_link(path.join("cwd"))) {
            *file = cwd.join(&*file);
        }
        Some((Pid::from_raw(process)?, broker))
    })
}

fn command_line(process: &Path) -> Option<Vec<OsString>> {
    let bytes = std::fs::read(process.join("cmdline")).ok()?;
    // A zero byte ends each word.
    let words =
        bytes.strip_suffix(&[0])?.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    Some(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_known_by_their_command_lines() {
        let of = |line: &str| BrokerProcess::of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let with = |file: &str| Some(BrokerProcess { file: Some(file.into()) });
        assert_eq!(
            of("/opt/kafka/bin/kafka-server-start.sh config/a.properties"),
            with("config/a.properties")
        );
        assert_eq!(of("milena kafka-server-start a.properties --override x=y"), with("a.properties"));
        assert_eq!(of("milena serve --set node.id=3 --config b"), with("b"));
        assert_eq!(of("milena serve --config=b"), with("b"));
        assert_eq!(of("milena serve"), Some(BrokerProcess { file: None }));
        assert_eq!(of("/etc/kafka/docker/run"), Some(BrokerProcess { file: None }));
        assert_eq!(of("milena topic list"), None);
        assert_eq!(of("milena"), None);
    }

    #[test]
    fn the_node_is_found_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.properties");
        std::fs::write(&file, "process.roles=broker,controller\nnode.id=3\n").unwrap();
        let broker = BrokerProcess { file: Some(file) };
        let wanted = |line: &str| Wanted::parse(&[line.to_owned()]).unwrap();
        assert!(wanted("--node-id=3").includes(&broker));
        assert!(!wanted("--node-id=4").includes(&broker));
        assert!(wanted("--process-role=broker,controller").includes(&broker));
        assert!(!wanted("--process-role=broker").includes(&broker));
        assert_eq!(Wanted::parse(&["--bogus=1".to_owned()]), None);
    }
}
