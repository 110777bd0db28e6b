//! What a group replicates: a deterministic state machine over stored key/value pairs.

use bytes::Bytes;

/// A replicated state machine: committed commands in, changed pairs and an answer out.
///
/// Every node applies the same commands in the same order and must end in the same state, live,
/// replayed after a restart, or restored from pairs. So: no clock, no randomness, no map order
/// that reaches the output; and it cannot refuse a command, only answer that it did nothing.
///
/// The pairs are the stored form of the state. A command may be applied again after a crash, but
/// then from the pairs as they were before it.
pub trait StateMachine: Send + 'static {
    /// Replaces the whole state by what the pairs say, in ascending order of keys. Called once
    /// at the start (with no pairs on a new node) and whenever a snapshot was installed.
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>);

    /// Applies one committed command. `index` is its position in the group's log: ascending,
    /// with gaps (the log holds entries that are no commands). Pushes every pair it changed
    /// onto `changes`; returns the answer for whoever proposed it.
    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes;

    /// Everything up to `index` is applied. Called after each batch and after `restore`, before
    /// any proposer of the batch gets its answer: publish the new image here and wake waiters.
    fn applied(&mut self, index: u64);
}

/// One changed pair: a new value, or `None` where the pair was removed.
pub type Change = (Bytes, Option<Bytes>);

/// Collects what a command changed in the stored form. Later changes of a key win.
#[derive(Debug, Default)]
pub struct Changes {
    list: Vec<Change>,
    bytes: usize,
}

impl Changes {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.list.push((key, Some(value)));
    }

    /// Removes `key`; nothing happens if it is absent.
    pub fn remove(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.list.push((key, None));
    }

    /// The changes so far, oldest first.
    pub fn as_slice(&self) -> &[Change] {
        &self.list
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes, leaving none.
    pub fn take(&mut self) -> Vec<Change> {
        self.bytes = 0;
        std::mem::take(&mut self.list)
    }
}
