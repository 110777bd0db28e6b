//! The `milena` binary: `serve` and every tool.

mod serve;

use std::process::ExitCode;

use clap::Parser;

/// Kafka in one small binary: broker, metadata quorum and tools.
#[derive(Parser)]
#[command(name = "milena", version)]
enum Milena {
    Serve(serve::ServeArgs),
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Milena::parse() {
        Milena::Serve(args) => serve::run(args),
    }
}
