//! `milena NOUN VERB`: the tree of commands, a file for each noun.

mod check;
mod cluster;
mod cluster_health;
mod cluster_members;
mod config;
mod consume;
mod each;
mod explain;
mod explained;
mod group;
mod group_offsets;
mod group_reset;
mod health;
mod produce;
mod topic;
mod txn;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use regex::Regex;

use each::Each;

use crate::completion::CompletionsArgs;
use crate::failure::{Failure, Outcome};
use crate::{drill, kafka, serve};

/// Kafka in one small binary: broker, metadata quorum and tools.
#[derive(Debug, Parser)]
#[command(name = "milena", version, after_help = apache_tools(), disable_help_subcommand = true)]
pub enum Milena {
    Serve(serve::ServeArgs),
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    #[command(subcommand)]
    Group(group::GroupCommand),
    #[command(subcommand)]
    Txn(txn::TxnCommand),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    #[command(subcommand)]
    Explain(explain::ExplainCommand),
    Health(health::HealthArgs),
    Drill(drill::DrillArgs),
    Check(check::CheckArgs),
    Completions(CompletionsArgs),
}

fn apache_tools() -> String {
    let names: Vec<&str> = kafka::Tool::names().collect();
    format!(
        "Apache Kafka's tools, by their names and flags (link the name to this binary, or put it after `milena`):\n  {}",
        names.join("\n  ")
    )
}

/// Runs `milena` with its arguments, the program's name first.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let outcome = match Milena::parse_from(arguments) {
        Milena::Serve(it) => return serve::run(it),
        Milena::Completions(it) => it.run(),
        Milena::Drill(it) => it.run(),
        Milena::Check(it) => it.run(),
        command => block_on(command.work()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl Milena {
    async fn work(self) -> Outcome {
        match self {
            Milena::Topic(it) => it.run().await,
            Milena::Produce(it) => it.run().await,
            Milena::Consume(it) => it.run().await,
            Milena::Group(it) => it.run().await,
            Milena::Txn(it) => it.run().await,
            Milena::Cluster(it) => it.run().await,
            Milena::Config(it) => it.run().await,
            Milena::Explain(it) => it.run().await,
            Milena::Health(it) => it.run().await,
            Milena::Serve(_) | Milena::Completions(_) | Milena::Drill(_) | Milena::Check(_) => Ok(()),
        }
    }
}

/// Runs a tool's work on this thread: tools wait for one broker at a time, threads would only cost their start.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime on this thread needs nothing but memory and a descriptor").block_on(future)
}

/// Parses `key=value`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

/// `1 record`, `2 records`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A regular expression that a whole name has to match.
fn pattern(text: &str) -> Outcome<Regex> {
    Regex::new(&format!("^(?:{text})$")).map_err(|_| {
        Failure::new(format!("'{text}' is no regular expression"))
            .hint("write 'orders.*' for all that begin with orders")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        Milena::command().debug_assert();
    }

    #[test]
    fn key_values_need_a_key() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(key_value("a="), Ok(("a".to_owned(), String::new())));
        assert_eq!(key_value("=b"), Err("'=b' is not KEY=VALUE".to_owned()));
        assert_eq!(key_value("a"), Err("'a' is not KEY=VALUE".to_owned()));
    }
}
