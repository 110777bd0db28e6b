//! The room on this broker's disk, and the end of the disk: what the controller and the operator hear of both.

use std::sync::Arc;
use std::time::Duration;

use milena_config::BrokerConfig;
use milena_disk::{Health, Level, Margins, SpaceKeeper, SpaceWatch};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::data_dir::DataDir;
use crate::liveness::Liveness;

/// Between two looks at whether the directory has failed.
const LOOK: Duration = Duration::from_millis(100);

/// Tends the room of one data directory.
pub(crate) struct Room {
    /// Kept for its thread.
    _watch: SpaceWatch,
    health: Arc<Health>,
    dir: String,
    level: watch::Receiver<Level>,
}

impl Room {
    /// Begins to.
    pub(crate) fn tend(data_dir: &DataDir, config: &BrokerConfig) -> std::io::Result<Self> {
        let bytes = |value: i64| u64::try_from(value).unwrap_or(0);
        let margins = Margins {
            reserve: bytes(config.disk_reserve_bytes()),
            ballast: bytes(config.disk_ballast_bytes()),
        };
        let keeper = SpaceKeeper::new(data_dir.health(), data_dir.root(), margins);
        let (told, level) = watch::channel(Level::Ample);
        let dir = data_dir.root().display().to_string();
        let at = dir.clone();
        let watch = keeper.run(move |level, free| {
            match level {
                Level::Ample => info!(dir = at, free, "there is room on the disk again"),
                Level::Low => warn!(dir = at, free, "the disk is filling up"),
                Level::Scarce => warn!(dir = at, free, "the disk is nearly full: producers are slowed"),
                Level::Full => warn!(dir = at, free, "the disk is full: producers are refused"),
            }
            told.send_replace(level);
        })?;
        Ok(Self { _watch: watch, health: data_dir.health(), dir, level })
    }

    /// Tells the controller while the disk is full, on `control` until `shutdown`: brokers with room lead and follow
    /// meanwhile.
    pub(crate) fn follow(&self, liveness: &Liveness, shutdown: &CancellationToken, control: &Handle) {
        let (liveness, mut level) = (liveness.clone(), self.level.clone());
        let saying = async move {
            loop {
                let full = *level.borrow_and_update() == Level::Full;
                liveness.is_full(full);
                if level.changed().await.is_err() {
                    return;
                }
            }
        };
        let shutdown = shutdown.clone();
        control.spawn(async move { shutdown.run_until_cancelled(saying).await });
    }

    /// Waits until the directory has failed; says so. With its only directory a broker ends, as Kafka does.
    pub(crate) async fn failed(&self) -> String {
        loop {
            if let Some(why) = self.health.failure() {
                return format!(
                    "data directory {} has failed: {why}; check the device before this broker is started again",
                    self.dir
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
