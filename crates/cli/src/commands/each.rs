//! Doing one thing to several: each result is told, and one failure is a failure of the command.

use std::io::Write;

use milena_client::Error;

use crate::failure::{Failure, Outcome};
use crate::output;

/// Results so far.
pub struct Each {
    failures: usize,
}

impl Each {
    /// No results yet.
    pub fn new() -> Self {
        Each { failures: 0 }
    }

    /// Tells that something was done.
    pub fn done(&mut self, message: &str) -> Outcome {
        let mut out = output::stdout();
        writeln!(out, "{message}")?;
        Ok(out.flush()?)
    }

    /// Tells that something failed; the others go on.
    pub fn failed(&mut self, failure: Failure) {
        self.failures += 1;
        // The exit code follows from the count, in `outcome`.
        let _ = failure.report();
    }

    /// Tells either.
    pub fn result(&mut self, result: Result<(), Error>, message: &str) -> Outcome {
        match result {
            Ok(()) => self.done(message),
            Err(error) => {
                self.failed(error.into());
                Ok(())
            }
        }
    }

    /// A failure if anything failed.
    pub fn outcome(self) -> Outcome {
        if self.failures == 0 { Ok(()) } else { Err(Failure::Reported) }
    }
}
