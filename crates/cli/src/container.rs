//! `/etc/kafka/docker/run` and `/etc/confluent/docker/run`: what the common images start a broker with, and what
//! Testcontainers calls (test id IM-1). In our image they are links to this binary.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use crate::output::complain;
use crate::serve;

/// Whether the program was called as that script: `run` in a directory `docker`.
pub fn is_start_script(called: &OsStr) -> bool {
    Path::new(called).ends_with("docker/run")
}

/// Runs the broker. Arguments are variables, `NAME=value`, that win over those of the environment.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let mut variables: Vec<(String, String)> = std::env::vars().collect();
    for argument in arguments {
        let argument = argument.to_string_lossy();
        let Some((name, value)) = argument.split_once('=') else {
            complain!("error: '{argument}' is not NAME=value, as the arguments of this script are");
            return ExitCode::from(2);
        };
        variables.push((name.to_owned(), value.to_owned()));
    }
    serve::run_in_container(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_known_by_its_place() {
        for (called, is_script) in [
            ("/etc/kafka/docker/run", true),
            ("/etc/confluent/docker/run", true),
            ("/usr/bin/run", false),
            ("milena", false),
        ] {
            assert_eq!(is_start_script(called.as_ref()), is_script, "{called}");
        }
    }
}
