//! Snapshot files: all pairs of a group at one position, in one durable file.
//!
//! A file is a sequence of blocks: length (4 bytes), CRC-32C (4), content. The CRC covers the CRC
//! of the block before it, so blocks cannot be lost or swapped. The first block is the head, the
//! last an empty one. Nodes with the same state write the same bytes: the last CRC can be compared
//! between them to find a state machine that is not deterministic.

use crate::convert::{malformed, meta_from, meta_to};
use crate::disk::{Disk, DiskFile};
use crate::id::GroupId;
use crate::message;
use crate::types::SnapshotMeta;
use crate::wal::crc32c;
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A block is closed when it holds this much.
const BLOCK_BYTES: usize = 128 << 10;
/// A block longer than this is damage: one pair may exceed [`BLOCK_BYTES`], but not this.
const MAX_BLOCK: usize = 64 << 20;
/// Opens the head.
const MAGIC: &[u8; 8] = b"MLNSNAP1";

/// A complete snapshot, open for reading even when its name is taken by a newer one.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
    pub(crate) meta: SnapshotMeta,
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile")
            .field("path", &self.path)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl SnapshotFile {
    /// Where a group keeps its snapshot.
    pub(crate) fn path(dir: &Path, group: GroupId) -> PathBuf {
        dir.join(format!("{}.snapshot", group.name()))
    }

    /// Opens a snapshot and checks every block of it.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, group: GroupId) -> io::Result<SnapshotFile> {
        let file = disk.open(path)?;
        let mut blocks = Blocks::new(file.clone())?;
        let head = blocks.next().ok_or_else(|| malformed("empty snapshot"))??;
        let meta = decode_head(head, group)?;
        let snapshot = SnapshotFile { len: file.len()?, file, path: path.to_owned(), meta };
        for block in &mut blocks {
            decode_pairs(block?).try_for_each(|pair| pair.map(drop))?;
        }
        Ok(snapshot)
    }

    /// Writes a snapshot and makes it durable under its name.
    pub(crate) fn write(
        disk: &dyn Disk,
        dir: &Path,
        group: GroupId,
        meta: SnapshotMeta,
        pairs: impl Iterator<Item = io::Result<(Bytes, Bytes)>>,
    ) -> io::Result<SnapshotFile> {
        let path = SnapshotFile::path(dir, group);
        let temporary = path.with_extension("snapshot.new");
        let file = disk.create(&temporary)?;
        let mut out = Writer { file: &*file, position: 0, crc: 0 };
        out.block(&encode_head(&meta, group))?;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        for pair in pairs {
            let (key, value) = pair?;
            block.put_u32_le(key.len() as u32);
            block.put_u32_le(value.len() as u32);
            block.put_slice(&key);
            block.put_slice(&value);
            if block.len() >= BLOCK_BYTES {
                out.block(&block)?;
                block.clear();
            }
        }
        if !block.is_empty() {
            out.block(&block)?;
        }
        out.block(&[])?;
        let (len, crc) = (out.position, out.crc);
        file.sync()?;
        disk.rename(&temporary, &path)?;
        disk.sync_dir(dir)?;
        tracing::info!(%group, at = ?meta.last_log_id.map(|id| id.index()), bytes = len, crc, "snapshot written");
        Ok(SnapshotFile { file, path, len, meta })
    }

    /// Takes over a snapshot that arrived under another name, durably.
    pub(crate) fn rename(mut self, disk: &dyn Disk, dir: &Path, group: GroupId) -> io::Result<SnapshotFile> {
        let path = SnapshotFile::path(dir, group);
        if self.path != path {
            disk.rename(&self.path, &path)?;
            disk.sync_dir(dir)?;
            self.path = path;
        }
        Ok(self)
    }

    /// All pairs, ascending by key.
    pub(crate) fn pairs(&self) -> io::Result<impl Iterator<Item = io::Result<(Bytes, Bytes)>> + use<>> {
        let mut blocks = Blocks::new(self.file.clone())?;
        blocks.next();
        Ok(blocks.flat_map(|block| match block {
            Ok(block) => Either::Pairs(decode_pairs(block)),
            Err(error) => Either::Error(Some(error)),
        }))
    }

    /// Bytes of the file from `position` on, at most `max`.
    pub(crate) fn read(&self, position: u64, max: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.len.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(max)];
        let got = self.file.read_at(position, &mut bytes)?;
        bytes.truncate(got);
        Ok(bytes.into())
    }
}

/// A snapshot that is being received. Dropped before the end, it leaves nothing.
pub(crate) struct IncomingSnapshot {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    group: GroupId,
    expected: u64,
    received: u64,
    finished: bool,
}

