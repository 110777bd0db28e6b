//! The record batches of a Produce request or Fetch response, still in their encoded form.

use std::fmt;

use bytes::Bytes;

/// Encoded record batches: slices that follow one another, shared and never copied.
///
/// Decoding gives at most one part. A Fetch answer is put together from as many as the log
/// returns. Two values are equal when their bytes are, however they are cut.
#[derive(Clone, Default)]
pub struct Records(Parts);

/// One part, the usual case, needs no allocation.
#[derive(Clone)]
enum Parts {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Default for Parts {
    fn default() -> Self {
        Parts::One(Bytes::new())
    }
}

impl Records {
    /// No bytes. Fetch answers say "nothing new" with this, never with null.
    pub fn empty() -> Self {
        Records::default()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(Bytes::is_empty)
    }

    /// The slices, in order; some may be empty.
    pub fn parts(&self) -> &[Bytes] {
        match &self.0 {
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Many(parts) => parts,
        }
    }

    /// All bytes in one piece; copies only if there is more than one part.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Parts::One(part) => part,
            Parts::Many(parts) => parts.concat().into(),
        }
    }
}

impl From<Bytes> for Records {
    fn from(part: Bytes) -> Self {
        Records(Parts::One(part))
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(mut parts: Vec<Bytes>) -> Self {
        match parts.len() {
            0 => Records::default(),
            1 => Records(Parts::One(parts.remove(0))),
            _ => Records(Parts::Many(parts)),
        }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |it: &Self| it.parts().iter().flatten().copied().collect::<Vec<u8>>();
        self.len() == other.len() && bytes(self) == bytes(other)
    }
}

impl Eq for Records {}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Record contents stay out of logs.
        write!(f, "Records({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_however_cut() {
        let whole = Records::from(Bytes::from_static(b"abcd"));
        let cut = Records::from(vec![Bytes::from_static(b"a"), Bytes::new(), Bytes::from_static(b"bcd")]);
        assert_eq!(whole, cut);
        assert_eq!(cut.len(), 4);
        assert_eq!(cut.into_bytes(), "abcd");
        assert_ne!(whole, Records::from(Bytes::from_static(b"abcx")));
        assert!(Records::from(vec![Bytes::new(), Bytes::new()]).is_empty());
    }
}
