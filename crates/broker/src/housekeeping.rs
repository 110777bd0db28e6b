//! What time asks of partitions: flushes, retention, checkpoints, idle files. One task for all of them; the
//! disk work runs on its own threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_disk::Level;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::data_dir::DataDir;
use crate::hosted::Hosted;
use crate::partitions::Partitions;
use crate::settings::Settings;

/// Longest time between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Shortest time between two rounds, however small a topic's `flush.ms` is.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Longest time between two rounds while the disk is nearly full: retention is what makes room.
const SHORT_OF_ROOM: Duration = Duration::from_secs(1);
/// How often descriptors of idle files are closed.
const IDLE_FILES: Duration = Duration::from_secs(60);

/// Looks after the partitions of this broker.
pub(crate) struct Housekeeping {
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) data_dir: Arc<DataDir>,
    pub(crate) settings: Arc<Settings>,
}

/// When each chore is due.
struct Due {
    retention: Instant,
    checkpoint: Instant,
    idle_files: Instant,
}

impl Housekeeping {
    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let this = Arc::new(self);
        let now = Instant::now();
        let initial = Duration::from_millis(this.settings.broker().log_initial_task_delay_ms() as u64);
        let mut due = Due { retention: now + initial, checkpoint: now, idle_files: now + IDLE_FILES };
        let mut pause = LONGEST_PAUSE;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let round = Arc::clone(&this);
            let Ok(done) = tokio::task::spawn_blocking(move || round.round(due)).await else { return };
            (due, pause) = done;
        }
    }

    fn round(&self, mut due: Due) -> (Due, Duration) {
        let now = Instant::now();
        let all = self.partitions.all();
        let touched: Vec<_> = all.iter().filter(|hosted| hosted.take_touched()).collect();
        let pause = pause(&all);
        self.flush(&all, &touched, clock::monotonic_ms() + pause.as_millis() as i64);
        let config = self.settings.broker();
        let millis = |value: i64| Duration::from_millis(value.max(1) as u64);
        let is_short = self.data_dir.health().level() >= Level::Scarce;
        if now >= due.retention || is_short {
            self.retain(&all, config.producer_id_expiration_ms().into());
            due.retention = now + millis(config.log_retention_check_interval_ms());
        }
        // A full disk cannot wait for `file.delete.delay.ms`.
        let is_full = self.data_dir.health().level() == Level::Full;
        let removed_before = if is_full { i64::MAX } else { clock::unix_ms() };
        all.iter().for_each(|hosted| hosted.purge(removed_before));
        if now >= due.checkpoint && !touched.is_empty() {
            self.data_dir.checkpoint(&all);
            due.checkpoint = now + millis(config.replica_high_watermark_checkpoint_interval_ms());
        }
        if now >= due.idle_files {
            self.data_dir.close_idle_files();
            due.idle_files = now + IDLE_FILES;
        }
        (due, if is_short { pause.min(SHORT_OF_ROOM) } else { pause })
    }

    /// Flushes what `flush.ms` does not let wait until the next round, and what a roll has closed.
    fn flush(&self, all: &[Arc<Hosted>], touched: &[&Arc<Hosted>], next_round_ms: i64) {
        let by_time =
            all.iter().filter_map(|hosted| Some((hosted, hosted.due_flush_by_time(next_round_ms)?)));
        let by_roll = touched.iter().filter_map(|hosted| Some((*hosted, hosted.due_flush(false)?)));
        for (hosted, flush) in by_time.chain(by_roll) {
            if let Err(error) = flush.run() {
                warn!(topic = %hosted.topic, partition = hosted.index, %error, "flush failed");
            }
        }
    }

    fn retain(&self, all: &[Arc<Hosted>], producer_expiration_ms: i64) {
        let now = clock::unix_ms();
        for hosted in all {
            hosted.retain(now, producer_expiration_ms);
        }
    }
}

/// Until the next round: as short as the shortest `flush.ms` asks for.
fn pause(all: &[Arc<Hosted>]) -> Duration {
    let shortest = all.iter().map(|hosted| hosted.flush_ms()).min().unwrap_or(i64::MAX);
    Duration::from_millis(shortest.max(0) as u64).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
