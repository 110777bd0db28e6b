//! Events as JSON lines: the form in which histories are kept, and exchanged with other checkers.

use crate::event::Event;

/// What clients did and were told, in no particular order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Its events.
    pub events: Vec<Event>,
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the history is no event: {reason}")]
pub struct NotAHistory {
    /// Counted from one.
    pub line: usize,
    /// What is wrong with it.
    reason: serde_json::Error,
}

impl History {
    /// Reads JSON lines; empty lines are passed over.
    ///
    /// # Errors
    /// At the first line that is no event.
    pub fn parse(text: &str) -> Result<Self, NotAHistory> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let events: Result<_, _> = lines
            .map(|(at, line)| {
                serde_json::from_str(line).map_err(|reason| NotAHistory { line: at + 1, reason })
            })
            .collect();
        Ok(Self { events: events? })
    }

    /// The events as JSON lines.
    pub fn to_json_lines(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            text.push_str(&serde_json::to_string(event).expect("events hold nothing that JSON lacks"));
            text.push('\n');
        }
        text
    }
}

impl FromIterator<Event> for History {
    fn from_iter<T: IntoIterator<Item = Event>>(events: T) -> Self {
        Self { events: events.into_iter().collect() }
    }
}
