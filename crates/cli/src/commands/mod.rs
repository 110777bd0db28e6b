//! `milena NOUN VERB`: the tree of commands, one file each.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::serve;

/// Kafka in one small binary: broker, metadata quorum and tools.
#[derive(Debug, Parser)]
#[command(name = "milena", version)]
enum Milena {
    Serve(serve::ServeArgs),
}

/// Runs `milena` with its arguments, the program's name first.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match Milena::parse_from(arguments) {
        Milena::Serve(arguments) => serve::run(arguments),
    }
}

/// Runs a tool's work on this thread: tools wait for one broker at a time, threads would only cost their start.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime on this thread needs nothing but memory and a descriptor").block_on(future)
}
