//! What a command was asked to do: `key=value` words, each with a default.

use std::collections::HashMap;
use std::str::FromStr;

/// The words after the topic.
pub struct Options<'a>(HashMap<&'a str, &'a str>);

impl<'a> Options<'a> {
    pub fn parse(words: &[&'a str]) -> Result<Self, String> {
        let pair = |word: &&'a str| word.split_once('=').ok_or_else(|| format!("{word}: not key=value"));
        words.iter().map(pair).collect::<Result<_, _>>().map(Self)
    }

    pub fn text(&self, key: &str, default: &'a str) -> &'a str {
        self.0.get(key).copied().unwrap_or(default)
    }

    pub fn number<T: FromStr>(&self, key: &str, default: T) -> Result<T, String> {
        match self.0.get(key) {
            None => Ok(default),
            Some(word) => word.parse().map_err(|_| format!("{key}={word}: not a number")),
        }
    }
}
