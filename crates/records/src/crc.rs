//! The checksum of a batch: CRC-32C (Castagnoli) of everything from the attributes to the end.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

use crate::BatchHeader;

/// The stored checksum is not that of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored crc {stored:08x}, computed {computed:08x}")]
pub struct CrcMismatch {
    /// What the header says.
    pub stored: u32,
    /// What the bytes give.
    pub computed: u32,
}

impl BatchHeader {
    /// Checks the checksum of `batch`, the whole batch whose header this is.
    ///
    /// # Errors
    /// [`CrcMismatch`], also when `batch` is shorter than a header.
    pub fn verify_crc(&self, batch: &[u8]) -> Result<(), CrcMismatch> {
        let computed = crc32_iscsi(batch.get(Self::CRC_START..).unwrap_or_default());
        if computed == self.crc { Ok(()) } else { Err(CrcMismatch { stored: self.crc, computed }) }
    }

    /// The checksum that belongs to this header and `body`, the bytes after the header.
    pub fn compute_crc(&self, body: &[u8]) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.to_bytes()[Self::CRC_START..]);
        digest.update(body);
        digest.finalize() as u32
    }
}
