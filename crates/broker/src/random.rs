//! Randomness from the kernel, read at the edge and handed to pure code as numbers.

use milena_wire::Uuid;

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

/// 64 random bits.
pub(crate) fn word() -> u64 {
    u64::from_be_bytes(bytes())
}

/// A random id for a topic, a cluster or a directory. As in Kafka its text never begins with a hyphen, which
/// a command line would take for an option.
pub(crate) fn uuid() -> Uuid {
    loop {
        let uuid = Uuid(version_4(bytes()));
        if uuid != Uuid::ZERO && !uuid.to_string().starts_with('-') {
            return uuid;
        }
    }
}

/// A random uuid in the usual text form, for member ids.
pub(crate) fn uuid_text() -> String {
    let hex: String = version_4(bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn version_4(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_their_usual_form() {
        let text = uuid_text();
        let lengths: Vec<_> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
        assert_eq!(&text[14..15], "4", "{text}");
        assert_eq!(uuid().to_string().len(), 22);
    }
}
