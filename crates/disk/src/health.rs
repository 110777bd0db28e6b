//! Operations that have begun and not ended, and what those that failed tell of the disk.
//!
//! On the way of every append, so it costs a few atomic instructions and neither a clock nor a lock: the time that
//! an operation takes is measured by whoever looks, not by the one who may never come back.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::ballast::Ballast;
use crate::space::Level;

/// Operations that are told apart at one time. More are not counted, which changes nothing: a disk that hangs leaves
/// all of these unfinished.
const SLOTS: usize = 64;
/// Thread ids of Linux are below 2^22; the rest of a slot is a number that no other operation has.
const THREAD_BITS: u32 = 23;
const THREAD_MASK: u64 = (1 << THREAD_BITS) - 1;

/// Between two attempts of what waits for room.
const RETRY: Duration = Duration::from_millis(20);

/// Whether there was no room, on the disk or in a quota: nothing is broken.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the device failed, or the file system gave up on it.
fn is_fault(error: &io::Error) -> bool {
    let of_the_device = [rustix::io::Errno::IO, rustix::io::Errno::NXIO, rustix::io::Errno::NODEV];
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
        || error.raw_os_error().is_some_and(|code| of_the_device.iter().any(|it| it.raw_os_error() == code))
}

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
    /// An operation has failed for want of room since the last look.
    out_of_room: AtomicBool,
    level: AtomicU8,
    /// Bytes below which producers are refused.
    reserve: AtomicU64,
    seen: Mutex<Option<Seen>>,
    ballast: Mutex<Option<Ballast>>,
    failure: OnceLock<String>,
    closing: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        let slots = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            slots: [slots(), slots()],
            begun: AtomicU64::new(0),
            finished: [AtomicU64::new(0), AtomicU64::new(0)],
            out_of_room: AtomicBool::new(false),
            level: AtomicU8::new(Level::Ample as u8),
            reserve: AtomicU64::new(0),
            seen: Mutex::default(),
            ballast: Mutex::default(),
            failure: OnceLock::new(),
            closing: AtomicBool::new(false),
        }
    }
}

/// What a [`crate::watch`] saw last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// For how long nothing has moved, as it was reported.
    pub standstill: Duration,
    /// For how long the oldest unfinished operation has been under way.
    pub oldest_unfinished: Duration,
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
        act().inspect_err(|error| self.failed(error))
    }

    /// Like [`Health::during`], for what must not fail because the disk is full, and can be repeated: waits for room,
    /// first that of the ballast. Nobody waits longer than until [`Health::close`]. As nothing ends meanwhile, the
    /// disk counts as stuck to those who watch.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn until_room<T>(&self, kind: Kind, act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let _operation = self.begin(kind);
        self.repeat(act, || None)
    }

    /// Like [`Health::until_room`], for what is made of several operations that are counted one by one: only the
    /// waiting counts here.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn again_with_room<T>(&self, act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.repeat(act, || Some(self.begin(Kind::Change)))
    }

    fn repeat<'a, T>(
        &'a self,
        mut act: impl FnMut() -> io::Result<T>,
        begin_waiting: impl Fn() -> Option<Operation<'a>>,
    ) -> io::Result<T> {
        let mut waiting = None;
        loop {
            let result = act().inspect_err(|error| self.failed(error));
            match result {
                Err(error) if is_full(&error) && !self.closing.load(Ordering::Acquire) => {
                    waiting.get_or_insert_with(|| {
                        tracing::warn!(%error, "no room for metadata, waiting for some");
                        begin_waiting()
                    });
                    std::thread::sleep(RETRY);
                }
                result => return result,
            }
        }
    }

    /// Takes note of an operation's failure: one for want of room throws the ballast, one of the device condemns the
    /// directory.
    pub fn failed(&self, error: &io::Error) {
        if is_full(error) {
            self.out_of_room.store(true, Ordering::Release);
            self.set_level(Level::Full);
            self.throw_ballast();
        } else if is_fault(error) {
            let told = self.failure.set(error.to_string());
            if told.is_ok() {
                tracing::error!(%error, "the data directory has failed");
            }
        }
    }

    /// Why the directory is to be used no more, if it has failed: after an error of the device nobody knows what of
    /// the last writes is there (test id D1).
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// What the room left allows.
    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Acquire) {
            0 => Level::Ample,
            1 => Level::Low,
            2 => Level::Scarce,
            _ => Level::Full,
        }
    }

    /// Bytes that are kept free: when less is left, producers are refused.
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve.load(Ordering::Relaxed)
    }

    /// The room that the ballast holds; zero while there is none.
    pub fn ballast_bytes(&self) -> u64 {
        self.ballast.lock().unwrap().as_ref().map_or(0, Ballast::bytes)
    }

    /// What the watch saw at its last look; `None` if nobody watches.
    pub fn seen(&self) -> Option<Seen> {
        *self.seen.lock().unwrap()
    }

    /// From now on the ballast in `directory`, if the last run left one, is thrown when there is no room: also the
    /// start of a broker may need it.
    pub fn hold_ballast_in(&self, directory: &Path) {
        *self.ballast.lock().unwrap() = Some(Ballast::in_directory(directory));
    }

    /// Whoever waits for room waits no more: the process is stopping.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Release);
    }

    pub(crate) fn take_out_of_room(&self) -> bool {
        self.out_of_room.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn set_reserve(&self, bytes: u64) {
        self.reserve.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_seen(&self, seen: Option<Seen>) {
        *self.seen.lock().unwrap() = seen;
    }

    pub(crate) fn throw_ballast(&self) {
        match self.ballast.lock().unwrap().as_mut().map(Ballast::throw) {
            Some(Ok(true)) => tracing::warn!("the disk is full: the ballast is deleted to make room"),
            Some(Err(error)) => tracing::warn!(%error, "ballast not deleted"),
            Some(Ok(false)) | None => {}
        }
    }

    pub(crate) fn take_ballast(&self, bytes: u64) {
        if let Some(Err(error)) = self.ballast.lock().unwrap().as_mut().map(|ballast| ballast.take(bytes)) {
            tracing::debug!(%error, "no ballast");
        }
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
    fn device_error_condemns_the_directory_and_others_do_not() {
        let health = Health::default();
        for code in [rustix::io::Errno::NOENT, rustix::io::Errno::NOSPC, rustix::io::Errno::MFILE] {
            assert!(health.during(Kind::Sync, || Err::<(), _>(code.into())).is_err());
            assert_eq!(health.failure(), None, "{code}");
        }
        assert!(health.during(Kind::Sync, || Err::<(), _>(rustix::io::Errno::IO.into())).is_err());
        assert!(health.failure().is_some_and(|why| why.contains("Input/output error")));
    }

    #[test]
    fn what_waits_for_room_goes_on_when_there_is_some_and_ends_with_the_process() {
        let health = Health::default();
        let mut left = 3;
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let done = health.until_room(Kind::Change, || {
            left -= 1;
            if left > 0 { Err(full()) } else { Ok(left) }
        });
        assert_eq!(done.unwrap(), 0);
        health.close();
        let refused = health.until_room(Kind::Change, || Err::<(), _>(full()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
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
