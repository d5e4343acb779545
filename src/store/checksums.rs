//! Comparing all checksums of a file that was closed properly, much faster than the engine does.
//!
//! A start should cost what reading the file costs and no more: a million overlays are 290 MB, and the engine needs half a second for
//! them, since it takes one page at a time through its cache and goes over all of them again to rebuild its list of free pages.
//! Here the trees are read level by level, each in the order of the file, in large pieces, by several threads. A
//! page's checksum stands in the page above it and the root's in the header, so what passes is what the engine
//! wrote, from the header to the last record: nothing is flipped, swapped, torn or out of date. It can be opened without a check by
//! the engine, which takes the list of free pages from the file then.
//!
//! Only *yes* counts. Whatever is not as a properly closed file of this program must be (a process was killed, another geometry,
//! other kinds of tables, a checksum that does not fit, an error of the disk) goes to the engine's own check, which repairs,
//! falls back to the commit before, or refuses. So nothing is refused here that the engine could read.
//!
//! The layout is the engine's file format 3, which its `docs/design.md` describes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xxhash_rust::xxh3::xxh3_128;

use super::disk::Disk;

const PAGE_BYTES: u64 = 4_096;
/// What the engine gives a region if it is left the choice.
const REGION_PAGES: u64 = 1 << 20;
const HEADER_BYTES: usize = 320;
const SLOT_BYTES: usize = 128;
/// What every file of the engine begins with.
pub(crate) const ENGINE_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
/// Of the flags: the last commit is in slot 1.
const SECOND_SLOT: u8 = 1;
/// Of the flags, those that matter: the file was not closed; the last commit is whole by all means; it is not yet synced.
const STATE: u8 = 2 | CLOSED | 8;
/// Of those, what a properly closed file has.
const CLOSED: u8 = 4;
const FORMAT: u8 = 3;
const NORMAL_TABLE: u8 = 3;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
/// The highest power of two by which a page is larger than the smallest one.
const ORDER_MAX: u32 = 20;

/// Most bytes that are read at once, unless a page is larger.
const PIECE_BYTES: u64 = 256 * 1024;
/// Bytes between two pages that are rather read than left out.
const GAP_BYTES: u64 = 16 * 1024;
/// Threads that read; the disk has no use for more.
const THREADS_MAX: usize = 4;
/// Pages below which a thread of its own is not worth its start.
const PAGES_A_THREAD: usize = 512;

/// A page that is still to be read.
#[derive(Clone, Copy, Debug)]
struct Node {
    offset: u64,
    bytes: u64,
    checksum: u128,
    of: Tree,
}

/// What tells the parts of a page apart.
#[derive(Clone, Copy, Debug)]
struct Tree {
    /// Bytes of each key and each value, if they are all of one size.
    key: Option<usize>,
    value: Option<usize>,
    /// Its values describe further trees.
    is_of_tables: bool,
}

/// The tree of tables: name to description.
const TABLES: Tree = Tree { key: None, value: None, is_of_tables: true };

/// Whether a file was closed properly and every checksum in it fits.
pub(super) fn all_fit(disk: &dyn Disk) -> bool {
    walk(disk).is_some()
}

fn walk(disk: &dyn Disk) -> Option<()> {
    let file_bytes = disk.length().ok()?;
    let mut level = roots(disk, file_bytes)?;
    let mut pages_left = file_bytes / PAGE_BYTES;
    while !level.is_empty() {
        // Pages that are shared, or lead back to themselves, would never end.
        pages_left = pages_left.checked_sub(level.len() as u64)?;
        level.sort_unstable_by_key(|node| node.offset);
        level = below(disk, file_bytes, &level)?;
    }
    Some(())
}

