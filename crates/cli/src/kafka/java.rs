//! Small pieces of Java's library as the tools' users see them: log lines, column formats, properties files.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::exception::Exception;

/// Prints a log line on standard error, in the form that Apache's `tools-log4j2.yaml` gives it.
pub fn log(level: &str, message: &str, logger: &str) {
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string();
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "[{now}] {level} {message} ({logger})");
}

/// `value` in a column of at least `width`, as `%-<width>s` has it.
pub fn column(value: &str, width: usize) -> String {
    format!("{value:<width$}")
}

/// Width of a column: the longest of `cells`, but no less than `least`.
pub fn width<'a>(least: usize, cells: impl IntoIterator<Item = &'a str>) -> usize {
    cells.into_iter().map(|cell| cell.chars().count()).fold(least, usize::max)
}

/// The text of a file.
pub fn read_file(path: &str) -> Result<String, Exception> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Exception::new("java.nio.file.NoSuchFileException", path),
        _ => Exception::new("java.io.IOException", format!("{path}: {error}")),
    })
}

/// Reads a properties file.
pub fn load_properties(path: &str) -> Result<BTreeMap<String, String>, Exception> {
    let text = read_file(path)?;
    milena_config::properties::parse(path, &text)
        .map_err(|error| Exception::illegal_argument(error.to_string()))
}

/// Splits `key=value` arguments at their first equals sign; a lone key has an empty value.
pub fn key_values<'a>(arguments: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let split = |argument: &'a str| argument.split_once('=').unwrap_or((argument, ""));
    arguments.into_iter().map(split).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Java's reading of a boolean property.
pub fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

/// Names in the order in which Java's `HashMap` iterates over them, which is the order of Apache's output.
///
/// A table of 16 buckets doubles whenever it is more than three quarters full; a name's bucket is its
/// spread hash in that table.
pub fn hash_order<T>(items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let mut buckets = 16;
    while items.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    let bucket = |text: &str| {
        let hash =
            text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    };
    let mut items = items;
    items.sort_by_key(|item| bucket(name(item)));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_by_javas_hash_map() {
        // As Apache's kafka-configs 4.3.1 prints them.
        let names = hash_order(vec!["__consumer_offsets", "a.b_c", "foo"], |name| name);
        assert_eq!(names, ["a.b_c", "foo", "__consumer_offsets"]);
    }

    #[test]
    fn key_values_split_at_the_first_equals_sign() {
        let pairs = key_values(["a=b=c", "lone", "empty="]);
        let want = [("a", "b=c"), ("empty", ""), ("lone", "")];
        assert_eq!(pairs, want.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
}
