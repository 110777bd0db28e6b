//! Small text files that are replaced as a whole: written beside, synced, renamed, directory synced.

use std::io::{self, IoSlice};
use std::path::Path;

use milena_records::Offset;

use crate::error::{Damage, Error};
use crate::fs::{FileSystem, Open, read_up_to, write_all_at};
use crate::names::TEMPORARY;

/// Whether a replaced file must survive a power failure that follows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Content and name are on disk on return.
    Synced,
    /// The owner syncs later; until then a power failure may leave the file empty or old.
    Later,
}

/// Replaces `path` by `text`: readers see the old or the new content, never a part.
pub(crate) fn replace(
    fs: &dyn FileSystem,
    path: &Path,
    content: &[u8],
    durability: Durability,
) -> Result<(), Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let temporary = Path::new(&temporary);
    let write = || -> io::Result<()> {
        let file = fs.open(temporary, Open::Truncate)?;
        write_all_at(&*file, &mut [IoSlice::new(content)], 0)?;
        if durability == Durability::Synced {
            file.sync()?;
        }
        fs.rename(temporary, path)?;
        match path.parent() {
            Some(dir) if durability == Durability::Synced => fs.sync_dir(dir),
            _ => Ok(()),
        }
    };
    write().map_err(Error::io("replace", path))
}

/// The whole of a small text file, or `None` if there is none.
pub(crate) fn read(fs: &dyn FileSystem, path: &Path) -> Result<Option<String>, Error> {
    let read = || -> io::Result<Vec<u8>> {
        let file = fs.open(path, Open::Existing)?;
        let mut bytes = Vec::new();
        let len = file.len()?.min(MAX_SIZE);
        read_up_to(&*file, &mut bytes, 0, len as usize)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| damaged(path, "not UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// A text file that does not parse.
pub(crate) fn damaged(path: &Path, why: impl Into<String>) -> Error {
    Error::Damaged { path: path.into(), position: 0, damage: Damage::Text(why.into()) }
}

/// Kafka's checkpoint format: version 0, a count, then that many lines.
pub(crate) fn encode_lines<T>(rows: &[T], mut line: impl FnMut(&mut String, &T)) -> String {
    let mut text = format!("0\n{}\n", rows.len());
    for row in rows {
        line(&mut text, row);
        text.push('\n');
    }
    text
}

/// Reads what [`encode_lines`] wrote; says what is wrong with it otherwise.
pub(crate) fn decode_lines<T>(text: &str, mut line: impl FnMut(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        first => return Err(format!("version {first:?}, expected 0")),
    }
    let count: usize = match lines.next().map(str::parse) {
        Some(Ok(count)) => count,
        _ => return Err("no count in the second line".into()),
    };
    let rows: Option<Vec<T>> = lines.map(&mut line).collect();
    match rows {
        Some(rows) if rows.len() == count => Ok(rows),
        Some(rows) => Err(format!("{} lines, {count} announced", rows.len())),
        None => Err("a line that does not parse".into()),
    }
}

/// An offset written in decimal, not negative.
pub(crate) fn parse_offset(text: &str) -> Option<Offset> {
    text.parse().ok().filter(|offset| *offset >= 0).map(Offset)
}

/// More than any checkpoint of a million partitions; bounds what a damaged directory can make us read.
const MAX_SIZE: u64 = 512 << 20;
