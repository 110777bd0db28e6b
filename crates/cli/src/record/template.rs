//! The `-f '%t %p %o %k %v\n'` language: how `milena consume` prints a record.
//!
//! `%t` topic, `%p` partition, `%o` offset, `%e` leader epoch, `%d` timestamp in milliseconds,
//! `%k` key, `%v` value, `%h` headers, `%K`, `%V`, `%H` the lengths of those, `%%` a percent sign.
//! `%k`, `%v` and `%h` take a coding: `%v{hex}`, `%v{base64}`; `%d{rfc3339}` prints a date.
//! `\n`, `\t`, `\r`, `\0`, `\\` and `\xHH` are bytes. A missing key or value prints nothing.

use std::io::{self, Write};
use std::iter::Peekable;
use std::str::Chars;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Consumed, json};
use crate::time;

/// How each record is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFormat {
    /// One JSON object a line.
    Json,
    /// By template.
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes as they are.
    Literal(Vec<u8>),
    /// `%t`
    Topic,
    /// `%p`
    Partition,
    /// `%o`
    Offset,
    /// `%e`
    LeaderEpoch,
    /// `%d`; true for RFC 3339.
    Timestamp(bool),
    /// `%k`
    Key(Coding),
    /// `%v`
    Value(Coding),
    /// `%h`
    Headers(Coding),
    /// `%K`
    KeyLength,
    /// `%V`
    ValueLength,
    /// `%H`
    HeaderCount,
}

/// How bytes are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Raw,
    /// Two hexadecimal digits a byte.
    Hex,
    /// RFC 4648 with padding.
    Base64,
}

impl RecordFormat {
    /// `json`, `text` (the value and a line break), or a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(RecordFormat::Json),
            "text" => RecordFormat::parse("%v\n"),
            template => Ok(RecordFormat::Template(pieces(template)?)),
        }
    }

    /// Prints one record.
    pub fn write(&self, out: &mut impl Write, consumed: &Consumed<'_>) -> io::Result<()> {
        match self {
            RecordFormat::Json => writeln!(out, "{}", json::to_line(consumed)),
            RecordFormat::Template(pieces) => pieces.iter().try_for_each(|piece| piece.write(out, consumed)),
        }
    }
}

impl Piece {
    fn write(&self, out: &mut impl Write, consumed: &Consumed<'_>) -> io::Result<()> {
        let record = &consumed.record;
        match self {
            Piece::Literal(bytes) => out.write_all(bytes),
            Piece::Topic => out.write_all(consumed.topic.as_bytes()),
            Piece::Partition => write!(out, "{}", consumed.partition),
            Piece::Offset => write!(out, "{}", record.offset.0),
            Piece::LeaderEpoch => write!(out, "{}", consumed.leader_epoch),
            Piece::Timestamp(false) => write!(out, "{}", record.timestamp),
            Piece::Timestamp(true) => write!(out, "{}", time::rfc3339(record.timestamp)),
            Piece::Key(coding) => coding.write(out, record.key.unwrap_or_default()),
            Piece::Value(coding) => coding.write(out, record.value.unwrap_or_default()),
            Piece::Headers(coding) => {
                for (at, header) in record.headers.enumerate() {
                    if at > 0 {
                        out.write_all(b",")?;
                    }
                    out.write_all(header.key)?;
                    out.write_all(b"=")?;
                    coding.write(out, header.value.unwrap_or_default())?;
                }
                Ok(())
            }
            Piece::KeyLength => write!(out, "{}", record.key.map_or(0, <[u8]>::len)),
            Piece::ValueLength => write!(out, "{}", record.value.map_or(0, <[u8]>::len)),
            Piece::HeaderCount => write!(out, "{}", record.headers.len()),
        }
    }
}

impl Coding {
    fn write(self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        match self {
            Coding::Raw => out.write_all(bytes),
            Coding::Hex => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
            Coding::Base64 => out.write_all(BASE64_STANDARD.encode(bytes).as_bytes()),
        }
    }
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut characters = template.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => literal.push(escape(&mut characters)?),
            '%' if characters.next_if_eq(&'%').is_some() => literal.push(b'%'),
            '%' => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(placeholder(&mut characters)?);
            }
            other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn escape(characters: &mut Peekable<Chars<'_>>) -> Result<u8, String> {
    match characters.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = characters.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is not two hexadecimal digits"))
        }
        Some(other) => Err(format!("unknown escape \\{other}: use \\n, \\t, \\r, \\0, \\\\ or \\xHH")),
        None => Err("the format ends in a backslash".to_owned()),
    }
}

