//! Flags as Apache's tools take them, and the sentences they refuse them with.
//!
//! `--name value`, `--name=value` and `-name value` are the same. A required argument is taken as it
//! comes, an optional one only if it does not look like an option. Words that belong to no option are
//! ignored, as Apache's parser does.

use std::io;
use std::str::FromStr;

use super::exception::Exception;

/// One option of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Name without dashes.
    pub name: &'static str,
    /// Its argument.
    pub takes: Takes,
    /// One sentence for `--help`.
    pub help: &'static str,
}

/// Whether an option has an argument, and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None.
    Nothing,
    /// Always one.
    Value(&'static str),
    /// Perhaps one.
    Optional(&'static str),
}

/// An option without an argument.
pub const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Nothing, help }
}

/// An option with an argument.
pub const fn value(name: &'static str, stands_for: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Value(stands_for), help }
}

/// An option whose argument may be left out.
pub const fn optional(name: &'static str, stands_for: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Optional(stands_for), help }
}

/// Options that every tool has.
const COMMON: &[Flag] = &[
    switch("help", "Print this list."),
    switch("version", "Print the version of Kafka whose behaviour this tool has."),
];

/// What a command line cannot be run for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Printed with the list of options.
    Usage(String),
    /// What Apache's tool throws.
    Exception(Exception),
    /// Nobody reads the output any more: end quietly.
    BrokenPipe,
    /// A signal of this number ended the tool.
    Signal(u8),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Refusal::BrokenPipe,
            _ => Refusal::Exception(Exception::new("java.io.IOException", error.to_string())),
        }
    }
}

impl From<milena_client::Error> for Refusal {
    fn from(error: milena_client::Error) -> Self {
        Refusal::Exception(error.into())
    }
}

impl From<Exception> for Refusal {
    fn from(exception: Exception) -> Self {
        Refusal::Exception(exception)
    }
}

/// A parsed command line.
#[derive(Debug, Clone)]
pub struct Options {
    flags: &'static [Flag],
    /// In the order given, by name.
    given: Vec<(&'static str, Option<String>)>,
    empty: bool,
}

impl Options {
    /// Parses `arguments` by the table `flags`.
    pub fn parse(flags: &'static [Flag], arguments: &[String]) -> Result<Self, Exception> {
        let mut options = Options { flags, given: Vec::new(), empty: arguments.is_empty() };
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                break;
            }
            let Some((name, inline)) = options.split(argument)? else { continue };
            let flag = options.flag(&name).ok_or_else(|| Exception::unrecognized_option(&name))?;
            let argument = match flag.takes {
                Takes::Nothing if inline.is_some() => {
                    return Err(Exception::jopt(
                        "OptionArgumentConversionException",
                        &format!("Option {name} does not take an argument"),
                    ));
                }
                Takes::Nothing => None,
                Takes::Value(_) => Some(
                    inline
                        .or_else(|| rest.next().cloned())
                        .ok_or_else(|| Exception::missing_argument(&name))?,
                ),
                Takes::Optional(_) => inline.or_else(|| rest.next_if(|next| !next.starts_with('-')).cloned()),
            };
            options.given.push((flag.name, argument));
        }
        Ok(options)
    }

    /// Name and inline value of an argument, if it is an option.
    fn split(&self, argument: &str) -> Result<Option<(String, Option<String>)>, Exception> {
        let Some(text) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Ok(None);
        };
        if text.is_empty() {
            return Ok(None);
        }
        let (name, inline) = match text.split_once('=') {
            Some((name, inline)) => (name, Some(inline.to_owned())),
            None => (text, None),
        };
        if !argument.starts_with("--") && self.flag(name).is_none() {
            // Apache's parser reads `-xyz` as single letters, of which its tools have none.
            return Err(Exception::unrecognized_option(
                &name[..name.chars().next().map_or(0, char::len_utf8)],
            ));
        }
        Ok(Some((name.to_owned(), inline)))
    }

    fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().chain(COMMON).find(|flag| flag.name == name)
    }

    /// Whether the command line was empty.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// Options in the order given.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.given.iter().map(|(name, value)| (*name, value.as_deref()))
    }

    /// Every value of a repeatable option.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.given.iter().filter(move |(given, _)| *given == name).filter_map(|(_, value)| value.as_deref())
    }

    /// The value of an option that may be given once.
    pub fn value<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Exception> {
        let mut values = self.values(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Exception::multiple_arguments(name)),
        }
    }

    /// The value of an option that may be given once, as a number.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Exception> {
        let parse = |text: &str| text.parse().map_err(|_| Exception::cannot_parse(text, name));
        self.value(name)?.map(parse).transpose()
    }

    /// Refuses a command line that lacks one of `names`.
    pub fn require(&self, names: &[&str]) -> Result<(), Refusal> {
        match names.iter().find(|name| !self.has(name)) {
            None => Ok(()),
            Some(name) => Err(Refusal::Usage(format!("Missing required argument \"[{name}]\""))),
        }
    }

    /// Refuses `used` together with any of `others`.
    pub fn exclude(&self, used: &str, others: &[&str]) -> Result<(), Refusal> {
        match others.iter().find(|other| self.has(used) && self.has(other)) {
            None => Ok(()),
            Some(other) => {
                Err(Refusal::Usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")))
            }
        }
    }

    /// How many of `names` were given.
    pub fn count(&self, names: &[&str]) -> usize {
        names.iter().filter(|name| self.has(name)).count()
    }
}

