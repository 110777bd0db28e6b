//! Whole batches: cutting a run of bytes into them, and the form in which one is stored.

use bytes::{Bytes, BytesMut};

use crate::{BatchHeader, ControlRecord, HeaderError, LeaderEpoch, Offset};

/// The complete batches at the start of `bytes`, in order, without copying.
///
/// A batch that is cut at the end is left out, as a Fetch answer may end in one. Checksums are not
/// verified. After a header that is none the iterator yields its error and ends.
pub fn batches(bytes: &Bytes) -> Batches {
    Batches { rest: bytes.clone() }
}

/// Iterator of [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// What has not been yielded yet; at the end, the bytes of the cut batch.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < BatchHeader::SIZE {
            return None;
        }
        match BatchHeader::parse(&self.rest) {
            Ok(header) if header.total_size() > self.rest.len() => None,
            Ok(header) => Some(Ok((header, self.rest.split_to(header.total_size())))),
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}

/// A batch ready for the log: a header of its own, and the shared bytes of the records.
///
/// The records stay where the socket put them, however often the header is stamped anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The header as it goes to disk and to consumers.
    pub header_bytes: [u8; BatchHeader::SIZE],
    /// Everything after the header.
    pub body: Bytes,
}

impl StoredBatch {
    /// Joins `header` to the records it describes. The caller answers for length and checksum.
    pub(crate) fn new(header: &BatchHeader, body: Bytes) -> Self {
        debug_assert_eq!(header.total_size(), BatchHeader::SIZE + body.len());
        Self { header_bytes: header.to_bytes(), body }
    }

    /// One whole batch as a leader sent it, to be stored unchanged.
    ///
    /// # Panics
    /// If `batch` is shorter than a header: take it from [`batches`].
    pub fn received(batch: &Bytes) -> Self {
        let header_bytes = batch[..BatchHeader::SIZE].try_into().expect("cut to size");
        Self { header_bytes, body: batch.slice(BatchHeader::SIZE..) }
    }

    /// Writes base offset and leader epoch, the two fields outside the checksum.
    pub fn stamp(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) {
        self.header_bytes[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
        self.header_bytes[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
    }

    /// The header as it stands.
    pub fn header(&self) -> BatchHeader {
        BatchHeader::parse(&self.header_bytes).expect("only checked headers are stored")
    }

    /// What a control batch says; `None` for data, and for what cannot be read.
    pub fn control(&self) -> Option<ControlRecord> {
        ControlRecord::of(&self.header(), &self.body)
    }

    /// Bytes of header and records.
    pub fn total_size(&self) -> usize {
        BatchHeader::SIZE + self.body.len()
    }

    /// Header and records in one piece, copied.
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.total_size());
        whole.extend_from_slice(&self.header_bytes);
        whole.extend_from_slice(&self.body);
        whole.freeze()
    }
}