/// The roots of the trees of tables, by a header that fits itself and the file.
fn roots(disk: &dyn Disk, file_bytes: u64) -> Option<Vec<Node>> {
    let mut header = [0; HEADER_BYTES];
    disk.read(0, &mut header).ok()?;
    let flags = *header.get(ENGINE_MAGIC.len())?;
    let word = |at| u32_at(&header, at).map(u64::from);
    let pages = (file_bytes / PAGE_BYTES).checked_sub(1)?;
    let is_plain = header.starts_with(ENGINE_MAGIC)
        && flags & STATE == CLOSED
        && file_bytes.is_multiple_of(PAGE_BYTES)
        && [word(12)?, word(16)?, word(20)?] == [PAGE_BYTES, 0, REGION_PAGES]
        && [word(24)?, word(28)?] == [pages / REGION_PAGES, pages % REGION_PAGES];
    let slot_at = |slot: u8| header.get(64 + SLOT_BYTES * usize::from(slot)..)?.get(..SLOT_BYTES);
    let slot = slot_at(flags & SECOND_SLOT)?;
    let transaction = |slot: &[u8]| Some(u64::from_le_bytes(slot.get(104..112)?.try_into().ok()?));
    // The bit that names the slot has no checksum of its own, and the pages of the commit before may all still be there.
    let is_newest = transaction(slot)? > transaction(slot_at(!flags & SECOND_SLOT)?)?;
    let (fields, checksum) = slot.split_at_checked(SLOT_BYTES - 16)?;
    if !is_plain || !is_newest || *slot.first()? != FORMAT || u128_at(checksum, 0)? != xxh3_128(fields) {
        return None;
    }
    let mut roots = Vec::new();
    for (is_there, at) in [(1, 8), (2, 40)] {
        if *slot.get(is_there)? != 0 {
            roots.push(node(slot, at, at + 8, TABLES, file_bytes)?);
        }
    }
    Some(roots)
}

