//! What tools print: tables for people, JSON for programs.

mod table;

use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;

pub use table::{Align, Table};

use crate::failure::Outcome;

/// Prints a line on standard error, as `eprintln!` does, but without a panic when nobody reads it.
macro_rules! complain {
    ($($words:tt)*) => { $crate::output::write_error(format_args!($($words)*)) };
}
pub(crate) use complain;

/// What [`complain`] does.
pub fn write_error(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document with a stable schema (docs/cli.md).
    Json,
}

/// Buffered standard output. Every write reports a broken pipe instead of panicking as `println!` does.
pub fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Whether standard output is a pipe that nobody reads any more. A tool that only waits would not notice.
pub fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&no_wait)).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}

/// Prints `value` as JSON, or as what `table` makes of it.
pub fn print<T: Serialize>(format: Format, value: &T, table: impl FnOnce(&T) -> Vec<Table>) -> Outcome {
    let mut out = stdout();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Format::Table => {
            for (at, table) in table(value).iter().enumerate() {
                if at > 0 {
                    writeln!(out)?;
                }
                table.write_to(&mut out)?;
            }
        }
    }
    Ok(out.flush()?)
}
