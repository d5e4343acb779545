//! Which of several versions of one path was packed last.
//!
//! A path is in several packs if its file changed between two runs. What comes last is told by the number of the run
//! that packed it, as neither the name of a pack, which is a day that the file speaks of, nor the time of a file says
//! it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Result;

use super::super::sorter::{Sorted, Sorter};
use super::index::{self, Item, Kind};

/// Memory for a list of packed files, or of files to pack.
pub(super) const LIST_BYTES_MAX: usize = 16 << 20;
/// How many bytes of a rank come before those that say where the entry lies.
const BEFORE_PLACE: usize = 8;
/// The bytes of a rank.
pub(super) const RANK_BYTES: usize = 24;

/// Orders the versions of a path as they were packed: by run, and within a run by place, as an index that was not made
/// here may hold a path twice.
pub(super) fn rank(item: &Item, pack: u64, nth: u64) -> Vec<u8> {
    [item.run, pack, nth].map(u64::to_be_bytes).concat()
}

/// The bytes by which paths stand in the order of the walk: folder by folder.
pub(super) fn order_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

/// The packed files that are not the last version of their path.
pub(super) struct Older(Sorted);

impl Older {
    /// Finds them among the files under `prefix`, in bounded memory.
    pub(super) fn find(out: &Path, packs: &[String], prefix: &Path) -> Result<Self> {
        let mut versions = Sorter::new(LIST_BYTES_MAX);
        for (pack, name) in (0..).zip(packs) {
            for (nth, item) in (0..).zip(index::read(out, name)?) {
                let item = item?;
                let path = item.path()?;
                if item.kind == Kind::File && path.starts_with(prefix) {
                    versions.push(&order_of(&path), &rank(&item, pack, nth))?;
                }
            }
        }
        let mut older = Sorter::new(LIST_BYTES_MAX);
        let mut versions = versions.finish()?;
        while let Some(pair) = versions.next() {
            let (path, rank) = pair?;
            if versions.peek().is_some_and(|(next, _)| *next == *path) {
                older.push(rank.get(BEFORE_PLACE..).unwrap_or_default(), &[])?;
            }
        }
        Ok(Self(older.finish()?))
    }

    /// Whether the line `nth` of an index is one of them. To be asked pack by pack and line by line.
    pub(super) fn has(&mut self, pack: u64, nth: u64) -> Result<bool> {
        let place = [pack, nth].map(u64::to_be_bytes).concat();
        while self.0.peek().is_some_and(|(key, _)| *key < *place) {
            self.0.next().transpose()?;
        }
        Ok(self.0.peek().is_some_and(|(key, _)| *key == *place))
    }
}
