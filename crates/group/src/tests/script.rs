//! The language of the scripts: one line per event, below it what came of it.
//!
//! ```text
//! == members that join together form a generation (GR-5)
//! > a: join g uuid=1 sub=t
//!   a: refused MemberIdRequired, member c-1
//! > tick 3000
//! ```
//!
//! `UPDATE_SCRIPTS=1 cargo test -p milena-group` writes down what happens; read the difference before you
//! commit it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

use super::lab::{Lab, Trace};
use crate::{
    CommitOffsets, DeleteGroup, DeleteOffsets, Event, Failure, Heartbeat, Join, Leave, LeavingMember,
    OffsetToCommit, Protocol, Reply, RequestId, Settings, Sync, TopicId, subscribed_topics,
};

/// Runs every scenario of a script; gives the script with its outcomes as they are.
pub fn run(script: &str) -> String {
    let mut transcript = String::new();
    for block in script.split("== ").skip(1) {
        let (title, lines) = block.split_once('\n').expect("a title line");
        writeln!(transcript, "== {title}").unwrap();
        let mut scene = Scene::new();
        for line in lines.lines() {
            if let Some(command) = line.strip_prefix("> ") {
                writeln!(transcript, "{line}").unwrap();
                scene.run(command);
                for outcome in scene.out.drain(..) {
                    writeln!(transcript, "  {outcome}").unwrap();
                }
                scene.lab.check_state();
            } else if line.starts_with('#') {
                writeln!(transcript, "{line}").unwrap();
            }
        }
        transcript.push('\n');
    }
    transcript
}

struct Scene {
    lab: Lab,
    labels: BTreeMap<RequestId, String>,
    out: Vec<String>,
}

/// The words of one line: `key=value` pairs and the rest.
struct Words<'a> {
    plain: Vec<&'a str>,
    pairs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let (pairs, plain): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|it| it.contains('='));
        let pairs = pairs.into_iter().map(|it| it.split_once('=').expect("has =")).collect();
        Self { plain, pairs }
    }

    fn text(&self, key: &str) -> String {
        self.pairs.get(key).copied().unwrap_or_default().to_owned()
    }

    fn option(&self, key: &str) -> Option<String> {
        self.pairs.get(key).map(|it| (*it).to_owned())
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        match self.pairs.get(key) {
            Some(it) => it.parse().unwrap_or_else(|_| panic!("{key}={it} is no number")),
            None => default,
        }
    }

    fn group(&self) -> String {
        self.plain.get(1).map_or("", |it| if *it == "''" { "" } else { it }).to_owned()
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }
}

impl Scene {
    fn new() -> Self {
        let settings = Settings::default();
        Self { lab: Lab::new(settings), labels: BTreeMap::new(), out: Vec::new() }
    }

    fn run(&mut self, command: &str) {
        let (label, line) = match command.split_once(": ") {
            Some((label, line)) => (Some(label), line),
            None => (None, command),
        };
        let words = Words::new(line);
        match label {
            Some(label) => {
                let request = RequestId(self.labels.len() as u64);
                self.labels.insert(request, label.to_owned());
                self.lab.step(request_of(request, &words));
            }
            None => self.act(&words),
        }
        self.collect(None);
    }

    fn act(&mut self, words: &Words<'_>) {
        let argument = words.plain.get(1).copied().unwrap_or_default();
        match words.plain.first().copied().unwrap_or_default() {
            "set" => {
                let settings = &mut self.lab.settings;
                settings.initial_rebalance_delay_ms = words.number("delay", 3_000);
                settings.max_group_size = words.number("max_size", usize::MAX);
                settings.max_waiting_requests = words.number("max_waiting", 100);
                settings.max_pending_members = words.number("max_pending", 100);
                settings.max_group_bytes = words.number("max_bytes", 1_000);
                settings.max_batch_commits = words.number("max_batch", 100);
                settings.max_batches_in_flight = words.number("max_batches", 8);
                settings.offsets_retention_ms = words.number("retention", 604_800_000);
                self.lab = Lab::new(settings.clone());
            }
            "tick" => {
                let mut stops = Vec::new();
                let by_ms = argument.parse().expect("milliseconds");
                let start = self.lab.now.monotonic_ms;
                self.lab.advance(by_ms, |lab| {
                    let at = lab.now.monotonic_ms - start;
                    stops.extend(lab.trace.drain(..).map(|it| (at, it)));
                });
                for (at, trace) in stops {
                    self.render(Some(at), trace);
                }
            }
            "stall" => {
                self.lab.stand_still(argument.parse().expect("milliseconds"));
            }
            "hold" => self.lab.holds = true,
            "release" => self.lab.release(),
            "fail" => {
                let failure = match argument {
                    "leadership" => Failure::LeadershipLost,
                    _ => Failure::Indeterminate,
                };
                self.lab.fail(failure, words.has("applied"));
            }
            "failover" => self.lab.fail_over(argument.parse().unwrap_or(0)),
            "disconnect" => {
                let requests =
                    self.labels.iter().filter(|(_, it)| *it == argument).map(|(id, _)| *id).collect();
                self.lab.step(Event::Disconnected(requests));
            }
            "topic-deleted" => self.lab.step(Event::TopicsDeleted(vec![topic_id(argument)])),
            "describe" => self.describe(&words.group()),
            "list" => self.list(words),
            "fetch" => self.fetch(&words.group()),
            other => panic!("no such command: {other}"),
        }
    }

