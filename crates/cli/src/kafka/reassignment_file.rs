//! The JSON of `kafka-reassign-partitions`: assignments, and topics to move.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exception::Exception;
use super::options::Refusal;
use crate::admin::TopicPartition;

/// Where a replica lies if nobody says.
const ANY_DIR: &str = "any";

/// Replicas of partitions.
pub type Assignment = BTreeMap<TopicPartition, Vec<i32>>;

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default = "one")]
    version: i32,
    #[serde(default)]
    partitions: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
    #[serde(default)]
    log_dirs: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Topics {
    #[serde(default = "one")]
    version: i32,
    #[serde(default)]
    topics: Vec<Topic>,
}

#[derive(Deserialize)]
struct Topic {
    topic: String,
}

fn one() -> i32 {
    1
}

fn failed(message: impl Into<String>) -> Refusal {
    Exception::new("org.apache.kafka.tools.AdminCommandFailedException", message).into()
}

fn invalid(message: impl Into<String>) -> Refusal {
    Exception::new("org.apache.kafka.server.common.AdminOperationException", message).into()
}

fn check_version(version: i32) -> Result<(), Refusal> {
    if version == 1 { Ok(()) } else { Err(invalid(format!("Not supported version field value {version}"))) }
}

/// Reads an assignment. Each partition may be in it once, each with at least one broker and none twice. Directories
/// are passed over: a broker has one.
pub fn parse(text: &str) -> Result<Assignment, Refusal> {
    let file: File = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    check_version(file.version)?;
    if file.partitions.is_empty() {
        return Err(failed("Partition reassignment list cannot be empty"));
    }
    let mut found = Assignment::new();
    let mut twice: Vec<String> = Vec::new();
    for entry in file.partitions {
        let at = TopicPartition::new(entry.topic, entry.partition);
        if entry.replicas.is_empty() {
            return Err(failed("Partition replica list cannot be empty"));
        }
        let dirs = entry.log_dirs.unwrap_or_else(|| vec![ANY_DIR.to_owned(); entry.replicas.len()]);
        if dirs.len() != entry.replicas.len() {
            return Err(failed(format!(
                "Size of replicas list {:?} is different from size of log dirs list [{}] for partition {at}",
                entry.replicas,
                dirs.join(", ")
            )));
        }
        let mut sorted = entry.replicas.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(failed(format!(
                "Partition replica lists may not contain duplicate entries: {at} contains multiple entries for {}",
                pair[0]
            )));
        }
        if found.insert(at.clone(), entry.replicas).is_some() {
            twice.push(at.to_string());
        }
    }
    if twice.is_empty() {
        Ok(found)
    } else {
        Err(failed(format!(
            "Partition reassignment contains duplicate topic partitions: {}",
            twice.join(",")
        )))
    }
}

/// Reads the topics that `--generate` is to move.
pub fn parse_topics(text: &str) -> Result<Vec<String>, Refusal> {
    let file: Topics =
        serde_json::from_str(text).map_err(|_| invalid("The input string is not a valid JSON"))?;
    check_version(file.version)?;
    Ok(file.topics.into_iter().map(|it| it.topic).collect())
}

/// Directories of replicas, by partition and broker.
pub type Dirs = BTreeMap<(TopicPartition, i32), String>;

/// Writes an assignment as [`parse`] reads it, with the directories that are known.
pub fn format(assignment: &Assignment, dirs: &Dirs) -> String {
    let dir = |at: &TopicPartition, broker: i32| {
        dirs.get(&(at.clone(), broker)).cloned().unwrap_or_else(|| ANY_DIR.to_owned())
    };
    let entry = |(at, replicas): (&TopicPartition, &Vec<i32>)| Entry {
        topic: at.topic.clone(),
        partition: at.partition,
        replicas: replicas.clone(),
        log_dirs: Some(replicas.iter().map(|id| dir(at, *id)).collect()),
    };
    let file = File { version: 1, partitions: assignment.iter().map(entry).collect() };
    serde_json::to_string(&file).expect("numbers and names are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let assignment = Assignment::from([
            (TopicPartition::new("a", 0), vec![1, 2]),
            (TopicPartition::new("a", 1), vec![2, 3]),
        ]);
        let dirs = Dirs::from([((TopicPartition::new("a", 1), 3), "/d".to_owned())]);
        let text = format(&assignment, &dirs);
        assert_eq!(
            text,
            r#"{"version":1,"partitions":[{"topic":"a","partition":0,"replicas":[1,2],"log_dirs":["any","any"]},{"topic":"a","partition":1,"replicas":[2,3],"log_dirs":["any","/d"]}]}"#
        );
        assert_eq!(parse(&text), Ok(assignment));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let one = |fields: &str| format!(r#"{{"partitions":[{{"topic":"a","partition":0,{fields}}}]}}"#);
        for (text, want) in [
            (r#"{"partitions":[]}"#.to_owned(), "Partition reassignment list cannot be empty"),
            (one(r#""replicas":[]"#), "Partition replica list cannot be empty"),
            (
                one(r#""replicas":[1,2,1]"#),
                "Partition replica lists may not contain duplicate entries: a-0 contains multiple entries for 1",
            ),
            (
                one(r#""replicas":[1],"log_dirs":["any","any"]"#),
                "Size of replicas list [1] is different from size of log dirs list [any, any] for partition a-0",
            ),
        ] {
            assert_eq!(parse(&text), Err(failed(want)), "{text}");
        }
        assert_eq!(
            parse(r#"{"version":2,"partitions":[]}"#),
            Err(invalid("Not supported version field value 2"))
        );
    }
}
