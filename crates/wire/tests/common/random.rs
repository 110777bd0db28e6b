//! Encoded messages with random content, from the schema.

use super::notation::{Api, Field, Struct, Type};

/// SplitMix64: small, seedable, the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Encodes one struct with random content, the way every Kafka writer does: tagged fields by
/// ascending tag, those at their default left out.
pub struct Encoder<'a> {
    pub api: &'a Api,
    pub version: i16,
    pub random: Random,
    /// Adds tagged fields that no reader knows.
    pub unknown_tags: bool,
}

/// A tag that no schema uses.
const UNKNOWN_TAG: u64 = 9_999;

impl Encoder<'_> {
    fn flexible(&self) -> bool {
        self.version >= self.api.flexible_from
    }

    pub fn encode(&mut self, it: &Struct, out: &mut Vec<u8>) {
        let version = self.version;
        let present = |field: &&Field| (field.versions.0..=field.versions.1).contains(&version);
        for field in it.fields.iter().filter(present).filter(|field| field.tag.is_none()) {
            let nullable = field.nullable_from.is_some_and(|from| version >= from);
            if nullable && self.random.one_in(4) {
                self.null(&field.ty, out)
            } else {
                self.value(field, nullable, out)
            }
        }
        if !self.flexible() {
            return;
        }
        let mut tagged: Vec<_> =
            it.fields.iter().filter(present).filter(|field| field.tag.is_some()).collect();
        tagged.retain(|_| self.random.one_in(2));
        tagged.sort_by_key(|field| field.tag);
        varuint(tagged.len() as u64 + u64::from(self.unknown_tags), out);
        for field in tagged {
            let mut content = Vec::new();
            self.value(field, true, &mut content);
            tagged_field(u64::from(field.tag.unwrap()), &content, out);
        }
        if self.unknown_tags {
            tagged_field(UNKNOWN_TAG, b"unknown", out);
        }
    }

    fn null(&mut self, ty: &Type, out: &mut Vec<u8>) {
        match ty {
            Type::Struct(_) => out.push(0xff),
            _ if self.flexible() => out.push(0),
            Type::Text => out.extend((-1i16).to_be_bytes()),
            _ => out.extend((-1i32).to_be_bytes()),
        }
    }

    /// A value that is not null, and (all but surely) not the default.
    fn value(&mut self, field: &Field, nullable: bool, out: &mut Vec<u8>) {
        if let (Type::Struct(_), true, None) = (&field.ty, nullable, field.tag) {
            out.push(1);
        }
        let at_least = u64::from(field.tag.is_some());
        self.value_of(&field.ty, at_least, out);
    }

    fn value_of(&mut self, ty: &Type, at_least: u64, out: &mut Vec<u8>) {
        match ty {
            Type::Fixed("bool", ..) => out.push(if at_least == 1 { 1 } else { self.random.below(2) as u8 }),
            // A float that is NaN equals nothing; whole numbers do.
            Type::Fixed("f64", ..) => out.extend((self.random.below(1 << 40) as f64).to_be_bytes()),
            Type::Fixed(_, _, size) => {
                for _ in 0..*size {
                    out.push(1 + self.random.below(255) as u8);
                }
            }
            Type::Text => {
                let text: String = (0..at_least + self.random.below(12))
                    .map(|_| ['a', '-', '.', '7', 'é', '語'][self.random.below(6) as usize])
                    .collect();
                self.length(text.len(), true, out);
                out.extend(text.bytes());
            }
            Type::Bytes | Type::Records => {
                let length = at_least + if self.random.one_in(8) { 3_000 } else { self.random.below(40) };
                self.length(length as usize, false, out);
                out.extend((0..length).map(|i| i as u8));
            }
            Type::Struct(name) => {
                let api = self.api;
                self.encode(api.find(name), out);
            }
            Type::Array(element) => {
                let count = at_least + self.random.below(3);
                self.length(count as usize, false, out);
                for _ in 0..count {
                    self.value_of(element, 0, out);
                }
            }
        }
    }

    fn length(&self, length: usize, short: bool, out: &mut Vec<u8>) {
        match (self.flexible(), short) {
            (true, _) => varuint(length as u64 + 1, out),
            (false, true) => out.extend((length as i16).to_be_bytes()),
            (false, false) => out.extend((length as i32).to_be_bytes()),
        }
    }
}

fn tagged_field(tag: u64, content: &[u8], out: &mut Vec<u8>) {
    varuint(tag, out);
    varuint(content.len() as u64, out);
    out.extend(content);
}

fn varuint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
