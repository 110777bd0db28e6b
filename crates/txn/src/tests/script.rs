//! Scripts: a line is a command, `=>` and what it comes to.
//!
//! | line | |
//! |---|---|
//! | `init ID [PID/EPOCH]` | InitProducerId, saying who it is from v3 on |
//! | `add ID PID/EPOCH TOPIC-PARTITION..` | AddPartitionsToTxn |
//! | `verify ID PID/EPOCH TOPIC-PARTITION` | a partition's leader asks before the first append |
//! | `group ID PID/EPOCH GROUP` | AddOffsetsToTxn |
//! | `offsets ID PID/EPOCH GROUP` | TxnOffsetCommit before v5 |
//! | `offsets5 ID PID/EPOCH GROUP` | TxnOffsetCommit v5 |
//! | `commit`, `abort`, `commit5`, `abort5` `ID PID/EPOCH` | EndTxn before v5, and v5 |
//! | `written ID [TOPIC-PARTITION..]` | these markers, or all that are missing, are written |
//! | `wait MS` | time passes |
//! | `due` | what is past its time-out |
//! | `timeout ID [SEQUENCE]` | the sweep's command |
//! | `forget TOPIC` | the topic is deleted |
//! | `expire MS` | what was idle for so long goes |
//! | `show ID` | state, producer, what it consists of |
//! | `markers` | what is missing |
//!
//! Fresh producer ids are 1000, 1001 and so on, but `init` takes one only where it uses it. After every line the
//! stored pairs must give the state.

use std::collections::BTreeMap;

use crate::{
    AddOffsets, AddPartitions, Answer, Applied, Command, CommitOffsets, EndTransaction, InitProducerId,
    MarkersOutcome, MarkersWritten, Partitions, ProducerIdAndEpoch, Refusal, TimeOut, TopicId, Transactions,
};

#[derive(Default)]
pub struct Script {
    pub transactions: Transactions,
    pub pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
    now_ms: i64,
    fresh: i64,
}

/// Runs a script in a fresh world.
pub fn check(script: &str) {
    Script::default().run(script);
}

pub fn topic_id(topic: &str) -> TopicId {
    let mut id = [0; 16];
    id[..topic.len()].copy_from_slice(topic.as_bytes());
    TopicId(id)
}

pub fn partitions(words: &[&str]) -> Partitions {
    let all = words.iter().map(|word| {
        let (topic, partition) = word.rsplit_once('-').expect("topic-partition");
        (topic_id(topic), topic, partition.parse().expect("a partition"))
    });
    all.collect()
}

pub fn producer(text: &str) -> ProducerIdAndEpoch {
    let (producer_id, epoch) = text.split_once('/').expect("pid/epoch");
    ProducerIdAndEpoch { producer_id: producer_id.parse().unwrap(), epoch: epoch.parse().unwrap() }
}

