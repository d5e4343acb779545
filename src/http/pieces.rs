//! Memory for answers, used again.
//!
//! A fresh piece of a streamed answer is mapped, touched page by page and unmapped by the system each time, which takes longer than writing
//! the views into it.

use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;

/// Size of a streamed piece: large enough to cost few system calls, small enough that many streams fit in memory.
pub(super) const PIECE_BYTES: usize = 128 * 1024;
/// The last view of a piece goes beyond the size.
const ROOM: usize = PIECE_BYTES + PIECE_BYTES / 8;
/// Pieces that are kept while nobody uses them: 1.2 MB.
const KEPT_MAX: usize = 8;

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

#[cfg(test)]
mod tests {
    use super::*;

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
