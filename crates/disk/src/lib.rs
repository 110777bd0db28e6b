//! The disk under a data directory, as all who write there share it: whether it moves, has room, and works.
//!
//! Partition logs and the Raft log write through different traits, to the same device. Both tell a [`Health`] when
//! they begin and end an operation; a [`watch`] on a thread that never touches the disk concludes from that whether
//! the device has stopped answering. What a broker does about it is not known here.
#![warn(missing_docs)]

mod ballast;
mod device;
mod health;
mod space;
mod stall;
mod watch;

pub use device::Device;
pub use health::{Health, Kind, Operation, Seen};
pub use space::{Level, Margins, SpaceKeeper, SpaceWatch, Volume};
pub use stall::{NOTICEABLE, Observation, STUCK, StallDetector};
pub use watch::{Watch, watch};
