//! Topics and their configs.

use std::collections::HashMap;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::ClientConfig;
use serde_json::json;

use crate::{say, Outcome};

fn client(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>, Box<dyn std::error::Error>> {
    Ok(ClientConfig::new().set("bootstrap.servers", bootstrap).create()?)
}

pub async fn create(bootstrap: &str, topic: &str, partitions: &str, configs: &[&str]) -> Outcome {
    let mut new = NewTopic::new(topic, partitions.parse()?, TopicReplication::Fixed(1));
    for setting in configs {
        let (key, value) = setting.split_once('=').ok_or("a config is KEY=VALUE")?;
        new = new.set(key, value);
    }
    for result in client(bootstrap)?.create_topics(&[new], &AdminOptions::new()).await? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    say(json!({ "created": topic }));
    Ok(())
}

pub async fn configs(bootstrap: &str, topic: &str) -> Outcome {
    let asked = [ResourceSpecifier::Topic(topic)];
    for described in client(bootstrap)?.describe_configs(&asked, &AdminOptions::new()).await? {
        let configs: HashMap<String, Option<String>> =
            described?.entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
        say(json!({ "configs": configs }));
    }
    Ok(())
}

pub async fn alter(bootstrap: &str, topic: &str, setting: &str) -> Outcome {
    let (key, value) = setting.split_once('=').ok_or("a config is KEY=VALUE")?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    for result in client(bootstrap)?.alter_configs([&change], &AdminOptions::new()).await? {
        result.map_err(|(resource, code)| format!("{resource:?}: {code}"))?;
    }
    say(json!({ "altered": key }));
    Ok(())
}

pub async fn delete(bootstrap: &str, topic: &str) -> Outcome {
    for result in client(bootstrap)?.delete_topics(&[topic], &AdminOptions::new()).await? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    say(json!({ "deleted": topic }));
    Ok(())
}
