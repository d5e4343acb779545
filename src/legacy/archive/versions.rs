//! Which of several versions of one path was packed last.
//!
//! A path is in several packs if its file changed between two runs. The number of the run that packed it tells
//! which version is the last: the name of a pack is a day that the file speaks of, and the time of a file can be older
//! than that of the version before.

use std::iter::Peekable;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Result;

use super::super::sorter::{Sorted, Sorter, take_at};
use super::index::{self, Item, Kind};

/// Memory for a list of packed files, or of files to pack.
pub(super) const LIST_BYTES_MAX: usize = 16 << 20;
/// Where the place of the entry begins in the bytes of `pack_order`.
const PLACE_AT: usize = 8;
/// Length of what `pack_order` returns.
pub(super) const ORDER_BYTES: usize = 24;

/// Orders the versions of a path as they were packed: by run, and within a run by place, as an index that was not made
/// here may hold a path twice.
pub(super) fn pack_order(item: &Item, pack: u64, nth: u64) -> Vec<u8> {
    [item.run, pack, nth].map(u64::to_be_bytes).concat()
}

/// Sort key of a path: orders paths as the walk does, folder by folder.
pub(super) fn walk_order(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

/// The packed files that are not the last version of their path.
pub(super) struct OlderVersions(Peekable<Sorted>);

impl OlderVersions {
    /// Finds them among the files under `prefix`, in bounded memory.
    pub(super) fn find(out: &Path, packs: &[String], prefix: &Path) -> Result<Self> {
        let mut versions = Sorter::new(LIST_BYTES_MAX);
        for (pack, name) in (0..).zip(packs) {
            for (nth, item) in (0..).zip(index::read(out, name)?) {
                let item = item?;
                let path = item.path()?;
                if item.kind == Kind::File && path.starts_with(prefix) {
                    versions.push(&walk_order(&path), &pack_order(&item, pack, nth))?;
                }
            }
        }
        let mut older = Sorter::new(LIST_BYTES_MAX);
        let mut versions = versions.finish()?.peekable();
        while let Some(pair) = versions.next() {
            let (path, pack_order) = pair?;
            if versions.peek().is_some_and(|next| next.as_ref().is_ok_and(|(next, _)| *next == path)) {
                older.push(pack_order.get(PLACE_AT..).unwrap_or_default(), &[])?;
            }
        }
        Ok(Self(older.finish()?.peekable()))
    }

    /// Whether the line `nth` of an index is one of them. To be asked pack by pack and line by line.
    pub(super) fn contains(&mut self, pack: u64, nth: u64) -> Result<bool> {
        let place = [pack, nth].map(u64::to_be_bytes).concat();
        Ok(take_at(&mut self.0, &place)?.is_some())
    }
}
