//! Sorting of more than fits into memory.
//!
//! Pairs of bytes are buffered up to a bound, then written as a sorted run to a temporary file that has no name any
//! more, so that nothing stays behind when the program is killed. Reading merges the runs. Everything in this module
//! that grows with the number of old files goes through here; that is how five million files fit into the same memory
//! as five.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read, Seek, Write};
use std::iter::Peekable;

use anyhow::{Context as _, Result};

/// What a buffered pair costs beside its bytes.
const PAIR_OVERHEAD: usize = 48;

type Pair = (Box<[u8]>, Box<[u8]>);

/// Pairs on their way into order.
#[derive(Debug)]
pub(super) struct Sorter {
    bytes_max: usize,
    bytes: usize,
    buffer: Vec<Pair>,
    runs: Vec<File>,
}

impl Sorter {
    /// Makes an empty sorter that holds about `bytes_max` in memory and the rest in the system's folder for temporary
    /// files.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, buffer: Vec::new(), runs: Vec::new() }
    }

    /// Adds a pair. Equal pairs are kept.
    ///
    /// # Errors
    ///
    /// If a run can not be written.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.bytes += key.len() + value.len() + PAIR_OVERHEAD;
        self.buffer.push((key.into(), value.into()));
        if self.bytes >= self.bytes_max { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        self.buffer.sort_unstable();
        let mut out = BufWriter::with_capacity(1 << 18, nameless_file()?);
        for (key, value) in self.buffer.drain(..) {
            for bytes in [&key, &value] {
                out.write_all(&u32::try_from(bytes.len()).context("a sorted record is too long")?.to_le_bytes())?;
                out.write_all(bytes)?;
            }
        }
        let mut file =
            out.into_inner().map_err(std::io::IntoInnerError::into_error).context("cannot write a sorted run")?;
        file.rewind()?;
        self.runs.push(file);
        self.bytes = 0;
        self.buffer.shrink_to(1 << 12);
        Ok(())
    }

    /// Returns all pairs in the order of their bytes.
    ///
    /// # Errors
    ///
    /// If a run can not be written or read.
    pub(super) fn finish(mut self) -> Result<Sorted> {
        self.buffer.sort_unstable();
        let mut sorted = Sorted { memory: self.buffer.into_iter(), runs: Vec::new(), heap: BinaryHeap::new() };
        for (index, file) in self.runs.into_iter().enumerate() {
            let mut run = BufReader::with_capacity(1 << 16, file);
            if let Some(pair) = read_pair(&mut run)? {
                sorted.heap.push(Reverse((pair, index + 1)));
            }
            sorted.runs.push(run);
        }
        sorted.refill(0)?;
        Ok(sorted)
    }
}

/// Makes a file without a name in the system's folder for temporary files: it is gone as soon as it is closed.
pub(super) fn nameless_file() -> Result<File> {
    let folder = std::env::temp_dir();
    tempfile::tempfile_in(&folder).with_context(|| format!("cannot create a temporary file in {}", folder.display()))
}

/// Pairs in order.
#[derive(Debug)]
pub(super) struct Sorted {
    memory: std::vec::IntoIter<Pair>,
    runs: Vec<BufReader<File>>,
    heap: BinaryHeap<Reverse<(Pair, usize)>>,
}

impl Sorted {
    /// Puts the next pair of a source (0 is memory) into the heap.
    fn refill(&mut self, source: usize) -> Result<()> {
        let next = match source.checked_sub(1).and_then(|index| self.runs.get_mut(index)) {
            Some(run) => read_pair(run)?,
            None => self.memory.next(),
        };
        if let Some(pair) = next {
            self.heap.push(Reverse((pair, source)));
        }
        Ok(())
    }
}

impl Iterator for Sorted {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((pair, source)) = self.heap.pop()?;
        Some(self.refill(source).map(|()| pair))
    }
}

/// Takes all items up to a key from items in order; returns the last one, if it has that key.
pub(super) fn take_at<K: AsRef<[u8]>, T>(
    items: &mut Peekable<impl Iterator<Item = Result<(K, T)>>>,
    key: &[u8],
) -> Result<Option<T>> {
    let mut found = None;
    // An error is taken too, so that it is returned.
    let is_due = |item: &Result<(K, T)>| item.as_ref().map_or(true, |(known, _)| known.as_ref() <= key);
    while let Some(item) = items.next_if(is_due) {
        let (known, value) = item?;
        found = (known.as_ref() == key).then_some(value);
    }
    Ok(found)
}

fn read_pair(run: &mut BufReader<File>) -> Result<Option<Pair>> {
    if run.fill_buf().context("cannot read a sorted run")?.is_empty() {
        return Ok(None);
    }
    let mut read = || -> Result<Box<[u8]>> {
        let mut length = [0; 4];
        run.read_exact(&mut length)?;
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length))?];
        run.read_exact(&mut bytes)?;
        Ok(bytes.into())
    };
    let mut part = || read().context("cannot read a sorted run");
    Ok(Some((part()?, part()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_comes_out_in_the_same_order() {
        let numbers: Vec<u32> = (0..2_000).map(|number: u32| number.wrapping_mul(2_654_435_761)).collect();
        let sort = |bytes_max| {
            let mut sorter = Sorter::new(bytes_max);
            for number in &numbers {
                sorter.push(&number.to_be_bytes(), &[7; 3]).unwrap();
            }
            sorter.finish().unwrap().map(|pair| pair.unwrap().0).collect::<Vec<_>>()
        };
        let mut expected = numbers.clone();
        expected.sort_unstable();
        let expected: Vec<Box<[u8]>> = expected.iter().map(|number| number.to_be_bytes().into()).collect();
        assert_eq!(sort(usize::MAX), expected);
        assert_eq!(sort(1_000), expected);
        assert_eq!(sort(1), expected);
    }
}
