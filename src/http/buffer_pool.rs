//! Buffers of streamed answers, used again.
//!
//! The system maps, clears and unmaps a fresh buffer of this size each time, which takes longer than writing the views
//! into it.

use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;

/// Bytes of one frame of a streamed answer: few system calls, and many streams fit in memory.
pub(super) const BUFFER_BYTES: usize = 128 * 1024;
/// The last view of a buffer may go beyond that.
const CAPACITY: usize = BUFFER_BYTES + BUFFER_BYTES / 8;
/// Buffers that the pool keeps while nobody uses them: 1.2 MB.
const KEPT_MAX: usize = 8;

static POOL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Takes an empty buffer out of the pool, or makes one.
pub(super) fn take() -> Vec<u8> {
    let kept = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.unwrap_or_else(|| Vec::with_capacity(CAPACITY))
}

/// Makes a frame of a filled buffer. The buffer returns to the pool when the last reader drops the frame.
pub(super) fn into_bytes(buffer: Vec<u8>) -> Bytes {
    Bytes::from_owner(Buffer(buffer))
}

struct Buffer(Vec<u8>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        // One that grew for unusually large views is not kept.
        if buffer.capacity() == CAPACITY {
            buffer.clear();
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.len() < KEPT_MAX {
                pool.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_empty_again_when_it_is_used_again() {
        for round in 0..3_u8 {
            let mut buffers: Vec<_> = (0..2 * KEPT_MAX).map(|_| take()).collect();
            assert!(buffers.iter().all(|buffer| buffer.is_empty() && buffer.capacity() >= CAPACITY));
            for buffer in &mut buffers {
                buffer.extend_from_slice(&[round; 100]);
            }
            let frames: Vec<_> = buffers.into_iter().map(into_bytes).collect();
            assert!(frames.iter().all(|frame| frame[..] == [round; 100]));
        }
        assert!(POOL.lock().unwrap().len() <= KEPT_MAX);
    }
}
