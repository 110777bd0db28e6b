//! Operations that have begun and not ended.
//!
//! On the way of every append, so it costs a few atomic instructions and neither a clock nor a lock: the time that
//! an operation takes is measured by whoever looks, not by the one who may never come back.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Operations that are told apart at one time. More are not counted, which changes nothing: a disk that hangs leaves
/// all of these unfinished.
const SLOTS: usize = 64;
/// Thread ids of Linux are below 2^22; the rest of a slot is a number that no other operation has.
const THREAD_BITS: u32 = 23;
const THREAD_MASK: u64 = (1 << THREAD_BITS) - 1;

/// What an operation asks of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, lengths, names: done when the kernel has them.
    Change = 0,
    /// Durability: done when the device says so.
    Sync = 1,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 2;

/// What is under way on one disk, and how much was finished.
#[derive(Debug)]
pub struct Health {
    /// `[kind][slot]`: zero, or the operation's number and thread.
    slots: [[AtomicU64; SLOTS]; KINDS],
    begun: AtomicU64,
    finished: [AtomicU64; KINDS],
}

impl Default for Health {
    fn default() -> Self {
        let slots = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            slots: [slots(), slots()],
            begun: AtomicU64::new(0),
            finished: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }
}

/// An operation that has begun; it ends when this is dropped.
#[derive(Debug)]
pub struct Operation<'a> {
    health: &'a Health,
    kind: Kind,
    slot: Option<usize>,
}

/// An unfinished operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unfinished {
    /// Grows with each operation.
    pub(crate) number: u64,
    /// The thread that waits for it.
    pub(crate) thread: u32,
}

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// The calling thread's id, asked of the kernel once.
fn thread() -> u64 {
    THREAD.with(|known| {
        if known.get() == 0 {
            known.set(u64::from(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()));
        }
        known.get()
    })
}

impl Health {
    /// Begins an operation of the calling thread.
    pub fn begin(&self, kind: Kind) -> Operation<'_> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let thread = thread();
        let stored = number << THREAD_BITS | thread & THREAD_MASK;
        let slots = &self.slots[kind as usize];
        // Each thread begins its search elsewhere, and mostly finds the first slot free.
        let first = thread as usize;
        let free = (0..SLOTS)
            .map(|at| (first + at) % SLOTS)
            .find(|at| slots[*at].compare_exchange(0, stored, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        Operation { health: self, kind, slot: free }
    }

    /// Does an operation and counts it as unfinished until it returns.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn during<T>(&self, kind: Kind, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _operation = self.begin(kind);
        act()
    }

    /// The oldest unfinished operation of a kind.
    pub(crate) fn oldest(&self, kind: Kind) -> Option<Unfinished> {
        let stored = self.slots[kind as usize].iter().map(|slot| slot.load(Ordering::Acquire));
        let unfinished = stored.filter(|stored| *stored != 0);
        let split = |stored: u64| Unfinished {
            number: stored >> THREAD_BITS,
            thread: u32::try_from(stored & THREAD_MASK).unwrap_or(0),
        };
        unfinished.map(split).min()
    }

    /// Operations of a kind that have ended since the start.
    pub(crate) fn finished(&self, kind: Kind) -> u64 {
        self.finished[kind as usize].load(Ordering::Acquire)
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.health.slots[self.kind as usize][slot].store(0, Ordering::Release);
        }
        self.health.finished[self.kind as usize].fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_unfinished_operation_is_the_first_begun() {
        let health = Health::default();
        assert_eq!(health.oldest(Kind::Change), None);
        let first = health.begin(Kind::Change);
        let second = health.begin(Kind::Change);
        let sync = health.begin(Kind::Sync);
        assert_eq!(health.oldest(Kind::Change).map(|it| it.number), Some(1));
        assert_eq!(health.oldest(Kind::Sync).map(|it| it.number), Some(3));
        drop(first);
        assert_eq!(health.oldest(Kind::Change).map(|it| it.number), Some(2));
        drop((second, sync));
        assert_eq!((health.oldest(Kind::Change), health.oldest(Kind::Sync)), (None, None));
        assert_eq!((health.finished(Kind::Change), health.finished(Kind::Sync)), (2, 1));
    }

    #[test]
    fn more_operations_than_slots_do_not_hide_the_oldest() {
        let health = Health::default();
        let many: Vec<_> = (0..SLOTS + 3).map(|_| health.begin(Kind::Change)).collect();
        assert_eq!(health.oldest(Kind::Change).map(|it| it.number), Some(1));
        drop(many);
        assert_eq!(health.oldest(Kind::Change), None);
        assert_eq!(health.finished(Kind::Change), SLOTS as u64 + 3);
    }
}
