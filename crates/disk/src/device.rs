//! The block device under a directory, and how many writes it has completed.

use std::path::{Path, PathBuf};

/// A block device that Linux keeps statistics of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    statistics: PathBuf,
}

impl Device {
    /// The device that holds `path`. `None` for file systems without one: tmpfs, overlay, network.
    pub fn of(path: &Path) -> Option<Self> {
        let device = rustix::fs::stat(path).ok()?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let found = Self { statistics: format!("/sys/dev/block/{major}:{minor}/stat").into() };
        found.completed_writes().map(|_| found)
    }

    /// Writes, discards and flushes that it has completed, whoever asked for them.
    pub fn completed_writes(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.statistics).ok()?;
        completed_writes(&text)
    }
}

/// Fields 5, 12 and 16 of `Documentation/block/stat.rst`; older kernels end earlier.
fn completed_writes(statistics: &str) -> Option<u64> {
    let fields: Vec<u64> = statistics.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let writes = *fields.get(4)?;
    Some(
        [11, 15]
            .into_iter()
            .filter_map(|at| fields.get(at))
            .fold(writes, |sum, field| sum.wrapping_add(*field)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_writes_are_those_of_the_kernels_table() {
        let new = "  100 0 800 10   250 3 9000 40   0 50 60   7 0 8 9   30 11\n";
        let old = "  100 0 800 10   250 3 9000 40   0 50 60\n";
        assert_eq!(completed_writes(new), Some(287));
        assert_eq!(completed_writes(old), Some(250));
        assert_eq!(completed_writes("100 0"), None);
    }
}
