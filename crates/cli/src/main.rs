//! The `milena` binary: `serve` and every tool.

fn main() {}
