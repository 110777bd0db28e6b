//! The thread that looks at a disk's unfinished operations. It touches no file of that disk, so it cannot hang with
//! it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::device::Device;
use crate::health::{Health, KINDS, Kind, Seen};
use crate::stall::{Observation, StallDetector};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Looks as long as it is kept.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Begins to watch the disk under `directory`, on a thread that calls `begin` first. `report` hears of each change of
/// the standstill: zero when all is well, see [`StallDetector::look`]; it must not block.
///
/// # Errors
/// If there can be no thread.
pub fn watch(
    health: Arc<Health>,
    directory: &Path,
    begin: fn(),
    report: impl Fn(Duration) + Send + 'static,
) -> std::io::Result<Watch> {
    let device = Device::of(directory);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("disk-watch".to_owned()).spawn(move || {
        begin();
        let mut detector = StallDetector::default();
        let mut last = Duration::ZERO;
        let mut before = Instant::now();
        while !stopped.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            // A longer pause was this process's own: it was stopped, or had no core.
            let elapsed = std::mem::replace(&mut before, Instant::now()).elapsed().min(2 * LOOK);
            let now = detector.look(observe(&health, device.as_ref()), elapsed);
            health.set_seen(Some(Seen { standstill: now, oldest_unfinished: detector.oldest_unfinished() }));
            if now != last {
                last = now;
                report(now);
            }
        }
        health.set_seen(None);
    })?;
    Ok(Watch { stop, thread: Mutex::new(Some(thread)) })
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.get_mut().ok().and_then(Option::take) {
            // It can only have panicked, which it has logged.
            let _ = thread.join();
        }
    }
}

fn observe(health: &Health, device: Option<&Device>) -> Observation {
    let mut seen = Observation::default();
    for kind in [Kind::Change, Kind::Sync] {
        let at = kind as usize;
        // Before the oldest: what ends in between is seen as ended next time.
        seen.finished[at] = health.finished(kind);
        if let Some(oldest) = health.oldest(kind) {
            seen.oldest[at] = Some(oldest.number);
            seen.runnable[at] = is_runnable(oldest.thread);
        }
    }
    if seen.oldest != [None; KINDS] {
        seen.device_writes = device.and_then(Device::completed_writes);
    }
    seen
}

/// Whether a thread of this process runs or waits for a core. One that waits for a disk does neither.
fn is_runnable(thread: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    // The name before it may contain anything, also brackets.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('R'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stall::STUCK;
    use std::sync::mpsc::channel;

    #[test]
    fn operation_that_never_ends_is_reported_and_its_end_as_well() {
        let health = Arc::new(Health::default());
        let (told, reports) = channel();
        let watch = watch(
            Arc::clone(&health),
            Path::new("/proc"),
            || (),
            move |still| {
                let _ = told.send(still);
            },
        )
        .unwrap();
        let (release, held) = channel::<()>();
        let hanging = Arc::clone(&health);
        let thread = std::thread::spawn(move || hanging.during(Kind::Change, || Ok(held.recv())));
        let patience = Duration::from_secs(60);
        while reports.recv_timeout(patience).expect("it is stuck") < STUCK {}
        let seen = health.seen().expect("it is watched");
        assert!(seen.standstill >= STUCK && seen.oldest_unfinished >= STUCK, "{seen:?}");
        drop(release);
        while !reports.recv_timeout(patience).expect("it moves again").is_zero() {}
        drop(watch);
        assert_eq!(health.seen(), None);
        assert!(thread.join().unwrap().unwrap().is_err());
    }
}