impl Script {
    pub fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, want) = line.split_once("=>").expect("a line is `command => outcome`");
            let words: Vec<&str> = command.split_whitespace().collect();
            let got = self.perform(&words);
            assert_eq!(got, want.trim(), "{line}\n{:#?}", self.transactions);
            self.check_state();
        }
    }

    fn perform(&mut self, words: &[&str]) -> String {
        let (name, rest) = words.split_first().expect("a command");
        match (*name, rest) {
            ("wait", [ms]) => {
                self.now_ms += ms.parse::<i64>().unwrap();
                String::new()
            }
            ("show", [id]) => self.show(id),
            ("markers", []) => self.markers(),
            ("due", []) => {
                let due: Vec<_> = self.transactions.due(self.now_ms).map(|(id, _)| id).collect();
                due.join(" ")
            }
            ("verify", [id, claim, at]) => {
                let partitions = partitions(&[at]);
                let (topic_id, _, partition) = partitions.iter().next().unwrap();
                yes(self.transactions.check_partition(id, producer(claim), topic_id, partition))
            }
            _ => {
                let command = self.command(name, rest);
                let Applied { answer, settled } = self.apply(command);
                let mut text = render(answer);
                if let Some(settled) = settled {
                    let what = if settled.commit { "shows" } else { "drops" };
                    text += &format!(", {what} {} of {}", settled.groups.join(" "), pair(settled.producer));
                }
                text
            }
        }
    }

    fn command(&mut self, name: &str, rest: &[&str]) -> Command {
        let now_ms = self.now_ms;
        let transactional_id = rest.first().copied().unwrap_or_default().to_owned();
        match (name, rest) {
            ("init", [_, claim @ ..]) => Command::InitProducerId(InitProducerId {
                transactional_id,
                now_ms,
                timeout_ms: 1_000,
                expected: claim.first().map(|claim| producer(claim)),
                fresh_producer_id: 1_000 + self.fresh,
            }),
            ("add", [_, claim, at @ ..]) => Command::AddPartitions(AddPartitions {
                transactional_id,
                now_ms,
                producer: producer(claim),
                partitions: partitions(at),
            }),
            ("group", [_, claim, group]) => Command::AddOffsets(AddOffsets {
                transactional_id,
                now_ms,
                producer: producer(claim),
                group: (*group).to_owned(),
            }),
            ("offsets" | "offsets5", [_, claim, group]) => Command::CommitOffsets(CommitOffsets {
                transactional_id,
                now_ms,
                producer: producer(claim),
                group: (*group).to_owned(),
                adds_group: name == "offsets5",
                group_command: bytes::Bytes::from_static(b"opaque"),
            }),
            ("commit" | "abort" | "commit5" | "abort5", [id, claim]) => {
                let needs = self.transactions.needs_producer_id(id);
                Command::EndTransaction(EndTransaction {
                    transactional_id,
                    now_ms,
                    producer: producer(claim),
                    commit: name.starts_with("commit"),
                    bumps: name.ends_with('5'),
                    fresh_producer_id: needs.then_some(1_000 + self.fresh),
                })
            }
            ("timeout", [id, sequence @ ..]) => Command::TimeOut(TimeOut {
                now_ms,
                sequence: match sequence.first() {
                    Some(sequence) => sequence.parse().unwrap(),
                    None => self.transactions.find(id).map_or(0, |it| it.sequence()),
                },
                fresh_producer_id: 1_000 + self.fresh,
                transactional_id,
            }),
            ("written", [id, at @ ..]) => {
                let due = self.transactions.markers_due_of(id);
                let known = self.transactions.find(id).expect("a known id");
                Command::MarkersWritten(MarkersWritten {
                    transactional_id,
                    now_ms,
                    producer: known.producer(),
                    sequence: known.sequence(),
                    partitions: match (at, due) {
                        ([], Some(due)) => due.partitions.clone(),
                        _ => partitions(at),
                    },
                })
            }
            ("forget", [topic]) => Command::DeleteTopics { now_ms, topic_ids: vec![topic_id(topic)] },
            ("expire", [ms]) => {
                Command::Expire(self.transactions.idle(None, now_ms, ms.parse().unwrap(), 100))
            }
            _ => panic!("no such line: {name} {rest:?}"),
        }
    }

    pub fn apply(&mut self, command: Command) -> Applied {
        let decoded = Command::decode(command.encode().as_slice()).expect("own bytes decode");
        assert_eq!(decoded, command);
        self.index += 1;
        let mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let applied = self.transactions.apply(self.index, &decoded, &mut changes);
        for (key, value) in changes {
            match value {
                Some(value) => self.pairs.insert(key, value),
                None => self.pairs.remove(&key),
            };
        }
        if self.transactions.iter().any(|(_, it)| it.successor().producer_id == 1_000 + self.fresh) {
            self.fresh += 1;
        }
        applied
    }

    /// Sets the epoch, as many rounds would.
    pub fn wind_to(&mut self, id: &str, epoch: i16) {
        let mut transaction = self.transactions.find(id).expect("a known id").clone();
        transaction.producer.epoch = epoch;
        let key = [crate::KEY_PREFIX, id.as_bytes()].concat();
        self.pairs.insert(key, prost::Message::encode_to_vec(&transaction.to_stored()));
        self.transactions = Transactions::restore(&self.pairs).expect("own pairs restore");
    }

    fn check_state(&self) {
        assert_eq!(Transactions::restore(&self.pairs).as_ref(), Ok(&self.transactions), "restored");
    }

    fn show(&self, id: &str) -> String {
        let Some(it) = self.transactions.find(id) else { return "unknown".to_owned() };
        let mut text = format!("{} {}", it.state().name(), pair(it.producer()));
        for (_, topic, partition) in it.partitions().iter() {
            text += &format!(" {topic}-{partition}");
        }
        for group in it.groups() {
            text += &format!(" {group}");
        }
        text
    }

    fn markers(&self) -> String {
        let due = self.transactions.markers_due().map(|it| {
            let what = if it.commit { "commit" } else { "abort" };
            let at: Vec<_> = it.partitions.iter().map(|(_, topic, at)| format!("{topic}-{at}")).collect();
            let version = it.version.level();
            format!("{} {what} {} v{version} {}", it.transactional_id, pair(it.producer), at.join(" "))
        });
        due.collect::<Vec<_>>().join("; ")
    }
}

fn pair(it: ProducerIdAndEpoch) -> String {
    format!("{}/{}", it.producer_id, it.epoch)
}

fn yes(result: Result<(), Refusal>) -> String {
    result.map_or_else(|refusal| format!("{refusal:?}"), |()| "ok".to_owned())
}

fn render(answer: Answer) -> String {
    match answer {
        Answer::Initialized(Ok(it)) | Answer::Ended(Ok(it)) => pair(it),
        Answer::Initialized(Err(refusal)) | Answer::Ended(Err(refusal)) => format!("{refusal:?}"),
        Answer::Added(it) | Answer::OffsetsAdmitted(it) => yes(it),
        Answer::TimedOut(true) => "aborted".to_owned(),
        Answer::TimedOut(false) => "left alone".to_owned(),
        Answer::Markers(MarkersOutcome::Stale) => "stale".to_owned(),
        Answer::Markers(MarkersOutcome::Missing(missing)) => format!("{missing} missing"),
        Answer::Markers(MarkersOutcome::Complete) => "complete".to_owned(),
        Answer::TopicsDeleted { completed } => format!("{completed} completed"),
        Answer::Expired { removed } => format!("{removed} removed"),
    }
}
