//! `kafka-server-start`: the broker from a properties file, in the foreground or as a daemon.

use std::fs::{File, create_dir_all};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::output::complain;
use crate::serve;

/// Name of the tool, as the daemon's process has it: `kafka-server-stop` looks for it.
pub const NAME: &str = "kafka-server-start";

const USAGE: &str = "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*";

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let Some(call) = Call::parse(arguments) else {
        complain!("{USAGE}");
        return ExitCode::FAILURE;
    };
    if !call.daemon {
        return serve::run_with_file(Path::new(&call.file), call.overrides);
    }
    match call.detach() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("error: cannot start the broker in the background: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A command line of the tool.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    daemon: bool,
    /// The properties file.
    pub file: String,
    overrides: Vec<String>,
}

impl Call {
    /// Reads the arguments after the tool's name; `None` if they make no sense.
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let mut rest = arguments.iter();
        let mut call = Call { daemon: false, file: String::new(), overrides: Vec::new() };
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "-daemon" => call.daemon = true,
                // Kafka's name of the Java process; there is none here.
                "-name" => drop(rest.next()?),
                "-loggc" => {}
                "--override" => call.overrides.push(rest.next().filter(|pair| pair.contains('='))?.clone()),
                flag if flag.starts_with('-') => return None,
                file if call.file.is_empty() => call.file = file.to_owned(),
                _ => return None,
            }
        }
        (!call.file.is_empty()).then_some(call)
    }

    /// Starts this program once more, away from the terminal; what it prints goes to `kafkaServer.out`.
    fn detach(&self) -> io::Result<()> {
        let folder = log_folder();
        create_dir_all(&folder)?;
        let out = File::options().create(true).append(true).open(folder.join("kafkaServer.out"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(NAME).arg(&self.file);
        for pair in &self.overrides {
            command.args(["--override", pair]);
        }
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0).spawn().map(drop)
    }
}

/// `LOG_DIR`, else `logs` beside the folder of the tools, as Kafka's scripts have it.
fn log_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("LOG_DIR").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    match called.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(tools) => tools.join("../logs"),
        None => "logs".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Option<Call> {
        Call::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_those_of_kafkas_script() {
        let started = call("-daemon config/server.properties --override node.id=2 --override a=b").unwrap();
        assert_eq!((started.daemon, started.file.as_str()), (true, "config/server.properties"));
        assert_eq!(started.overrides, ["node.id=2", "a=b"]);
        for nonsense in ["", "-daemon", "file --override", "file --override lone", "file other", "--help"] {
            assert_eq!(call(nonsense), None, "{nonsense}");
        }
    }
}
