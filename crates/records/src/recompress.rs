//! Changing a batch's codec, for topics whose `compression.type` is not `producer` (RB-6, RB-7).

use bytes::Bytes;

use crate::compression::{Deflater, Inflater};
use crate::validate::unreadable;
use crate::{BatchHeader, Compression, Invalid, Level, Rules, Validated};

/// Writes the records of a validated batch with another codec; offsets, times and the producer's fields stay.
///
/// The records pass through piece by piece: memory is bounded by `rules.max_message_bytes`, whatever they
/// inflate to. A batch that has the codec already is returned as it is, as in Kafka.
///
/// # Errors
/// [`Invalid::MessageTooLarge`] when the batch no longer fits `max.message.bytes`.
pub fn recompress(
    validated: Validated,
    target: Compression,
    level: Level,
    rules: &Rules,
) -> Result<Validated, Invalid> {
    let source = validated.header.compression();
    if source == target {
        return Ok(validated);
    }
    let most = rules.max_message_bytes.saturating_sub(BatchHeader::SIZE);
    let size = validated.inflated_size as usize;
    if target == Compression::None && size > most {
        return Err(too_large(size, rules));
    }
    let body = convert(&validated.body, source, Deflater::new(target, level, size), size, most).map_err(
        |fault| match fault {
            Fault::TooLarge(size) => too_large(size, rules),
            Fault::Unreadable(error) => unreadable((0, error)),
        },
    )?;
    let mut header = validated.header;
    header.set_compression(target);
    header.batch_length = (BatchHeader::SIZE - BatchHeader::LOG_OVERHEAD + body.len()) as i32;
    header.crc = header.compute_crc(&body);
    Ok(Validated { header, body, rewritten_crc: true, ..validated })
}

enum Fault {
    TooLarge(usize),
    Unreadable(crate::RecordsError),
}

fn convert(
    body: &[u8],
    source: Compression,
    mut deflater: Deflater,
    size: usize,
    most: usize,
) -> Result<Bytes, Fault> {
    let mut inflater = Inflater::new(source, body, size).map_err(Fault::Unreadable)?;
    loop {
        let piece = inflater.piece().map_err(Fault::Unreadable)?;
        if piece.is_empty() {
            break;
        }
        deflater.write(piece);
        let count = piece.len();
        inflater.consume(count);
        if deflater.written() > most {
            return Err(Fault::TooLarge(deflater.written()));
        }
    }
    let output = deflater.finish();
    if output.len() > most { Err(Fault::TooLarge(output.len())) } else { Ok(output.into()) }
}

fn too_large(body: usize, rules: &Rules) -> Invalid {
    Invalid::MessageTooLarge { size: BatchHeader::SIZE + body, limit: rules.max_message_bytes }
}
