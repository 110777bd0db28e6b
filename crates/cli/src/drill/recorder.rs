//! Everything that the clients of a round did and were told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use milena_check::{Event, History, Micros};

/// Collects the events of one round. Bounded by the length of the round and the rate of its load.
pub struct Recorder {
    origin: Instant,
    events: Mutex<Vec<Event>>,
    /// Errors by who saw them and their names.
    errors: Mutex<BTreeMap<String, BTreeMap<String, u64>>>,
}

impl Recorder {
    /// Time begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now(), events: Mutex::default(), errors: Mutex::default() }
    }

    /// The time now.
    pub fn now(&self) -> Micros {
        self.at(Instant::now())
    }

    /// A moment in the round's time.
    pub fn at(&self, moment: Instant) -> Micros {
        moment.saturating_duration_since(self.origin).as_micros() as u64
    }

    /// Takes note of an event.
    pub fn record(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    /// Takes note of `count` errors that `client` saw.
    pub fn errors(&self, client: &str, name: &str, count: u64) {
        let mut errors = self.errors.lock().unwrap();
        *errors.entry(client.to_owned()).or_default().entry(name.to_owned()).or_default() += count;
    }

    /// What was collected; the recorder begins anew.
    pub fn take(&self) -> (History, BTreeMap<String, BTreeMap<String, u64>>) {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        (History { events }, std::mem::take(&mut *self.errors.lock().unwrap()))
    }
}
