//! `milena config`

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::admin::configs::{self, Change, Entry, Kind, Source};
use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Align, Format, Table};

use super::{Each, key_value};

/// Configurations of topics, brokers and groups: describe, alter.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show configurations.
    Describe(DescribeArgs),
    /// Change configurations while the cluster runs.
    Alter(AlterArgs),
}

impl ConfigCommand {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self {
            ConfigCommand::Describe(it) => it.run().await,
            ConfigCommand::Alter(it) => it.run().await,
        }
    }
}

/// What a configuration belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Entity {
    /// A topic.
    Topic,
    /// A broker, by id; `default` means all brokers.
    Broker,
    /// A group.
    Group,
    /// A client metrics subscription.
    ClientMetrics,
}

impl Entity {
    fn kind(self) -> Kind {
        match self {
            Entity::Topic => Kind::Topic,
            Entity::Broker => Kind::Broker,
            Entity::Group => Kind::Group,
            Entity::ClientMetrics => Kind::ClientMetrics,
        }
    }

    /// The name as the protocol has it.
    fn name(self, name: &str) -> String {
        match (self, name) {
            (Entity::Broker, "default") => String::new(),
            (_, name) => name.to_owned(),
        }
    }
}

/// Changes on the command line.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Set a value; may be repeated.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Go back to the default; may be repeated.
    #[arg(short, long, value_name = "KEY")]
    unset: Vec<String>,
    /// Add a member to a list; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    append: Vec<(String, String)>,
    /// Take a member from a list; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    subtract: Vec<(String, String)>,
}

impl ChangeArgs {
    /// The changes, in no order that matters.
    pub fn changes(&self) -> Vec<Change> {
        let pairs = |pairs: &[(String, String)], change: fn(String, String) -> Change| {
            pairs.iter().map(|(key, value)| change(key.clone(), value.clone())).collect::<Vec<_>>()
        };
        let mut changes = pairs(&self.set, Change::Set);
        changes.extend(self.unset.iter().cloned().map(Change::Unset));
        changes.extend(pairs(&self.append, Change::Append));
        changes.extend(pairs(&self.subtract, Change::Subtract));
        changes
    }
}

/// One configuration as it is printed.
#[derive(Debug, Serialize)]
pub struct Listed {
    name: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
}

impl Listed {
    /// What is printed of an entry.
    pub fn of(entry: &Entry) -> Self {
        Listed {
            name: entry.name.clone(),
            value: entry.value.clone(),
            source: source(entry.source),
            read_only: entry.read_only,
            sensitive: entry.sensitive,
            documentation: entry.documentation.clone(),
        }
    }
}

/// A word for where a value comes from.
fn source(source: Source) -> &'static str {
    match source.0 {
        1 => "topic",
        2 => "broker",
        3 => "all brokers",
        4 => "file",
        5 => "default",
        6 => "logger",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}

/// Configurations as a table.
pub fn table(entries: &[Listed]) -> Table {
    let mut table = Table::new([("CONFIG", Align::Left), ("VALUE", Align::Left), ("SOURCE", Align::Left)]);
    for it in entries {
        let value = if it.sensitive { "(secret)".to_owned() } else { it.value.clone().unwrap_or_default() };
        table.row([it.name.clone(), value, it.source.to_owned()]);
    }
    table
}

/// Arguments of `milena config describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// What it belongs to.
    #[arg(value_enum)]
    entity: Entity,
    /// Its name or id.
    #[arg(add = completion::topics())]
    name: String,
    /// Inherited and default configurations too.
    #[arg(short, long)]
    all: bool,
    /// Say what each configuration means (JSON only).
    #[arg(long)]
    documentation: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl DescribeArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let name = self.entity.name(&self.name);
        let described = configs::describe(&client, self.entity.kind(), &[name], self.documentation).await?;
        let mut entries = described.into_iter().next().transpose()?.unwrap_or_default();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let listed: Vec<Listed> =
            entries.iter().filter(|it| self.all || it.source != Source::DEFAULT).map(Listed::of).collect();
        output::print(self.format, &listed, |listed| vec![table(listed)])
    }
}

/// Arguments of `milena config alter`.
#[derive(Debug, Args)]
pub struct AlterArgs {
    /// What it belongs to.
    #[arg(value_enum)]
    entity: Entity,
    /// Its name or id.
    #[arg(add = completion::topics())]
    name: String,
    #[command(flatten)]
    changes: ChangeArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl AlterArgs {
    async fn run(self) -> Outcome {
        let changes = self.changes.changes();
        if changes.is_empty() {
            return Err(Failure::new("nothing to alter")
                .hint("add --set KEY=VALUE, --unset KEY, --append KEY=VALUE or --subtract KEY=VALUE"));
        }
        let client = self.connection.open().await?;
        let result =
            configs::alter(&client, self.entity.kind(), &self.entity.name(&self.name), &changes).await;
        let mut each = Each::new();
        each.result(result, &format!("configuration of {} altered", self.name))?;
        each.outcome()
    }
}
