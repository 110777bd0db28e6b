//! Shell completions: scripts for bash, zsh and fish, which ask this binary what can follow.

use std::io::Write;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use milena_client::{Client, ClientOptions};

use crate::admin::{groups, topics};
use crate::commands::{self, Milena};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Longest that a shell waits for names from the cluster.
const PATIENCE: Duration = Duration::from_millis(500);

/// Variable by which the scripts ask for completions.
const VARIABLE: &str = "MILENA_COMPLETE";

/// Answers the shell and ends the process, if it was a shell that called.
pub fn answer_shell() {
    CompleteEnv::with_factory(Milena::command).var(VARIABLE).complete();
}

/// Shells with completions.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Shell {
    /// `milena completions bash > /etc/bash_completion.d/milena`
    Bash,
    /// `milena completions zsh > "${fpath[1]}/_milena"`
    Zsh,
    /// `milena completions fish > ~/.config/fish/completions/milena.fish`
    Fish,
}

/// Prints the completion script of a shell.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let shells = Shells::builtins();
        let shell =
            shells.completer(name).ok_or_else(|| Failure::new(format!("no completions for {name}")))?;
        let mut out = output::stdout();
        shell.write_registration(VARIABLE, "milena", "milena", "milena", &mut out)?;
        Ok(out.flush()?)
    }
}

/// Completes names of topics.
pub fn topics() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        names(async |client| {
            let listed = topics::list(&client).await.unwrap_or_default();
            listed.into_iter().map(|it| it.name).collect()
        })
    })
}

/// Completes ids of groups.
pub fn groups() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        names(async |client| {
            let listed = groups::list(&client, &[], &[]).await.unwrap_or_default();
            listed.into_iter().map(|it| it.id).collect()
        })
    })
}

/// Names from the cluster that the environment names; none if it does not answer at once.
fn names(ask: impl AsyncFnOnce(Client) -> Vec<String>) -> Vec<CompletionCandidate> {
    let bootstrap = std::env::var("MILENA_BOOTSTRAP_SERVERS").unwrap_or_else(|_| "localhost:9092".to_owned());
    let names = commands::block_on(async {
        let asked = async {
            match Client::connect(&[bootstrap], ClientOptions::default()).await {
                Ok(client) => ask(client).await,
                Err(_) => Vec::new(),
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_default()
    });
    names.into_iter().map(CompletionCandidate::new).collect()
}
