//! What the command line asks for.

use std::ops::RangeInclusive;

use milena_sim::Mode;

pub(crate) const USAGE: &str = "milena-sim [--transactions | --groups | --quorum] [--openraft] [--seeds N] [--from S] [--jobs J] [--events E] [--seed X [--trace]]";

pub(crate) struct Arguments {
    pub(crate) seeds: u64,
    pub(crate) from: u64,
    pub(crate) jobs: u64,
    pub(crate) events: u64,
    pub(crate) seed: Option<u64>,
    pub(crate) trace: bool,
    pub(crate) transactions: bool,
    pub(crate) groups: bool,
    #[cfg_attr(not(feature = "openraft"), allow(dead_code))]
    pub(crate) quorum: bool,
    pub(crate) mode: Mode,
    #[cfg_attr(not(feature = "bugs"), allow(dead_code))]
    pub(crate) bugs: Option<String>,
}

impl Arguments {
    /// The seeds to run: one, or a range.
    pub(crate) fn chosen(&self) -> RangeInclusive<u64> {
        match self.seed {
            Some(seed) => seed..=seed,
            None => self.from..=self.from + self.seeds - 1,
        }
    }
}

/// Reads it; `None` if it makes no sense.
pub(crate) fn arguments() -> Option<Arguments> {
    let jobs = std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
    let mut it = Arguments {
        seeds: 100,
        from: 1,
        jobs,
        events: 100_000,
        seed: None,
        trace: false,
        transactions: false,
        groups: false,
        quorum: false,
        mode: Mode::Model,
        bugs: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = |words: &mut dyn Iterator<Item = String>| words.next()?.parse().ok();
        match word.as_str() {
            "--seeds" => it.seeds = number(&mut words)?,
            "--from" => it.from = number(&mut words)?,
            "--jobs" => it.jobs = number(&mut words)?,
            "--events" => it.events = number(&mut words)?,
            "--seed" => it.seed = Some(number(&mut words)?),
            "--trace" => it.trace = true,
            "--transactions" => it.transactions = true,
            "--groups" => it.groups = true,
            #[cfg(feature = "openraft")]
            "--quorum" => it.quorum = true,
            #[cfg(feature = "openraft")]
            "--openraft" => it.mode = Mode::Openraft,
            #[cfg(feature = "bugs")]
            "--bugs" => it.bugs = Some(String::new()),
            #[cfg(feature = "bugs")]
            "--bug" => it.bugs = words.next(),
            _ => return None,
        }
    }
    Some(it)
}
