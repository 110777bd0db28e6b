//! The faults: what each is, what it needs, and whom it hits.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::system;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// kill -9 of a broker that leads partitions and is not the controller.
    KillLeader,
    /// kill -9 of the controller, which leads no partition of the load.
    KillController,
    /// kill -9 of the controller, which leads partitions too.
    KillBoth,
    /// SIGSTOP of a broker, and SIGCONT later.
    Pause,
    /// A broker is cut off from the others, and not from its clients, as --shape says. Needs root: each broker gets a
    /// network of its own.
    Partition,
    /// SIGTERM and start of one broker after the other, each when all replicas are in sync.
    RollingRestart,
    /// kill -9 of a broker, and everything that it had not synced to its disk is gone. Needs root: each broker's
    /// disk is an ext4 image whose mount is aborted; the broker restarts under another boot id.
    PowerLossOne,
    /// No byte is left on a broker's disk, and later there is room again. Needs root: disks are small tmpfs mounts.
    DiskFull,
    /// Every write and sync of a broker hangs. Needs root: each broker's disk is an ext4 image that is frozen.
    SlowDisk,
    /// Nothing: whatever the brokers do about it is wrong. Fails if a leader, the controller or an ISR changes.
    #[value(name = "none")]
    #[serde(rename = "none")]
    Nothing,
}

/// Whom faults that can hit anybody hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// A broker that leads partitions and is not the controller.
    #[default]
    Leader,
    /// The controller, which leads partitions too.
    Both,
    /// The controller, which leads no partition of the load.
    Controller,
}

/// Where the brokers of a drill live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Directories of this machine, on loopback.
    Plain,
    /// Each broker in a network namespace.
    Networks,
    /// Each broker's directory on an ext4 image.
    Images,
    /// Each broker's directory on a tmpfs of limited size.
    SmallDisks,
}

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |it| it.get_name().to_owned())
    }

    /// How long it lasts at least unless the user says otherwise.
    pub fn lasts(self) -> Duration {
        match self {
            Self::KillLeader | Self::KillController | Self::KillBoth | Self::PowerLossOne => {
                Duration::from_secs(1)
            }
            Self::RollingRestart => Duration::ZERO,
            Self::Pause | Self::Partition | Self::DiskFull => Duration::from_secs(5),
            Self::SlowDisk => Duration::from_secs(3),
            Self::Nothing => Duration::from_secs(60),
        }
    }

    /// Whom it hits.
    pub fn aim(self, wanted: Aim) -> Aim {
        match self {
            Self::KillLeader => Aim::Leader,
            Self::KillController => Aim::Controller,
            Self::KillBoth => Aim::Both,
            _ => wanted,
        }
    }

    /// Whether the old leader may be alive and believe that it leads.
    pub fn leaves_a_zombie(self) -> bool {
        matches!(self, Self::Pause | Self::Partition | Self::SlowDisk | Self::DiskFull)
    }

    /// What the brokers must live on for it.
    pub fn ground(self) -> Ground {
        match self {
            Self::Partition => Ground::Networks,
            Self::PowerLossOne | Self::SlowDisk => Ground::Images,
            Self::DiskFull => Ground::SmallDisks,
            _ => Ground::Plain,
        }
    }
}

impl Ground {
    /// Why it cannot be had here, if so.
    pub fn obstacle(self) -> Option<String> {
        let tools: &[&str] = match self {
            Self::Plain => return None,
            Self::Networks => &["ip", "iptables"],
            Self::Images => &["mkfs.ext4", "mount", "umount", "fsfreeze", "unshare"],
            Self::SmallDisks => &["mount", "umount"],
        };
        if !system::is_root() {
            return Some("it needs root, for mounts or network namespaces".into());
        }
        let missing: Vec<_> = tools.iter().filter(|it| !system::has(it)).copied().collect();
        (!missing.is_empty()).then(|| format!("these programs are not installed: {}", missing.join(", ")))
    }
}
