//! Zig-zag varints inside records: Kafka's int32 form takes at most 5 bytes, its int64 form 10.

use bytes::BufMut;

/// Appends `value` in one to five bytes.
pub(crate) fn put_varint(out: &mut impl BufMut, value: i32) {
    put_unsigned(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends `value` in one to ten bytes.
pub(crate) fn put_varlong(out: &mut impl BufMut, value: i64) {
    put_unsigned(out, zigzag(value));
}

/// Bytes that [`put_varint`] and [`put_varlong`] write for `value`.
pub(crate) fn size(value: i64) -> usize {
    (64 - (zigzag(value) | 1).leading_zeros() as usize).div_ceil(7)
}

/// Undoes the zig-zag of an int32.
pub(crate) fn unzigzag32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

/// Undoes the zig-zag of an int64.
pub(crate) fn unzigzag64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_unsigned(out: &mut impl BufMut, mut rest: u64) {
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::{SliceSource, Source};

    proptest! {
        #[test]
        fn integers_round_trip_in_the_size_foretold(value in any::<i64>(), shift in 0..64_u32) {
            // Shifted, so that every length is met.
            let (long, int) = (value >> shift, (value >> shift) as i32);
            let mut bytes = Vec::new();
            put_varlong(&mut bytes, long);
            prop_assert_eq!(bytes.len(), size(long));
            prop_assert_eq!(SliceSource::new(&bytes).varlong(), Ok(long));
            bytes.clear();
            put_varint(&mut bytes, int);
            prop_assert_eq!(bytes.len(), size(i64::from(int)));
            prop_assert_eq!(SliceSource::new(&bytes).varint(), Ok(int));
        }
    }

    #[test]
    fn bytes_are_those_of_protocol_buffers_zig_zag() {
        for (value, want) in [
            (0, &[0][..]),
            (-1, &[1]),
            (63, &[126]),
            (64, &[0x80, 1]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes, want, "{value}");
        }
    }
}
