//! The log cleaner: keeps of each key of a compacted topic only the newest record.
//!
//! Its threads are its own, beside the runtimes that serve clients and the quorum: a cleaning reads and writes for
//! seconds. They hold a partition's lock only to look at it and to swap a cleaned group in. They never die: a
//! partition that cannot be cleaned is set aside until the next start, logged and counted. Leaders and followers
//! clean for themselves. Between rounds an idle topic costs a look at its bounds.

mod choice;
mod meters;
mod run;
mod throttle;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use milena_config::BrokerConfig;
use milena_disk::Level;
use milena_log::CleaningError;
use tracing::{error, info, warn};

use crate::clock;
use crate::data_dir::DataDir;
use crate::partitions::Partitions;
use crate::settings::Settings;

use choice::Candidate;
use throttle::Throttle;

pub(crate) use meters::CleanerMeters;

/// Most threads, whatever `log.cleaner.threads` says.
const MOST_THREADS: usize = 64;

/// What the cleaner works with.
pub(crate) struct LogCleaner {
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) data_dir: Arc<DataDir>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) meters: Arc<CleanerMeters>,
    throttle: Throttle,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// Topic and partition of the cleanings under way. By name: a topic that was deleted and created again under its
    /// name has the same directory.
    under_way: HashSet<(Arc<str>, i32)>,
    threads: Vec<JoinHandle<()>>,
}

impl LogCleaner {
    /// A cleaner of these partitions. It does nothing before [`LogCleaner::start`].
    pub(crate) fn new(
        partitions: Arc<Partitions>,
        data_dir: Arc<DataDir>,
        settings: Arc<Settings>,
        meters: Arc<CleanerMeters>,
    ) -> Arc<Self> {
        Arc::new(Self {
            partitions,
            data_dir,
            settings,
            meters,
            throttle: Throttle::default(),
            state: Mutex::default(),
            woken: Condvar::new(),
        })
    }

    /// Begins to clean, unless `log.cleaner.enable` is off.
    pub(crate) fn start(self: Arc<Self>) -> RunningCleaner {
        if self.settings.broker().log_cleaner_enable() {
            self.spawn_missing();
        }
        RunningCleaner(self)
    }

    /// Stops all threads and waits for them.
    fn stop(&self) {
        let threads = {
            let mut state = self.state.lock().unwrap();
            state.stopping = true;
            std::mem::take(&mut state.threads)
        };
        self.woken.notify_all();
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// `log.cleaner.threads` may grow at run time. Threads beyond it end by themselves; the first one stays, to see.
    fn spawn_missing(self: &Arc<Self>) {
        let wanted = self.thread_count().max(1);
        let mut state = self.state.lock().unwrap();
        state.threads.retain(|thread| !thread.is_finished());
        for index in state.threads.len()..wanted {
            if state.stopping {
                return;
            }
            let this = Arc::clone(self);
            let name = format!("log-cleaner-{index}");
            match std::thread::Builder::new().name(name).spawn(move || this.work(index)) {
                Ok(thread) => state.threads.push(thread),
                Err(error) => return warn!(%error, "no thread for the log cleaner"),
            }
        }
    }

    fn thread_count(&self) -> usize {
        (self.settings.broker().log_cleaner_threads().max(0) as usize).min(MOST_THREADS)
    }

    /// One thread's life.
    fn work(self: Arc<Self>, index: usize) {
        while !self.is_stopping() {
            if index == 0 {
                self.spawn_missing();
            }
            let count = self.thread_count();
            if index >= count {
                if index > 0 {
                    return;
                }
                self.pause();
                continue;
            }
            let round = std::panic::catch_unwind(AssertUnwindSafe(|| self.clean_filthiest(count)));
            match round {
                Ok(true) => {}
                Ok(false) => self.pause(),
                Err(_) => {
                    error!("the log cleaner panicked; it goes on with other partitions");
                    self.pause();
                }
            }
        }
    }

    /// Cleans the partition that needs it most. False if there was none, or nothing came of it.
    fn clean_filthiest(&self, threads: usize) -> bool {
        // Cleaning takes room before it gives room.
        if self.is_disk_full() {
            return false;
        }
        let Some(candidate) = self.claim() else { return false };
        let hosted = Arc::clone(&candidate.hosted);
        let key = (Arc::clone(&hosted.topic), hosted.index);
        let cleaned = std::panic::catch_unwind(AssertUnwindSafe(|| self.clean(&candidate, threads)));
        self.state.lock().unwrap().under_way.remove(&key);
        let (topic, partition) = (&*hosted.topic, hosted.index);
        match cleaned {
            Ok(Ok(done)) => return done,
            Ok(Err(CleaningError::GivenUp)) => {
                info!(
                    topic,
                    partition,
                    "cleaning given up: the log has changed or is gone, the disk is full, or the broker stops"
                );
            }
            Ok(Err(_)) if hosted.is_closed() => {}
            Ok(Err(CleaningError::Fault(error))) if error.is_full() => {
                warn!(topic, partition, %error, "no room to clean; tried again later");
            }
            Ok(Err(CleaningError::Fault(error))) => {
                error!(topic, partition, %error, "cannot be cleaned; set aside until the next start");
                hosted.set_uncleanable();
            }
            Err(_) => {
                error!(topic, partition, "cleaning panicked; set aside until the next start");
                hosted.set_uncleanable();
            }
        }
        false
    }

    /// The partition that needs it most and that no other thread has.
    fn claim(&self) -> Option<Candidate> {
        let now_ms = clock::unix_ms();
        let all = self.partitions.all();
        let mut state = self.state.lock().unwrap();
        let free = all
            .into_iter()
            .filter(|hosted| !state.under_way.contains(&(Arc::clone(&hosted.topic), hosted.index)));
        let chosen = choice::filthiest(free, now_ms, &self.meters)?;
        state.under_way.insert((Arc::clone(&chosen.hosted.topic), chosen.hosted.index));
        Some(chosen)
    }

    fn is_disk_full(&self) -> bool {
        self.data_dir.health().level() == Level::Full
    }

    fn is_stopping(&self) -> bool {
        self.state.lock().unwrap().stopping
    }

    /// Sleeps for `log.cleaner.backoff.ms`, or until the broker stops.
    fn pause(&self) {
        let backoff = backoff(&self.settings.broker());
        self.sleep(backoff);
    }

    /// Sleeps; false if the broker stops.
    fn sleep(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap();
        let (state, _) = self.woken.wait_timeout_while(state, time, |state| !state.stopping).unwrap();
        !state.stopping
    }
}

/// The cleaner's threads. Dropped, they end: a cleaning under way is given up. Waits for them, so not for a thread that
/// serves others.
pub(crate) struct RunningCleaner(Arc<LogCleaner>);

impl Drop for RunningCleaner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Shortest pause between two looks at all partitions, however small the setting is.
const SHORTEST_BACKOFF_MS: i64 = 10;

fn backoff(config: &BrokerConfig) -> Duration {
    Duration::from_millis(config.log_cleaner_backoff_ms().max(SHORTEST_BACKOFF_MS) as u64)
}