/// Checks one level of the trees, which is in the order of the file; returns the next.
fn below(disk: &dyn Disk, file_bytes: u64, level: &[Node]) -> Option<Vec<Node>> {
    // Not asked for a few pages: the answer takes longer than they do, as it is read from several files of the system.
    let threads =
        if level.len() <= PAGES_A_THREAD { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let share = level.len().div_ceil(threads.min(THREADS_MAX)).max(PAGES_A_THREAD);
    let is_over = AtomicBool::new(false);
    let check = |nodes: &[Node]| {
        let children = check_in_order(disk, file_bytes, nodes, &is_over);
        is_over.fetch_or(children.is_none(), Ordering::Relaxed);
        children
    };
    let mut shares = level.chunks(share);
    let first = shares.next()?;
    thread::scope(|scope| {
        let others: Vec<_> = shares.map(|nodes| scope.spawn(|| check(nodes))).collect();
        let mut children = check(first);
        for other in others {
            let more = other.join().ok().flatten();
            children = children.zip(more).map(|(mut children, more)| {
                children.extend(more);
                children
            });
        }
        children
    })
}

fn check_in_order(disk: &dyn Disk, file_bytes: u64, nodes: &[Node], is_over: &AtomicBool) -> Option<Vec<Node>> {
    let mut children = Vec::new();
    let mut buffer = Vec::new();
    let mut rest = nodes;
    while let Some(first) = rest.first() {
        if is_over.load(Ordering::Relaxed) {
            return None;
        }
        let mut end = first.offset + first.bytes;
        let more = rest.iter().skip(1).take_while(|node| {
            let is_near = node.offset <= end + GAP_BYTES && node.offset + node.bytes <= first.offset + PIECE_BYTES;
            end = if is_near { end.max(node.offset + node.bytes) } else { end };
            is_near
        });
        let (piece, after) = rest.split_at_checked(1 + more.count())?;
        let len = usize::try_from(end - first.offset).ok()?;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let bytes = buffer.get_mut(..len)?;
        disk.read(first.offset, bytes).ok()?;
        for node in piece {
            let page = bytes.get(usize::try_from(node.offset - first.offset).ok()?..)?;
            check_page(page.get(..usize::try_from(node.bytes).ok()?)?, node, file_bytes, &mut children)?;
        }
        rest = after;
    }
    Some(children)
}

/// Compares the checksum of one page and adds the pages below it to `children`.
fn check_page(page: &[u8], node: &Node, file_bytes: u64, children: &mut Vec<Node>) -> Option<()> {
    let count = usize::from(u16::from_le_bytes(page.get(2..4)?.try_into().ok()?));
    let tree = node.of;
    let used = match *page.first()? {
        LEAF => page.get(..leaf_bytes(page, count, tree)?)?,
        BRANCH => page.get(..branch_bytes(page, count, tree)?)?,
        _ => return None,
    };
    if xxh3_128(used) != node.checksum {
        return None;
    }
    if *page.first()? == BRANCH {
        for child in 0..=count {
            children.push(self::node(page, 8 + 16 * (count + 1) + 8 * child, 8 + 16 * child, tree, file_bytes)?);
        }
    } else if tree.is_of_tables {
        // Keys and values are of any size, so the values begin where the last key ends.
        let mut from = size_at(page, 4 + 4 * (count - 1))?;
        for entry in 0..count {
            let to = size_at(page, 4 + 4 * count + 4 * entry)?;
            table(page.get(from..to)?, file_bytes, children)?;
            from = to;
        }
    }
    Some(())
}

/// How many bytes of a leaf are used.
fn leaf_bytes(page: &[u8], count: usize, tree: Tree) -> Option<usize> {
    let last = count.checked_sub(1)?;
    let value_ends = 4 + if tree.key.is_none() { 4 * count } else { 0 };
    let keys = value_ends + if tree.value.is_none() { 4 * count } else { 0 };
    match (tree.value, tree.key) {
        (None, _) => size_at(page, value_ends + 4 * last),
        (Some(value), Some(key)) => keys.checked_add(key.checked_add(value)?.checked_mul(count)?),
        (Some(value), None) => size_at(page, 4 + 4 * last)?.checked_add(value.checked_mul(count)?),
    }
}

/// How many bytes of a branch with so many keys are used.
fn branch_bytes(page: &[u8], count: usize, tree: Tree) -> Option<usize> {
    let last = count.checked_sub(1)?;
    let keys = 8 + 24 * (count + 1);
    tree.key.map_or_else(|| size_at(page, keys + 4 * last), |key| keys.checked_add(key.checked_mul(count)?))
}

/// Adds the root of a table by its description, unless the table is empty.
fn table(description: &[u8], file_bytes: u64, roots: &mut Vec<Node>) -> Option<()> {
    let width = |at: usize| match *description.get(at)? {
        0 => Some(None),
        _ => size_at(description, at + 1).map(Some),
    };
    let of = Tree { key: width(42)?, value: width(47)?, is_of_tables: false };
    if *description.first()? != NORMAL_TABLE {
        return None;
    }
    if *description.get(9)? != 0 {
        roots.push(node(description, 10, 18, of, file_bytes)?);
    }
    Some(())
}

/// The page whose number and checksum stand at these places.
fn node(bytes: &[u8], number_at: usize, checksum_at: usize, of: Tree, file_bytes: u64) -> Option<Node> {
    let number = u64::from_le_bytes(bytes.get(number_at..number_at + 8)?.try_into().ok()?);
    let order = u32::try_from(number >> 59).ok().filter(|order| *order <= ORDER_MAX)?;
    let (region, index) = ((number >> 20) & 0xF_FFFF, number & (0xF_FFFF >> order));
    let bytes_of_page = PAGE_BYTES << order;
    let offset = PAGE_BYTES + region * REGION_PAGES * PAGE_BYTES + index * bytes_of_page;
    let checksum = u128_at(bytes, checksum_at)?;
    (offset + bytes_of_page <= file_bytes).then_some(Node { offset, bytes: bytes_of_page, checksum, of })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_le_bytes(bytes.get(at..at + 16)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::disk::FileDisk;
    use super::super::{Imported, Store};
    use super::*;

    fn fits(path: &std::path::Path) -> bool {
        all_fit(&FileDisk::open_to_read(path).unwrap().unwrap())
    }

    #[test]
    fn a_closed_file_fits_and_one_that_is_open_or_changed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlaid.redb");
        drop(Store::open_or_create(&path).unwrap());
        assert!(fits(&path));
        let open = Store::open(&path).unwrap();
        let copy = folder.path().join("copy");
        std::fs::copy(&path, &copy).unwrap();
        assert!(fits(&copy), "nothing was written to it");
        open.import(&Imported::default(), ("tree", "all of it")).unwrap();
        std::fs::copy(&path, &copy).unwrap();
        assert!(!fits(&copy), "it was not closed");
        drop(open);
        let whole = std::fs::read(&path).unwrap();
        for (at, byte) in [(9, whole[9] ^ 1), (9, whole[9] ^ 2), (16, 1), (28, whole[28] ^ 1)] {
            let mut changed = whole.clone();
            changed[at] = byte;
            std::fs::write(&copy, &changed).unwrap();
            assert!(!fits(&copy), "byte {at}");
        }
    }
}
