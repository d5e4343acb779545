//! A mark in the file's first page that says how far the file is known to be on the disk.
//!
//! The engine writes a commit with one sync. If what it wrote does not fit its checksums when the file is opened, it takes
//! the commit for one that was under way when the power went, and shows the one before. That is right after a power cut, and
//! wrong if the commit was on the disk, acknowledged, and damaged later: then the last change would be gone without a word. The
//! engine can not tell the two apart. The mark can: it is written once the sync has succeeded, and names the last change of
//! that commit. A file that ends before the change that its mark names was damaged, and is refused.
//!
//! The mark itself is never synced, which costs nothing and loses nothing: a killed process leaves it in the file, and a power
//! cut may take it but can not keep it without the commit that it names, which was on the disk before. So after a power cut the mark may
//! be that of the commit before, and damage to the very last one goes unseen then. A file gets its first mark before its tables, so one
//! whose mark can not be read was damaged, and is refused; but for files of older layouts, which
//! programs without marks wrote too.
//!
//! It stands in a sector of its own, behind all that the engine reads or writes of that page. As a copy of the file may be made at any
//! time, a mark is not written while somebody may have read the page's beginning and not yet its end: the copy would hold the
//! commit before, which is whole, and a mark that speaks against it. It is written once the copy has ended.

use xxhash_rust::xxh3::xxh3_128;

/// Where it stands: the last sector of the engine's first page, of which the engine uses the first 320 bytes.
pub(super) const OFFSET: u64 = 4_096 - 512;
const MAGIC: &[u8; 8] = b"on disk\x01";
const FIELDS_BYTES: usize = 16;
/// Magic, the number of a change, and the checksum of both.
pub(super) const BYTES: usize = FIELDS_BYTES + 16;

/// The mark that the change `seq` is on the disk, with all before it.
pub(super) fn encode(seq: u64) -> [u8; BYTES] {
    let mut mark = [0; BYTES];
    let (fields, checksum) = mark.split_at_mut(FIELDS_BYTES);
    let (magic, number) = fields.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    number.copy_from_slice(&seq.to_le_bytes());
    checksum.copy_from_slice(&xxh3_128(fields).to_le_bytes());
    mark
}

/// The change that a mark names; `None` if these bytes are no mark.
pub(super) fn decode(mark: &[u8; BYTES]) -> Option<u64> {
    let (fields, checksum) = mark.split_at_checked(FIELDS_BYTES)?;
    let number = fields.strip_prefix(MAGIC)?;
    let is_whole = checksum == xxh3_128(fields).to_le_bytes();
    is_whole.then_some(u64::from_le_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_its_change_and_any_flipped_bit_makes_it_none() {
        for seq in [0, 1, 7, u64::MAX] {
            let mark = encode(seq);
            assert_eq!(decode(&mark), Some(seq));
            for bit in 0..BYTES * 8 {
                let mut flipped = mark;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&flipped), None, "bit {bit}");
            }
        }
        assert_eq!(decode(&[0; BYTES]), None);
    }
}
