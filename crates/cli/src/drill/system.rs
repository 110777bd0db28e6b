//! What drills ask of the operating system: signals, and a few of its tools.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

use crate::failure::{Failure, Outcome};

/// Whether mounts and network namespaces can be made.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether a program can be found.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps system tools where the PATH of some users does not look.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

/// Runs a program to its end; its own words are the error.
pub fn run(program: &str, arguments: &[&str]) -> Outcome {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|error| Failure::new(format!("cannot run {program}: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    Err(Failure::new(format!("{program} {} failed: {}", arguments.join(" "), words.trim())))
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: Signal) -> Outcome {
    kill_process(process(pid)?, signal)
        .map_err(|error| Failure::new(format!("cannot signal process {pid}: {error}")))
}

/// Whether a process runs: a dead one whose parent has not asked for it yet does not.
pub fn is_alive(pid: u32) -> bool {
    let Ok(process) = process(pid) else { return false };
    if test_kill_process(process).is_err() {
        return false;
    }
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_none_or(|(_, rest)| !rest.trim_start().starts_with('Z')),
        Err(_) => !Path::new("/proc/self/stat").exists(),
    }
}

fn process(pid: u32) -> Outcome<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| Failure::new(format!("{pid} is no process id")))
}

/// Waits for `holds`, looking every few milliseconds; returns whether it came to hold.
pub async fn wait_until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
