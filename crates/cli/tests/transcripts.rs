//! What is typed and what is answered, against a broker of our own: `transcripts/*.txt`.
//!
//! A line that begins with `$ ` is run by `sh` with `milena` in its path; what follows is its output, with `! `
//! before each line of standard error and `= N` for an exit code other than 0. Ids, times and ports are masked.
//! `MILENA_BLESS=1 cargo test -p milena-cli` writes the files anew: read the difference before committing it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use regex::Regex;

const MILENA: &str = env!("CARGO_BIN_EXE_milena");
const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");

/// A broker with an empty data directory, killed at the end.
struct Broker {
    process: Child,
    address: String,
    /// Holds the data, and the names by which the tools are called.
    directory: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = Command::new(MILENA)
            .args(["serve", "--data-dir", directory.path().join("data").to_str().unwrap()])
            .args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--set", "group.initial.rebalance.delay.ms=0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut broker = Broker { process, address: String::new(), directory };
        let mut log = BufReader::new(broker.process.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while let Some(Ok(line)) = log.next() {
            if let Some((_, address)) = line.split_once("advertised=\"") {
                broker.address = address.trim_end_matches('"').to_owned();
            }
            said.push(line);
            if said.last().unwrap().contains("Kafka Server started") {
                // The log has to be read on, or the broker stands still when the pipe is full.
                std::thread::spawn(move || log.for_each(drop));
                return broker;
            }
        }
        panic!("the broker did not start:\n{}", said.join("\n"));
    }

    /// Runs a line by `sh` and returns the transcript of what it said.
    fn answer(&self, line: &str) -> String {
        let bin = self.directory.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", line])
            .env("PATH", path)
            .env("MILENA_BOOTSTRAP_SERVERS", &self.address)
            .env("BROKER", &self.address)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if !answer.is_empty() && !answer.ends_with('\n') {
            answer.push('\n');
        }
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            answer += &format!("! {line}\n");
        }
        match output.status.code() {
            Some(0) => {}
            code => answer += &format!("= {}\n", code.unwrap_or(-1)),
        }
        mask(&answer, &self.address)
    }

    /// Puts `milena` and the names of Apache's tools into a directory.
    fn link_tools(&self) {
        let bin = self.directory.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in [
            "milena",
            "kafka-topics",
            "kafka-topics.sh",
            "kafka-console-producer",
            "kafka-console-consumer.sh",
        ] {
            std::os::unix::fs::symlink(MILENA, bin.join(name)).unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Hides what differs from run to run.
fn mask(text: &str, address: &str) -> String {
    let (_, port) = address.split_once(':').unwrap();
    // Not within the digits of another number.
    let port = format!(r"\b{port}\b");
    let mut text = text.to_owned();
    for (pattern, mask) in [
        (port.as_str(), "PORT"),
        (r"(topic_id|cluster_id)(.: .)[A-Za-z0-9_-]{22}", "$1${2}ID"),
        (r"(^|[\s])[A-Za-z0-9_-]{21}[AQgw]( |$)", "${1}ID                    $2"),
        (r#"("timestamp":)\d+"#, "${1}TIME"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME"),
        (r#"("lag_seconds": )\d+\.\d+"#, "${1}SECONDS"),
        (r"milena-[0-9a-f-]{36}", "MEMBER"),
    ] {
        text = Regex::new(&format!("(?m){pattern}")).unwrap().replace_all(&text, mask).into_owned();
    }
    text
}

fn replay(name: &str) {
    let path: PathBuf = Path::new(TRANSCRIPTS).join(name);
    let want = std::fs::read_to_string(&path).unwrap();
    let broker = Broker::start();
    broker.link_tools();
    let mut got = String::new();
    for line in want.lines().filter(|line| line.starts_with("$ ") || line.starts_with('#')) {
        got += &format!("{line}\n");
        if let Some(command) = line.strip_prefix("$ ") {
            got += &broker.answer(command);
        }
    }
    if std::env::var_os("MILENA_BLESS").is_some() {
        std::fs::write(&path, &got).unwrap();
        return;
    }
    assert_eq!(got, want, "{name}");
}

#[test]
fn topics() {
    replay("topics.txt");
}

#[test]
fn records() {
    replay("records.txt");
}

#[test]
fn groups() {
    replay("groups.txt");
}

#[test]
fn cluster_and_configs() {
    replay("cluster.txt");
}

#[test]
fn mistakes() {
    replay("mistakes.txt");
}

#[test]
fn tools_by_name() {
    replay("tools.txt");
}
