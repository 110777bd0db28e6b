//! Topic, directory and cluster ids.

use std::{fmt, str::FromStr};

/// 16 bytes, printed as Kafka prints them: 22 characters of URL-safe base64 without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "None" in every field that holds an id.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Uuid::ZERO
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits leave two in the last of 22 characters; the shift pads them with zeros.
        let bits = u128::from_be_bytes(self.0);
        for place in 0..22 {
            let index = if place < 21 { (bits >> (122 - 6 * place)) & 63 } else { (bits & 3) << 4 };
            write!(f, "{}", ALPHABET[index as usize] as char)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 22 characters of URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 22 characters of url-safe base64")]
pub struct ParseUuidError;

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let text = text.as_bytes();
        if text.len() != 22 {
            return Err(ParseUuidError);
        }
        let mut bits = 0u128;
        for (place, c) in text.iter().enumerate() {
            let value = ALPHABET.iter().position(|a| a == c).ok_or(ParseUuidError)? as u128;
            bits = if place < 21 { bits << 6 | value } else { bits << 2 | value >> 4 };
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_as_kafka_does() {
        // From org.apache.kafka.common.Uuid 4.3.1.
        for (bytes, text) in [
            ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            ([0xff; 16], "_____________________w"),
            (*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", "AAECAwQFBgcICQoLDA0ODw"),
        ] {
            assert_eq!(Uuid(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Uuid(bytes)));
        }
        for bad in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAA+", "AAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(bad.parse::<Uuid>(), Err(ParseUuidError), "{bad}");
        }
    }
}
