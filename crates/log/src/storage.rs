//! What the logs of one data directory share: the file system and the bounded set of open files.

use std::sync::Arc;

use crate::cache::FileCache;
use crate::fs::FileSystem;

/// Shared by every [`crate::Log`] of a data directory.
#[derive(Debug)]
pub struct Storage {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) files: FileCache,
}

impl Storage {
    /// Descriptors kept open by default.
    pub const DEFAULT_OPEN_FILES: usize = 512;

    /// Storage on `fs` that keeps at most `open_files` descriptors, whatever the number of partitions.
    pub fn new(fs: Arc<dyn FileSystem>, open_files: usize) -> Arc<Self> {
        Arc::new(Self { fs, files: FileCache::new(open_files) })
    }

    /// Closes the files that no log used since the last call. Called now and then, it leaves idle partitions
    /// without a descriptor even where the bound would allow them one.
    pub fn close_idle_files(&self) {
        self.files.close_idle();
    }

    /// Descriptors open now.
    pub fn open_files(&self) -> usize {
        self.files.len()
    }
}