/// The list of options, in Apache's two columns.
pub fn describe(flags: &[Flag]) -> String {
    const LEFT: usize = 41;
    let mut rows: Vec<(String, &str)> = flags
        .iter()
        .chain(COMMON)
        .map(|flag| {
            let argument = match flag.takes {
                Takes::Nothing => String::new(),
                Takes::Value(what) => format!(" <String: {what}>"),
                Takes::Optional(what) => format!(" [String: {what}]"),
            };
            (format!("--{}{argument}", flag.name), flag.help)
        })
        .collect();
    rows.sort();
    let mut text = format!("{:LEFT$}{}\n{:LEFT$}{}\n", "Option", "Description", "------", "-----------");
    for (left, help) in rows {
        if left.len() < LEFT {
            text.push_str(&format!("{left:LEFT$}{help}\n"));
        } else {
            text.push_str(&format!("{left}\n{:LEFT$}{help}\n", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        switch("list", "List."),
        value("topic", "topic", "Topic."),
        value("partitions", "#", "Partitions."),
        optional("state", "states", "State."),
    ];

    fn parse(line: &str) -> Result<Options, Exception> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(FLAGS, &arguments)
    }

    #[test]
    fn the_forms_of_an_option() {
        for line in ["--topic a --list", "--topic=a --list", "-topic a -list", "word --topic a --list"] {
            let options = parse(line).unwrap();
            assert_eq!(options.value("topic"), Ok(Some("a")), "{line}");
            assert!(options.has("list"), "{line}");
            assert!(!options.has("state"), "{line}");
        }
    }

    #[test]
    fn arguments_are_taken_as_apache_does() {
        assert_eq!(parse("--topic --list").unwrap().value("topic"), Ok(Some("--list")));
        let options = parse("--state --list").unwrap();
        assert!(options.has("state") && options.has("list"));
        assert_eq!(options.value("state"), Ok(None));
        assert_eq!(parse("--state stable").unwrap().value("state"), Ok(Some("stable")));
        assert_eq!(parse("--topic a --topic b").unwrap().values("topic").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn refusals_are_worded_as_apache_does() {
        for (line, want) in [
            ("--bogus z", "bogus is not a recognized option"),
            (
                "--zookeeper z",
                "zookeeper is not a recognized option; Kafka 4 has no ZooKeeper, use --bootstrap-server localhost:9092",
            ),
            ("-x", "x is not a recognized option"),
            ("--topic", "Option topic requires an argument"),
        ] {
            assert_eq!(parse(line).unwrap_err().message(), want, "{line}");
        }
        let options = parse("--topic a --topic b --partitions many").unwrap();
        assert_eq!(
            options.value("topic").unwrap_err().message(),
            "Found multiple arguments for option topic, but you asked for only one"
        );
        assert_eq!(
            options.number::<i32>("partitions").unwrap_err().message(),
            "Cannot parse argument 'many' of option partitions"
        );
        assert_eq!(
            options.require(&["topic", "list"]),
            Err(Refusal::Usage("Missing required argument \"[list]\"".to_owned()))
        );
        assert_eq!(
            options.exclude("topic", &["list", "partitions"]),
            Err(Refusal::Usage("Option \"[topic]\" can't be used with option \"[partitions]\"".to_owned()))
        );
    }
}
