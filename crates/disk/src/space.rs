//! How much room is left, and what that means: pure judgement, and the thread that looks.
//!
//! A full disk is met in steps: it is warned of, then producers are slowed, then refused; all else goes on in the
//! room that they were kept out of, and in the ballast.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::health::Health;

/// Between two looks. A disk that fills faster is noticed by the write that fails.
const LOOK: Duration = Duration::from_millis(200);
/// Neither reserve nor ballast is more than this part of a volume.
const LARGEST_PART: u64 = 16;

/// What the room left allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    #[default]
    Ample = 0,
    /// Everything, but an operator should know: less than four times the reserve.
    Low = 1,
    /// Producers are slowed: less than twice the reserve.
    Scarce = 2,
    /// Producers are refused: less than the reserve, or a write has failed for want of room.
    Full = 3,
}

/// A volume's size and the bytes of it that can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// All bytes.
    pub total: u64,
    /// Those left.
    pub free: u64,
}

impl Volume {
    /// The volume that holds `path`; `None` if the system does not tell.
    pub fn of(path: &Path) -> Option<Self> {
        let volume = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        Some(Self { total: bytes(volume.f_blocks), free: bytes(volume.f_bavail) })
    }
}

/// Bytes that are kept free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margins {
    /// Producers are refused when less is free; zero never refuses them before a write fails.
    pub reserve: u64,
    /// Held by a file that is deleted when the disk is full; zero for none.
    pub ballast: u64,
}

impl Margins {
    /// The same for a volume of this size: a small one is not kept empty.
    fn on(self, volume: Volume) -> Self {
        let part = volume.total / LARGEST_PART;
        Self { reserve: self.reserve.min(part), ballast: self.ballast.min(part) }
    }

    /// What `free` bytes allow, after `before`. `failed` if a write has met the end of the disk meanwhile.
    fn judge(self, before: Level, free: u64, failed: bool) -> Level {
        // A disk that was full is so until there is some more room: it must not be full again at once.
        let full = if before == Level::Full { self.reserve + self.reserve / 2 } else { self.reserve };
        match free {
            _ if failed => Level::Full,
            free if free < full => Level::Full,
            free if free < 2 * self.reserve => Level::Scarce,
            free if free < 4 * self.reserve => Level::Low,
            _ => Level::Ample,
        }
    }
}

/// Tends the room in a directory: looks, judges, and keeps the ballast.
#[derive(Debug)]
pub struct SpaceKeeper {
    health: Arc<Health>,
    directory: PathBuf,
    margins: Margins,
}

impl SpaceKeeper {
    /// For `directory`, whose writers tell `health`.
    pub fn new(health: Arc<Health>, directory: &Path, margins: Margins) -> Self {
        health.hold_ballast_in(directory);
        Self { health, directory: directory.to_owned(), margins }
    }

    /// Looks once; returns the level and the bytes that producers may still use.
    pub fn look(&self) -> Option<(Level, u64)> {
        let volume = Volume::of(&self.directory)?;
        let margins = self.margins.on(volume);
        self.health.set_reserve(margins.reserve);
        let failed = self.health.take_out_of_room();
        // The room of ballast that is thrown is not for producers.
        let missing = if self.health.ballast_bytes() > 0 { 0 } else { margins.ballast };
        let free = volume.free.saturating_sub(missing);
        let level = margins.judge(self.health.level(), free, failed);
        self.health.set_level(level);
        if level == Level::Full {
            self.health.throw_ballast();
        } else if missing > 0 && free >= 2 * margins.reserve {
            self.health.take_ballast(margins.ballast);
        }
        Some((level, free))
    }

    /// Looks from time to time on a thread of its own, until the value returned is dropped. `report` hears of each
    /// change of level.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn run(self, report: impl Fn(Level, u64) + Send + 'static) -> std::io::Result<SpaceWatch> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new().name("disk-space".to_owned()).spawn(move || {
            let mut last = Level::Ample;
            while !stopped.load(Ordering::Relaxed) {
                if let Some((level, free)) = self.look()
                    && level != last
                {
                    last = level;
                    report(level, free);
                }
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(SpaceWatch { stop })
    }
}

/// Ends the looking when it is dropped. A thread that hangs in its look is not waited for.
#[derive(Debug)]
pub struct SpaceWatch {
    stop: Arc<AtomicBool>,
}

impl Drop for SpaceWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_are_warned_of_then_slowed_then_refused() {
        let margins = Margins { reserve: 100, ballast: 50 };
        for (before, free, failed, want) in [
            (Level::Ample, 400, false, Level::Ample),
            (Level::Ample, 399, false, Level::Low),
            (Level::Low, 200, false, Level::Low),
            (Level::Low, 199, false, Level::Scarce),
            (Level::Scarce, 100, false, Level::Scarce),
            (Level::Scarce, 99, false, Level::Full),
            (Level::Ample, 1_000, true, Level::Full),
            (Level::Full, 149, false, Level::Full),
            (Level::Full, 150, false, Level::Scarce),
            (Level::Full, 400, false, Level::Ample),
        ] {
            assert_eq!(margins.judge(before, free, failed), want, "{before:?} {free} {failed}");
        }
    }

    #[test]
    fn without_a_reserve_only_a_failed_write_makes_the_disk_full() {
        let margins = Margins { reserve: 0, ballast: 0 };
        assert_eq!(margins.judge(Level::Ample, 0, false), Level::Ample);
        assert_eq!(margins.judge(Level::Ample, 0, true), Level::Full);
        assert_eq!(margins.judge(Level::Full, 0, false), Level::Ample);
    }

    #[test]
    fn margins_take_no_more_than_a_sixteenth_of_a_small_volume() {
        let margins = Margins { reserve: 128, ballast: 64 };
        let on = |total| margins.on(Volume { total, free: 0 });
        assert_eq!(on(1_600), Margins { reserve: 100, ballast: 64 });
        assert_eq!(on(160), Margins { reserve: 10, ballast: 10 });
        assert_eq!(on(1 << 40), margins);
    }

    #[test]
    fn ballast_is_thrown_by_the_write_that_fails_and_taken_again_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let health = Arc::<Health>::default();
        let margins = Margins { reserve: 0, ballast: 1 << 20 };
        let keeper = SpaceKeeper::new(Arc::clone(&health), dir.path(), margins);
        let held = || dir.path().join("milena.ballast").metadata().map(|it| it.len()).unwrap_or(0);
        assert_eq!(keeper.look().map(|it| it.0), Some(Level::Ample));
        assert_eq!((held(), health.ballast_bytes()), (1 << 20, 1 << 20));
        let full = || Err::<(), _>(std::io::ErrorKind::StorageFull.into());
        assert!(health.during(crate::Kind::Change, full).is_err());
        assert_eq!((held(), health.ballast_bytes(), health.level()), (0, 0, Level::Full));
        assert_eq!(keeper.look().map(|it| it.0), Some(Level::Full), "the failure is news to it");
        assert_eq!(held(), 0);
        assert_eq!(keeper.look().map(|it| it.0), Some(Level::Ample));
        assert_eq!(held(), 1 << 20);
    }
}
