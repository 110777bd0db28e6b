//! Unavailability: how long nobody was told that a record is safe.

use crate::event::{Event, Micros, Outcome};
use crate::history::History;

/// A span without an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The last acknowledgement before.
    pub from: Micros,
    /// The first after.
    pub to: Micros,
}

impl Window {
    /// Its length.
    pub fn length(&self) -> Micros {
        self.to - self.from
    }
}

/// Every span between two successive acknowledgements of `partition`, in the order of time. `producers` says
/// whose count.
pub fn windows(history: &History, partition: &str, producers: impl Fn(u32) -> bool) -> Vec<Window> {
    let mut acked: Vec<Micros> = history
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Send(it) if it.partition == partition && producers(it.producer) => {
                matches!(it.outcome, Outcome::Acked { .. }).then_some(it.ended)
            }
            _ => None,
        })
        .collect();
    acked.sort_unstable();
    acked.windows(2).map(|pair| Window { from: pair[0], to: pair[1] }).collect()
}

/// The longest of `windows` that ends after `since`, and its length without the gap that is normal: the median
/// of those that end before. `None` if nothing was acknowledged after `since`.
pub fn longest_window(windows: &[Window], since: Micros) -> Option<(Window, Micros)> {
    let mut before: Vec<_> = windows.iter().filter(|it| it.to <= since).map(Window::length).collect();
    before.sort_unstable();
    let normal = before.get(before.len() / 2).copied().unwrap_or(0);
    let longest = windows.iter().filter(|it| it.to > since).max_by_key(|it| it.length())?;
    Some((*longest, longest.length().saturating_sub(normal)))
}
