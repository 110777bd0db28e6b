//! Whole nodes for a simulation: openraft, log, votes, reads and applied state are the product's; clocks, disks and the
//! network are the caller's.
//!
//! Each node has a runtime of its own whose clock the caller moves, so that a process can stand still, or end between
//! any two steps. Nothing is left to chance: what openraft draws follows from [`seed`], and who waits for one thing is
//! woken in order. The same calls lead to the same run.
//!
//! The worlds that use it are in `crates/sim`.

mod process;
mod runtime;
mod watch;
mod wire;

pub(crate) use runtime::Runtime;

pub use crate::sim_disk::{Fault, SimDisk};
pub use process::{Place, Process};
pub use runtime::seed;
pub use wire::{Broken, Sent, Wire};
