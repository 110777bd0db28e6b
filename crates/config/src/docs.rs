//! `docs/configuration.md`, written from the tables.

use std::fmt::Write;

use crate::tables::{self, resources, topic::TOPIC};
use crate::{Effect, Scope, Setting, Unit};

const HEAD: &str = "\
# Configuration

Generated from the tables in `crates/config/src/tables`; `UPDATE_DOCS=1 cargo test -p milena-config` writes it again.

Settings have Kafka's names. They come from a `server.properties` file, from the environment (`KAFKA_NUM_PARTITIONS=3`
or `KAFKA_CFG_NUM_PARTITIONS=3` mean `num.partitions=3`; two underscores mean one, three mean a hyphen), and from
`--set key=value`; the command line wins over the environment, the environment over the file. A single node needs none
of them. Unknown names warn and are ignored.

The column *effect* says what this release does with a setting: **now** it is obeyed; **later** it is accepted,
validated and shown, and will be obeyed; **none** it is accepted so that existing files work, and there is nothing for
it to change, for the reason given. The column *change* says where a broker's setting can be altered while it runs:
**no**, for one **broker** at a time, or for the **cluster**.

`message.format.version` and `message.downconversion.enable`, topic settings up to Kafka 3.x, are accepted with a
warning and change nothing.
";

/// The whole page.
pub fn render() -> String {
    let mut page = HEAD.to_owned();
    resource(&mut page, "Topics", TOPIC);
    for (title, rows) in &tables::BROKER {
        broker(&mut page, title, rows);
    }
    resource(&mut page, "Groups", resources::group::GROUP);
    resource(&mut page, "Clients' metrics", resources::client_metrics::CLIENT_METRICS);
    page
}

fn resource(page: &mut String, title: &str, rows: &[Setting]) {
    let _ = write!(
        page,
        "\n## {title}\n\n| setting | type | default | valid | broker setting behind it | effect | meaning |\n|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let behind = row
            .synonyms()
            .iter()
            .map(|synonym| match synonym.unit {
                Unit::Same => format!("`{}`", synonym.name),
                Unit::Minutes => format!("`{}` (minutes)", synonym.name),
                Unit::Hours => format!("`{}` (hours)", synonym.name),
            })
            .collect::<Vec<_>>()
            .join(", ");
        line(page, row, &behind);
    }
}

fn broker(page: &mut String, title: &str, rows: &[Setting]) {
    let _ = write!(
        page,
        "\n## {title}\n\n| setting | type | default | valid | change | effect | meaning |\n|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let change = match row.scope {
            Scope::PerBroker => "broker",
            Scope::ClusterWide => "cluster",
            Scope::ReadOnly | Scope::Resource(_) => "no",
        };
        line(page, row, change);
    }
}

fn line(page: &mut String, row: &Setting, column: &str) {
    let default = match row.default {
        None => "not set".to_owned(),
        Some("") => "empty".to_owned(),
        Some(text) => format!("`{text}`"),
    };
    let effect = match row.effect {
        Effect::Now => "now".to_owned(),
        Effect::Later => "later".to_owned(),
        Effect::Accepted(why) => format!("none: {why}"),
    };
    let _ = writeln!(
        page,
        "| `{}` | {} | {default} | {} | {column} | {effect} | {} |",
        row.name,
        row.kind.name().to_lowercase(),
        row.check.describe(row.kind),
        row.doc()
    );
}
