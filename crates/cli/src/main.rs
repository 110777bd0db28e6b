//! The `milena` binary: `serve` and every tool.
//!
//! Which program it is follows from the name it is called by: as `kafka-topics` (with or without
//! `.sh`, from any directory, or as `milena kafka-topics ...`) it takes the flags and prints the
//! output of Apache Kafka's tool; otherwise it is `milena`.

mod admin;
mod commands;
mod completion;
mod connection;
mod container;
mod drill;
mod failure;
mod kafka;
mod offset_spec;
mod output;
mod partitions;
mod progress;
mod record;
mod serve;
mod time;

use std::ffi::OsString;
use std::process::ExitCode;

/// glibc's allocator keeps freed request buffers, which doubles resident memory under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    completion::answer_shell();
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().cloned().unwrap_or_default();
    if container::is_start_script(&called) {
        return container::run(&arguments[1..]);
    }
    if let Some(tool) = kafka::Tool::named(&called) {
        arguments.remove(0);
        return tool.run(arguments);
    }
    if let Some(tool) = arguments.get(1).and_then(|name| kafka::Tool::named(name)) {
        arguments.drain(..2);
        return tool.run(arguments);
    }
    commands::run(arguments)
}
