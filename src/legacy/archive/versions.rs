//! Which of several versions of one path was packed last.
//!
//! A path is in several packs if its file changed between two runs. What comes last is told by the number of the run that
//! packed it, as neither the name of a pack, which is a day that the file speaks of, nor the time of a file says it.

use std::path::Path;

use anyhow::Result;

use super::super::sorter::{Sorted, Sorter};
use super::index::{self, Item, Kind};
use super::{LIST_BYTES_MAX, order_of};

/// How many bytes of a rank come before those that say where the entry lies.
const BEFORE_PLACE: usize = 16;
/// The bytes of a rank.
pub(super) const RANK_BYTES: usize = 32;

/// The bytes by which the versions of a path stand in the order in which they were packed.
///
/// Packs from before runs were numbered all have the number 0: there what changed last counts as packed last, and then
/// what lies in the later place.
pub(super) fn rank(item: &Item, pack: u64, nth: u64) -> Vec<u8> {
    // Turns the order of signed numbers into that of their bytes.
    let modified = item.modified_ns.cast_unsigned() ^ (1 << 63);
    [item.run, modified, pack, nth].map(u64::to_be_bytes).concat()
}

/// The packed files that are not the last version of their path.
pub(super) struct Older(Sorted);

impl Older {
    /// Finds them among the files under `prefix`, in bounded memory.
    pub(super) fn find(out: &Path, packs: &[String], prefix: &Path) -> Result<Self> {
        let sorter = || Sorter::new(std::env::temp_dir(), LIST_BYTES_MAX);
        let mut versions = sorter();
        for (pack, name) in (0..).zip(packs) {
            for (nth, item) in (0..).zip(index::read(out, name)?) {
                let item = item?;
                let path = item.path()?;
                if item.kind == Kind::File && path.starts_with(prefix) {
                    versions.push(&order_of(&path), &rank(&item, pack, nth))?;
                }
            }
        }
        let mut older = sorter();
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
