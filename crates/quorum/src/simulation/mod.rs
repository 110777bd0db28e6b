//! Simulation of whole nodes: the real openraft, log, votes, reads and applied state, with the metadata's own state
//! machine, on simulated clocks, disks and a simulated network.
//!
//! Each node has a runtime of its own whose clock the world moves, so that a process can stand still, or end between any
//! two steps. What the simulator (`crates/sim`) takes for granted of the quorum is checked here: one order of commands,
//! none of them lost that was answered, one leader per term, reads that miss nothing, and agreement soon after the last
//! fault.
//!
//! A seed draws the same nodes and faults each time. Not so tokio: whom of several it wakes first is its own dice, which
//! cannot be seeded. So a run that fails prints what happened last, and its seed may need some repetitions.
//!
//! `SEEDS=1000 FROM=1 cargo test --profile sim -p milena-quorum --lib seeds -- --nocapture` runs as many as wanted.

mod chance;
mod oracle;
mod runtime;
mod wire;
mod world;

pub(crate) use runtime::Runtime;

use world::{Outline, World};

/// Milliseconds of faults in each seed.
const FAULTS_MS: u64 = 20_000;

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(or)
}

#[test]
fn seeds_keep_what_raft_promises() {
    let (from, count) = (number("FROM", 1), number("SEEDS", 12));
    let mut sum = Outline::default();
    for seed in from..from + count {
        let outline = World::new(seed, FAULTS_MS).run();
        if let Some((violation, lines)) = outline.violation {
            lines.iter().for_each(|line| println!("{line}"));
            panic!("seed {seed}: {violation}; again: FROM={seed} SEEDS=1");
        }
        sum.faults += outline.faults;
        sum.terms += outline.terms;
        sum.promises += outline.promises;
    }
    println!("{count} seeds, {} faults, {} terms, {} commands answered", sum.faults, sum.terms, sum.promises);
    // Seeds in which nothing happens prove nothing.
    assert!(sum.terms as u64 > 2 * count && sum.promises as u64 > 100 * count, "{sum:?}");
}