    fn describe(&mut self, group: &str) {
        let Some(it) = self.lab.coordinator.describe(&self.lab.groups, group) else {
            return self.out.push("unknown".to_owned());
        };
        self.out.push(format!("{} {}/{}", it.state.name(), it.protocol_type, it.protocol_name));
        for it in it.members {
            let instance = it.instance_id.map(|it| format!(" instance {it}")).unwrap_or_default();
            let described = format!(
                "{}{instance} at {} as {} metadata {} assignment {}",
                it.member_id,
                it.client_host,
                it.client_id,
                render_metadata(&it.metadata),
                String::from_utf8_lossy(&it.assignment),
            );
            self.out.push(described.trim_end().to_owned());
        }
    }

    fn list(&mut self, words: &Words<'_>) {
        let split = |it: &&'static str| -> Vec<String> {
            words.pairs.get(*it).map(|it| it.split(',').map(str::to_owned).collect()).unwrap_or_default()
        };
        let (states, types) = (split(&"states"), split(&"types"));
        let states: Vec<&str> = states.iter().map(String::as_str).collect();
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        for it in self.lab.coordinator.list(&self.lab.groups, &states, &types) {
            self.out.push(format!("{} {} '{}'", it.group, it.state.name(), it.protocol_type));
        }
    }

    fn fetch(&mut self, group: &str) {
        for (_, topic, partition, it) in self.lab.groups.offsets(group) {
            self.out.push(format!(
                "{topic}-{partition} offset {} epoch {} metadata '{}'",
                it.offset, it.leader_epoch, it.metadata
            ));
        }
    }

    fn collect(&mut self, at: Option<u64>) {
        for trace in std::mem::take(&mut self.lab.trace) {
            self.render(at, trace);
        }
    }

    fn render(&mut self, at: Option<u64>, trace: Trace) {
        let at = at.map(|it| format!("[{it}] ")).unwrap_or_default();
        let line = match trace {
            Trace::Logged(command) => format!("log: {command}"),
            Trace::Replied(request, reply) => format!("{}: {}", self.labels[&request], render_reply(&reply)),
        };
        self.out.push(format!("{at}{line}"));
    }
}

fn request_of(request: RequestId, words: &Words<'_>) -> Event {
    let group = words.group();
    let member_id = words.text("member");
    let instance_id = words.option("instance");
    let generation = words.number("generation", -1);
    match words.plain.first().copied().unwrap_or_default() {
        "join" => Event::Join(
            request,
            Join {
                group,
                member_id,
                instance_id,
                client_id: words.option("client").unwrap_or_else(|| "c".to_owned()),
                client_host: "/127.0.0.1".to_owned(),
                session_timeout_ms: words.number("session", 10_000),
                rebalance_timeout_ms: (!words.has("v0")).then(|| words.number("rebalance", 60_000)),
                protocol_type: words.option("type").unwrap_or_else(|| "consumer".to_owned()),
                protocols: protocols_of(words),
                requires_known_member_id: !words.has("v0") && !words.has("v3"),
                supports_skip_assignment: words.has("v9"),
                fresh_uuid: words.option("uuid").unwrap_or_else(|| format!("u{}", request.0)),
            },
        ),
        "sync" => {
            let assignments = words.plain.iter().skip(2).filter_map(|it| it.split_once("<-"));
            let assignments =
                assignments.map(|(id, it)| (id.to_owned(), Bytes::copy_from_slice(it.as_bytes()))).collect();
            let (protocol_type, protocol_name) = (words.option("type"), words.option("protocol"));
            Event::Sync(
                request,
                Sync { group, member_id, instance_id, generation, protocol_type, protocol_name, assignments },
            )
        }
        "heartbeat" => Event::Heartbeat(request, Heartbeat { group, member_id, instance_id, generation }),
        "leave" => {
            let member = |it: &&str| match it.strip_prefix("instance:") {
                Some(it) => LeavingMember { member_id: String::new(), instance_id: Some(it.to_owned()) },
                None => LeavingMember { member_id: (*it).to_owned(), instance_id: instance_id.clone() },
            };
            let members = words.plain.iter().skip(2).map(member).collect();
            Event::Leave(request, Leave { group, members })
        }
        "commit" => Event::CommitOffsets(
            request,
            CommitOffsets {
                group,
                member_id,
                instance_id,
                generation,
                retention_ms: words.option("retention").map(|it| it.parse().expect("milliseconds")),
                knows_group_id_not_found: !words.has("v8"),
                offsets: words.plain.iter().skip(2).filter_map(|it| offset_of(it, words)).collect(),
            },
        ),
        "delete-group" => Event::DeleteGroup(request, DeleteGroup { group }),
        "delete-offsets" => {
            let partitions = words.plain.iter().skip(2).map(|it| partition_of(it)).collect();
            Event::DeleteOffsets(request, DeleteOffsets { group, partitions })
        }
        other => panic!("no such request: {other}"),
    }
}