fn placeholder(characters: &mut Peekable<Chars<'_>>) -> Result<Piece, String> {
    let letter = characters.next().ok_or("the format ends in a percent sign")?;
    let option = match characters.next_if_eq(&'{') {
        None => None,
        Some(_) => {
            let option: String = characters.by_ref().take_while(|it| *it != '}').collect();
            Some(option)
        }
    };
    let plain = |piece: Piece| match &option {
        None => Ok(piece),
        Some(option) => Err(format!("%{letter} takes no {{{option}}}")),
    };
    let coding = || match option.as_deref() {
        None => Ok(Coding::Raw),
        Some("hex") => Ok(Coding::Hex),
        Some("base64") => Ok(Coding::Base64),
        Some(other) => Err(format!("unknown coding {{{other}}}: use {{hex}} or {{base64}}")),
    };
    match letter {
        't' => plain(Piece::Topic),
        'p' => plain(Piece::Partition),
        'o' => plain(Piece::Offset),
        'e' => plain(Piece::LeaderEpoch),
        'd' if option.as_deref() == Some("rfc3339") => Ok(Piece::Timestamp(true)),
        'd' => plain(Piece::Timestamp(false)),
        'k' => coding().map(Piece::Key),
        'v' => coding().map(Piece::Value),
        'h' => coding().map(Piece::Headers),
        'K' => plain(Piece::KeyLength),
        'V' => plain(Piece::ValueLength),
        'H' => plain(Piece::HeaderCount),
        other => Err(format!("unknown placeholder %{other}: use %t %p %o %e %d %k %v %h %K %V %H or %%")),
    }
}

#[cfg(test)]
mod tests {
    use milena_records::{BatchBuilder, BatchRecords, Compression, RecordHeader, TimestampType};
    use proptest::prelude::*;

    use super::*;

    fn print(format: &str) -> Result<String, String> {
        let format = RecordFormat::parse(format)?;
        let mut batch = BatchBuilder::new(Compression::None);
        let headers =
            [RecordHeader { key: b"a", value: Some(b"1") }, RecordHeader { key: b"b", value: None }];
        batch.push(1_700_000_000_000, Some(b"key"), Some(b"v\x01"), &headers);
        let records = BatchRecords::open(&batch.build().to_bytes(), usize::MAX).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        let timestamp_type = TimestampType::CreateTime;
        let consumed = Consumed { topic: "orders", partition: 3, leader_epoch: 7, timestamp_type, record };
        let mut out = Vec::new();
        format.write(&mut out, &consumed).unwrap();
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn placeholders_and_escapes() {
        for (format, want) in [
            (r"%t %p %o %k %v\n", "orders 3 0 key v\u{1}\n"),
            ("text", "v\u{1}\n"),
            (r"%e\t%d\t%d{rfc3339}", "7\t1700000000000\t2023-11-14T22:13:20.000Z"),
            ("%k{hex} %v{base64}", "6b6579 dgE="),
            ("%h %h{hex} %H", "a=1,b= a=31,b= 2"),
            ("%K %V %%", "3 2 %"),
            (r"\x41ü", "Aü"),
        ] {
            assert_eq!(print(format), Ok(want.to_owned()), "{format}");
        }
    }

    proptest! {
        #[test]
        fn any_format_prints_or_is_refused(format in ".{0,20}|(%[a-zA-Z%](\\{[a-z0-9]*\\}?)?|\\\\[a-z0-9]{0,3}){0,6}") {
            let _ = print(&format);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (format, want) in [
            ("%z", "unknown placeholder %z: use %t %p %o %e %d %k %v %h %K %V %H or %%"),
            ("%", "the format ends in a percent sign"),
            (r"\", "the format ends in a backslash"),
            (r"\q", r"unknown escape \q: use \n, \t, \r, \0, \\ or \xHH"),
            (r"\xZZ", r"\xZZ is not two hexadecimal digits"),
            ("%v{oct}", "unknown coding {oct}: use {hex} or {base64}"),
            ("%p{hex}", "%p takes no {hex}"),
        ] {
            assert_eq!(print(format), Err(want.to_owned()), "{format}");
        }
    }
}
