//! Why a command failed: what went wrong, and what to do about it.

use std::io::{self, Write};
use std::process::ExitCode;

/// Result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

/// An error that a person reads. Never a backtrace.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong.
    Said {
        /// What, with the values involved; lower-case, no full stop.
        what: String,
        /// What to do, if we know.
        hint: Option<String>,
    },
    /// Everything there is to say has been printed; only the exit code is left.
    Reported,
    /// Nobody reads our output any more (`milena consume | head`): end quietly.
    BrokenPipe,
}

impl Failure {
    /// A failure with nothing more to advise.
    pub fn new(what: impl Into<String>) -> Self {
        Failure::Said { what: what.into(), hint: None }
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Failure::Said { what, .. } => Failure::Said { what, hint: Some(hint.into()) },
            other => other,
        }
    }

    /// Puts in front where it happened.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        match self {
            Failure::Said { what, hint } => Failure::Said { what: format!("{place}: {what}"), hint },
            other => other,
        }
    }

    /// Prints the failure on standard error and gives the exit code that belongs to it.
    pub fn report(self) -> ExitCode {
        let (what, hint) = match self {
            Failure::Said { what, hint } => (what, hint),
            Failure::Reported => return ExitCode::FAILURE,
            Failure::BrokenPipe => return ExitCode::SUCCESS,
        };
        // If standard error is gone as well, there is nobody left to tell.
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "error: {what}");
        if let Some(hint) = hint {
            let _ = writeln!(stderr, "hint: {hint}");
        }
        ExitCode::FAILURE
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::new(error.to_string()),
        }
    }
}
