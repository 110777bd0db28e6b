//! The groups' state machine as Raft drives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use milena_group::{Answer, Command, Groups};
use milena_quorum::{Changes, StateMachine};
use tracing::error;

/// Answers of `apply` by log index, until the proposer collects them. Bounded: on a broker that proposed none
/// of them nobody does, and the oldest go.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<BTreeMap<u64, Answer>>>);

impl Answers {
    const KEPT: usize = 16_384;

    fn put(&self, index: u64, answer: Answer) {
        let mut answers = self.0.lock().unwrap();
        answers.insert(index, answer);
        if answers.len() > Self::KEPT {
            answers.pop_first();
        }
    }

    /// The answer of the command at `index`.
    pub(crate) fn take(&self, index: u64) -> Option<Answer> {
        self.0.lock().unwrap().remove(&index)
    }
}

/// [`Groups`] under Raft.
pub(crate) struct GroupMachine {
    groups: Arc<RwLock<Groups>>,
    answers: Answers,
}

impl GroupMachine {
    /// Keeps `groups` as the log says and leaves answers in `answers`.
    pub(crate) fn new(groups: Arc<RwLock<Groups>>, answers: Answers) -> Self {
        Self { groups, answers }
    }
}

impl StateMachine for GroupMachine {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        match Groups::restore(pairs) {
            Ok(groups) => *self.groups.write().unwrap() = groups,
            // Written by this program and checked by the store: unreadable pairs are a bug, not a state to
            // go on from with committed offsets missing.
            Err(error) => panic!("stored consumer groups cannot be read: {error}"),
        }
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        match Command::decode(command.clone()) {
            Ok(command) => {
                let answer = self.groups.write().unwrap().apply(index, &command, &mut Pairs(changes));
                self.answers.put(index, answer);
            }
            Err(error) => error!(index, %error, "command of the coordination group cannot be read"),
        }
        Bytes::new()
    }

    fn applied(&mut self, _index: u64) {}
}

/// Hands changed pairs from one crate to the other.
struct Pairs<'a>(&'a mut Changes);

impl milena_group::Changes for Pairs<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.0.remove(key);
    }
}