impl IncomingSnapshot {
    /// Starts a file of `expected` bytes in `dir`; `number` tells it from others of the group.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        group: GroupId,
        number: u64,
        expected: u64,
    ) -> io::Result<IncomingSnapshot> {
        let path = dir.join(format!("{}.snapshot.receiving-{number}", group.name()));
        let file = disk.create(&path)?;
        Ok(IncomingSnapshot { disk, file, path, group, expected, received: 0, finished: false })
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.received + bytes.len() as u64 > self.expected {
            return Err(malformed("snapshot longer than announced"));
        }
        self.file.write_at(self.received, bytes)?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Flushes the file and checks all of it.
    pub(crate) fn finish(mut self) -> io::Result<SnapshotFile> {
        if self.received != self.expected {
            return Err(malformed("snapshot shorter than announced"));
        }
        self.file.sync()?;
        let snapshot = SnapshotFile::open(&*self.disk, &self.path, self.group)?;
        self.finished = true;
        Ok(snapshot)
    }
}

impl Drop for IncomingSnapshot {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.disk.remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "unfinished snapshot not deleted");
        }
    }
}

enum Either<P> {
    Pairs(P),
    Error(Option<io::Error>),
}

impl<P: Iterator<Item = io::Result<(Bytes, Bytes)>>> Iterator for Either<P> {
    type Item = io::Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Either::Pairs(pairs) => pairs.next(),
            Either::Error(error) => error.take().map(Err),
        }
    }
}

struct Writer<'a> {
    file: &'a dyn DiskFile,
    position: u64,
    crc: u32,
}

impl Writer<'_> {
    fn block(&mut self, content: &[u8]) -> io::Result<()> {
        self.crc = block_crc(self.crc, content);
        let mut head = [0; 8];
        head[..4].copy_from_slice(&(content.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&self.crc.to_le_bytes());
        self.file.write_at(self.position, &head)?;
        self.file.write_at(self.position + 8, content)?;
        self.position += 8 + content.len() as u64;
        Ok(())
    }
}

/// Blocks of a file with their CRC checked; ends after the empty block.
struct Blocks {
    file: Arc<dyn DiskFile>,
    position: u64,
    len: u64,
    crc: u32,
    ended: bool,
}

impl Blocks {
    fn new(file: Arc<dyn DiskFile>) -> io::Result<Blocks> {
        let len = file.len()?;
        Ok(Blocks { file, position: 0, len, crc: 0, ended: false })
    }

    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let mut head = [0; 8];
        if self.file.read_at(self.position, &mut head)? < head.len() {
            return Err(malformed("snapshot ends within a block"));
        }
        let len = u32::from_le_bytes(*head.first_chunk().expect("8 bytes")) as usize;
        let crc = u32::from_le_bytes(*head.last_chunk().expect("8 bytes"));
        if len > MAX_BLOCK || self.position + 8 + len as u64 > self.len {
            return Err(malformed("snapshot block longer than the file"));
        }
        let mut content = vec![0; len];
        self.file.read_at(self.position + 8, &mut content)?;
        self.crc = block_crc(self.crc, &content);
        if self.crc != crc {
            return Err(malformed(&format!("snapshot block at position {} is damaged", self.position)));
        }
        self.position += 8 + len as u64;
        if len > 0 {
            return Ok(Some(content.into()));
        }
        match self.position == self.len {
            true => Ok(None),
            false => Err(malformed("snapshot goes on after its end")),
        }
    }
}

impl Iterator for Blocks {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let block = self.read().transpose();
        self.ended = !matches!(block, Some(Ok(_)));
        block
    }
}

fn block_crc(previous: u32, content: &[u8]) -> u32 {
    crc32c(content) ^ previous.rotate_left(7)
}

fn encode_head(meta: &SnapshotMeta, group: GroupId) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.push(group.0);
    head.extend(meta_to(meta).encode_to_vec());
    head
}

fn decode_head(mut head: Bytes, group: GroupId) -> io::Result<SnapshotMeta> {
    if head.len() < 9 || &head[..8] != MAGIC || head[8] != group.0 {
        return Err(malformed("no snapshot of this group"));
    }
    head.advance(9);
    meta_from(message::SnapshotMeta::decode(head).map_err(|_| malformed("snapshot head"))?)
}

fn decode_pairs(mut block: Bytes) -> impl Iterator<Item = io::Result<(Bytes, Bytes)>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let lengths = (block.try_get_u32_le(), block.try_get_u32_le());
        let (Ok(key), Ok(value)) = lengths else {
            block.clear();
            return Some(Err(malformed("pair of a snapshot")));
        };
        if key as usize + value as usize > block.len() {
            block.clear();
            return Some(Err(malformed("pair of a snapshot")));
        }
        Some(Ok((block.split_to(key as usize), block.split_to(value as usize))))
    })
}
