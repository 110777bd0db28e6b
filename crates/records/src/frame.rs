//! Cutting the one batch out of what a client sent for a partition, as Kafka's log input stream does.

use crate::{BatchFault, BatchHeader, Corruption, HeaderError, Invalid};

/// Least value of a batch's length field in any format: format v0 has the smallest header.
const LEAST_LENGTH: i32 = 14;
/// Bytes up to and including the magic.
const UP_TO_MAGIC: usize = 17;

/// Header of the batch at the start of `sent`, which is whole and the only one.
///
/// Bytes after it that are not a whole batch again are no fault: Kafka drops them, and so does who appends no more
/// than the header's size.
pub(crate) fn only_batch(sent: &[u8]) -> Result<BatchHeader, Invalid> {
    let Some(size) = batch_size(sent)? else {
        let declared = sent.get(8..12).map_or(0, |it| i32::from_be_bytes([it[0], it[1], it[2], it[3]]));
        return Err(BatchFault::Cut { declared, found: sent.len() }.into());
    };
    let header = match BatchHeader::parse(&sent[..size]) {
        Ok(header) => header,
        Err(error @ (HeaderError::TooShort(_) | HeaderError::Length(_))) => {
            return Err(Invalid::CorruptMessage(Corruption::Header(error)));
        }
        Err(error) => return Err(BatchFault::Header(error).into()),
    };
    match batch_size(&sent[size..])? {
        None => Ok(header),
        Some(_) => Err(BatchFault::SeveralBatches.into()),
    }
}

/// Size of the batch of any format that `bytes` begins with; `None` if it is not all there.
fn batch_size(bytes: &[u8]) -> Result<Option<usize>, Corruption> {
    let Some(length) = bytes.get(8..12) else { return Ok(None) };
    let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    if length < LEAST_LENGTH {
        return Err(Corruption::Header(HeaderError::Length(length)));
    }
    let magic = bytes.get(UP_TO_MAGIC - 1).map_or(2, |it| *it as i8);
    if !(0..=2).contains(&magic) {
        return Err(Corruption::Header(HeaderError::Magic(magic)));
    }
    let size = BatchHeader::LOG_OVERHEAD + length as usize;
    Ok((size <= bytes.len()).then_some(size))
}
