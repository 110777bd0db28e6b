//! Java's properties syntax, as `server.properties` has it.
//!
//! Lines of `key=value`, `key:value` or `key value`; `#` and `!` start a comment line; a backslash at the end of a line
//! joins the next one without its indentation; `\t \n \r \f \uXXXX` and any other escaped character are read. A later
//! line wins over an earlier one with the same key.

use crate::{Overrides, StartError};

/// Reads the text of a properties file. `file` names it in messages.
pub fn parse(file: &str, text: &str) -> Result<Overrides, StartError> {
    let mut found = Overrides::new();
    for (line, logical) in logical_lines(text) {
        let fault =
            |reason: &str| StartError::Properties { file: file.to_owned(), line, reason: reason.to_owned() };
        let (key, value) = split(&logical);
        let key = unescape(key).ok_or_else(|| fault("bad \\u escape"))?;
        let value = unescape(value).ok_or_else(|| fault("bad \\u escape"))?;
        found.insert(key, value.trim_end().to_owned());
    }
    Ok(found)
}

/// Joins continued lines, drops comments and empty lines; keeps the number of each first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, natural) in text.lines().enumerate() {
        let natural = natural.trim_start_matches([' ', '\t', '\x0c']);
        let (number, mut so_far) = match open.take() {
            Some(started) => started,
            None if natural.is_empty() || natural.starts_with(['#', '!']) => continue,
            None => (at + 1, String::new()),
        };
        so_far.push_str(natural);
        if ends_escaped(&so_far) {
            so_far.pop();
            open = Some((number, so_far));
        } else {
            lines.push((number, so_far));
        }
    }
    lines.extend(open);
    lines
}

/// Whether an odd number of backslashes ends the line.
fn ends_escaped(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Splits at the first separator that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|(_, character)| {
            let separator = !escaped && matches!(character, '=' | ':' | ' ' | '\t' | '\x0c');
            escaped = !escaped && *character == '\\';
            separator
        })
        .map_or(line.len(), |(at, _)| at);
    let blank = [' ', '\t', '\x0c'];
    let rest = line[end..].trim_start_matches(blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(blank))
}

/// Resolves escapes; nothing if a `\u` lacks its four digits.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.extend(character.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        let unit = match characters.next() {
            None => break,
            Some('t') => u16::from(b'\t'),
            Some('n') => u16::from(b'\n'),
            Some('r') => u16::from(b'\r'),
            Some('f') => 0x0c,
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                u16::from_str_radix(&digits, 16).ok()?
            }
            Some(other) => {
                out.extend(other.encode_utf16(&mut [0; 2]).iter());
                continue;
            }
        };
        out.push(unit);
    }
    Some(String::from_utf16_lossy(&out))
}