/// `sub=t1+t2` is one protocol, `range`; `protocols=range:t1+t2,sticky:t1` are several; `raw:` is no
/// subscription.
fn protocols_of(words: &Words<'_>) -> Vec<Protocol> {
    let protocol = |name: &str, topics: &str| Protocol { name: name.to_owned(), metadata: metadata(topics) };
    match words.pairs.get("protocols") {
        Some(&"none") => Vec::new(),
        Some(list) => list
            .split(',')
            .map(|it| {
                let (name, topics) = it.split_once(':').unwrap_or((it, ""));
                protocol(name, topics)
            })
            .collect(),
        None => vec![protocol("range", words.pairs.get("sub").copied().unwrap_or("t"))],
    }
}

fn metadata(topics: &str) -> Bytes {
    if let Some(raw) = topics.strip_prefix("raw:") {
        return Bytes::copy_from_slice(raw.as_bytes());
    }
    let topics: Vec<&str> = topics.split('+').filter(|it| !it.is_empty()).collect();
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([255; 4]);
    Bytes::from(bytes)
}

/// `t-0` or `t-0@7`, offset after the `@`.
fn partition_of(word: &str) -> (TopicId, String, i32) {
    let (topic, partition) = word.rsplit_once('-').expect("topic-partition");
    (topic_id(topic), topic.to_owned(), partition.parse().expect("a partition"))
}

fn offset_of(word: &str, words: &Words<'_>) -> Option<OffsetToCommit> {
    let (partition, offset) = word.split_once('@')?;
    let (topic_id, topic, partition) = partition_of(partition);
    let metadata = match words.pairs.get("long") {
        Some(len) => "é".repeat(len.parse().expect("a length")),
        None => words.text("metadata"),
    };
    let (offset, leader_epoch) = (offset.parse().expect("an offset"), words.number("epoch", -1));
    Some(OffsetToCommit { topic_id, topic, partition, offset, leader_epoch, metadata })
}

fn topic_id(name: &str) -> TopicId {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    TopicId(id)
}

fn render_metadata(metadata: &Bytes) -> String {
    match subscribed_topics(metadata) {
        Some(topics) => topics.join("+"),
        None => format!("'{}'", String::from_utf8_lossy(metadata)),
    }
}

fn render_reply(reply: &Reply) -> String {
    let each = |it: &Vec<Result<(), crate::Refusal>>| {
        let each = it.iter().map(|it| it.map_or_else(|it| format!("{it:?}"), |()| "ok".to_owned()));
        each.collect::<Vec<_>>().join(" ")
    };
    match reply {
        Reply::Join(Ok(it)) => {
            let members = it.members.iter().map(|it| {
                let instance = it.instance_id.as_ref().map(|it| format!("({it})")).unwrap_or_default();
                format!(" {}{instance}:{}", it.member_id, render_metadata(&it.metadata))
            });
            let protocol = |it: &Option<String>| it.clone().unwrap_or_else(|| "null".to_owned());
            format!(
                "joined generation {} {}/{} as {} leader {}{}{}",
                it.generation,
                protocol(&it.protocol_type),
                protocol(&it.protocol_name),
                it.member_id,
                it.leader,
                if it.skip_assignment { " skip assignment" } else { "" },
                members.fold(String::new(), |all, it| all + &it),
            )
        }
        Reply::Join(Err(it)) => format!("refused {:?} member '{}'", it.refusal, it.member_id),
        Reply::Sync(Ok(it)) => format!(
            "synced {}/{} '{}'",
            it.protocol_type.as_deref().unwrap_or("null"),
            it.protocol_name.as_deref().unwrap_or("null"),
            String::from_utf8_lossy(&it.assignment)
        ),
        Reply::Leave(Ok(it)) => {
            let left = it.iter().map(|it| match it.outcome {
                Ok(()) => "left".to_owned(),
                Err(refusal) => format!("{refusal:?}"),
            });
            left.collect::<Vec<_>>().join(" ")
        }
        Reply::Heartbeat(Ok(())) | Reply::DeleteGroup(Ok(())) => "ok".to_owned(),
        Reply::CommitOffsets(Ok(it)) | Reply::DeleteOffsets(Ok(it)) => each(it),
        Reply::Sync(Err(it))
        | Reply::Heartbeat(Err(it))
        | Reply::Leave(Err(it))
        | Reply::CommitOffsets(Err(it))
        | Reply::DeleteOffsets(Err(it))
        | Reply::DeleteGroup(Err(it)) => format!("refused {it:?}"),
    }
}
