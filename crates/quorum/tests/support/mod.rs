//! A small replicated map for tests.

use bytes::Bytes;
use milena_quorum::{Changes, StateMachine};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A map whose commands are `key\0value`; the answer tells what was there before. Clones read
/// the state of the machine they were cloned from.
#[derive(Clone, Default)]
pub struct Map {
    state: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl Map {
    /// Everything in it.
    pub fn pairs(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.state.lock().unwrap().clone()
    }
}

/// The command that sets `key`.
pub fn put(key: &str, value: &str) -> Bytes {
    format!("{key}\0{value}").into()
}

impl StateMachine for Map {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        let pairs = pairs.map(|(key, value)| (key.to_vec(), value.to_vec()));
        *self.state.lock().unwrap() = pairs.collect();
    }

    fn apply(&mut self, _index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        let cut = command.iter().position(|byte| *byte == 0).expect("a command of this map");
        let (key, value) = (command.slice(..cut), command.slice(cut + 1..));
        changes.put(key.clone(), value.clone());
        match self.state.lock().unwrap().insert(key.to_vec(), value.to_vec()) {
            Some(old) => format!("was {}", String::from_utf8_lossy(&old)).into(),
            None => "absent".into(),
        }
    }

    fn applied(&mut self, _index: u64) {}
}
