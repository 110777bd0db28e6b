//! `milena cluster add-voter`, `remove-voter` and `unregister`

use std::fmt;
use std::io::Write;

use clap::Args;
use milena_wire::Uuid;

use crate::admin::voters::{self, VoterKey};
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Arguments of the commands that change who belongs to the cluster.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// The broker's id.
    #[arg(value_name = "BROKER")]
    id: i32,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl MemberArgs {
    /// Makes the broker a voter.
    pub async fn add_voter(self) -> Outcome {
        let client = self.connection.open().await?;
        let Some(directory) = voters::directory(&client, self.id).await? else {
            let failure = Failure::new(format!("broker {} is not in the cluster", self.id));
            return Err(failure.hint("start it first: it joins as an observer, and can then be made a voter"));
        };
        let voter = VoterKey { id: self.id, directory };
        voters::add(&client, None, voter, Vec::new(), self.connection.timeout).await?;
        say(format_args!("broker {} votes", self.id))
    }

    /// Makes the voter an observer.
    pub async fn remove_voter(self) -> Outcome {
        let client = self.connection.open().await?;
        // A voter that never registered has no directory id.
        let directory = voters::directory(&client, self.id).await?.unwrap_or(Uuid::ZERO);
        voters::remove(&client, None, VoterKey { id: self.id, directory }).await?;
        say(format_args!("broker {} votes no longer", self.id))
    }

    /// Forgets a broker that will not come back.
    pub async fn unregister(self) -> Outcome {
        let client = self.connection.open().await?;
        voters::unregister(&client, self.id).await?;
        say(format_args!("broker {} is forgotten; reassign the partitions that it held", self.id))
    }
}

fn say(words: fmt::Arguments<'_>) -> Outcome {
    let mut out = output::stdout();
    writeln!(out, "{words}")?;
    Ok(out.flush()?)
}
