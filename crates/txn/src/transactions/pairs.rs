//! The stored pairs: `x/<transactional id>` holds a `Transaction`.

use prost::Message;

use super::Transactions;
use crate::stored;
use crate::transaction::Transaction;

/// Begins the keys of this crate among those of the `coordination` group.
pub const KEY_PREFIX: &[u8] = b"x/";

/// The stored pairs are not what this crate wrote.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RestoreError {
    /// Not a transactional id's key.
    #[error("unknown key {0:?} among the stored transactions")]
    UnknownKey(Vec<u8>),
    /// The value does not decode.
    #[error("value of key {key:?} does not decode: {source}")]
    Malformed {
        /// Key of the pair.
        key: Vec<u8>,
        /// What is wrong with the value.
        source: prost::DecodeError,
    },
    /// The value decodes but makes no transaction: no producer, or an unknown state.
    #[error("value of key {0:?} is no transaction")]
    Invalid(Vec<u8>),
}

impl Transactions {
    /// The state whose pairs these are, in any order. Every key begins with [`KEY_PREFIX`].
    pub fn restore<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, RestoreError>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut restored = Self::default();
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), value.as_ref());
            let transactional_id = key
                .strip_prefix(KEY_PREFIX)
                .and_then(|id| std::str::from_utf8(id).ok())
                .ok_or_else(|| RestoreError::UnknownKey(key.to_vec()))?;
            let stored = stored::Transaction::decode(value)
                .map_err(|source| RestoreError::Malformed { key: key.to_vec(), source })?;
            let transaction = Transaction::from_stored(stored);
            restored.set(transactional_id, transaction.ok_or_else(|| RestoreError::Invalid(key.to_vec()))?);
        }
        Ok(restored)
    }

    /// The pairs of the whole state, as [`Self::restore`] takes them.
    pub fn pairs(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.entries.iter().map(|(id, transaction)| (key(id), value(transaction)))
    }
}

pub(super) fn key(transactional_id: &str) -> Vec<u8> {
    [KEY_PREFIX, transactional_id.as_bytes()].concat()
}

pub(super) fn value(transaction: &Transaction) -> Vec<u8> {
    transaction.to_stored().encode_to_vec()
}
