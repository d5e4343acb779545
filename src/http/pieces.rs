//! Memory for answers, used again.
//!
//! A fresh piece of a streamed answer is mapped, touched page by page and unmapped by the system each time, which takes longer than writing
//! the views into it. A single view is larger than what the allocator has at hand, and each thread keeps some memory for these instead.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;

/// Size of a streamed piece: large enough to cost few system calls, small enough that many streams fit in memory.
pub(super) const PIECE_BYTES: usize = 128 * 1024;
/// The last view of a piece goes beyond the size.
const ROOM: usize = PIECE_BYTES + PIECE_BYTES / 8;
/// Pieces that are kept while nobody uses them: 1.2 MB.
const KEPT_MAX: usize = 8;

/// Largest memory for a single answer that is kept: several times what a usual view takes.
const SMALL_BYTES_MAX: usize = 4 * 1024;
/// How many of these a thread keeps: one is in use at a time, and more only while clients are slow to take theirs.
const SMALL_KEPT_MAX: usize = 8;

thread_local! {
    static SMALL_KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty piece. What it becomes goes back when the last reader has let go of it.
pub(super) fn empty() -> Vec<u8> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.unwrap_or_else(|| Vec::with_capacity(ROOM))
}

/// A filled piece as what an answer is made of.
pub(super) fn sealed(piece: Vec<u8>) -> Bytes {
    Bytes::from_owner(Piece(piece))
}

struct Piece(Vec<u8>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut piece = std::mem::take(&mut self.0);
        // One that had to grow for unusually large views is not kept.
        if piece.capacity() == ROOM {
            piece.clear();
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT_MAX {
                kept.push(piece);
            }
        }
    }
}

/// An answer of about `size` bytes, in memory that goes to the thread that lets go of it.
pub(super) fn small(size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = SMALL_KEPT.with(|kept| kept.borrow_mut().pop()).unwrap_or_default();
    bytes.reserve(size);
    write(&mut bytes);
    Bytes::from_owner(Small(bytes))
}

struct Small(Vec<u8>);

impl AsRef<[u8]> for Small {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        if bytes.capacity() <= SMALL_BYTES_MAX {
            bytes.clear();
            // A thread that ends keeps nothing.
            let _ = SMALL_KEPT.try_with(|kept| {
                let mut kept = kept.borrow_mut();
                if kept.len() < SMALL_KEPT_MAX {
                    kept.push(bytes);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_small_answer_is_used_for_the_next() {
        let write = |text: &'static [u8]| small(100, |out| out.extend_from_slice(text));
        let first = write(b"first");
        let second = write(b"second");
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
        let at = first.as_ptr();
        let clone = first.clone();
        drop(first);
        assert_ne!(write(b"third").as_ptr(), at, "somebody still reads it");
        drop(clone);
        let fourth = write(b"4");
        assert_eq!((&fourth[..], fourth.as_ptr()), (&b"4"[..], at));
        drop(small(SMALL_BYTES_MAX + 1, |out| out.push(b'x')));
        drop((0..3 * SMALL_KEPT_MAX).map(|_| small(1, |_| ())).collect::<Vec<_>>());
        SMALL_KEPT.with_borrow(|kept| {
            assert_eq!(kept.len(), SMALL_KEPT_MAX);
            assert!(kept.iter().all(|bytes| bytes.is_empty() && bytes.capacity() <= SMALL_BYTES_MAX));
        });
    }

    #[test]
    fn a_piece_is_empty_again_when_it_is_used_again() {
        for round in 0..3_u8 {
            let mut pieces: Vec<_> = (0..2 * KEPT_MAX).map(|_| empty()).collect();
            assert!(pieces.iter().all(|piece| piece.is_empty() && piece.capacity() >= ROOM));
            for piece in &mut pieces {
                piece.extend_from_slice(&[round; 100]);
            }
            let sealed: Vec<_> = pieces.into_iter().map(sealed).collect();
            assert!(sealed.iter().all(|bytes| bytes[..] == [round; 100]));
        }
        assert!(KEPT.lock().unwrap().len() <= KEPT_MAX);
    }
}
