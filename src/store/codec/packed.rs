//! Records of signals in few bytes: zstd, with a dictionary that all of them share.
//!
//! Signals are what a file grows by: one record of some 300 bytes a signal, for ever, of which most is names and words
//! that stand in every other one too. A record alone is too short for a compressor to learn them from, so they stand in
//! a dictionary. That brings a record to about a fourth, and costs some microseconds to write and one or two to read,
//! as the dictionary is prepared once and the contexts are used again.
//!
//! The dictionary is part of the file format, like the structs of the records: a record can not be read without the one
//! that it was written with. So it never changes; another one is another file in `data/` and another version byte. It
//! was trained on signals that the test below makes up, which shows how it can be made again from its source.
//!
//! What is unpacked is bounded by a buffer of the largest record's size. A frame that asks for more, or that is none,
//! is an error.

use std::sync::{LazyLock, Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::CParameter;

use super::{DecodeError, RECORD_BYTES_MAX};

const DICTIONARY: &[u8] = include_bytes!("../../../data/signals-1.zdict");
/// Higher levels take longer and win a few bytes in a hundred.
const LEVEL: i32 = 3;
/// Contexts that are kept for the next who needs one; each holds some 200 KiB, and more threads than this do not read
/// at once.
const KEPT_MAX: usize = 8;

static TO_PACK: LazyLock<Option<EncoderDictionary<'static>>> =
    LazyLock::new(|| EncoderDictionary::try_copy(DICTIONARY, LEVEL).ok());
static TO_UNPACK: LazyLock<Option<DecoderDictionary<'static>>> =
    LazyLock::new(|| DecoderDictionary::try_copy(DICTIONARY).ok());

static PACKERS: Kept<Compressor<'static>> = Kept::new();
static UNPACKERS: Kept<Unpacker> = Kept::new();

struct Unpacker {
    context: Decompressor<'static>,
    /// Its capacity is the bound on what is unpacked.
    buffer: Vec<u8>,
}

/// Things that are dear to make and are used again.
struct Kept<T>(Mutex<Vec<T>>);

impl<T> Kept<T> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, used: T) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(used);
        }
    }
}

/// Appends a record in packed form to `out`; returns whether it did, which it does not if that would not be shorter.
pub(super) fn pack(plain: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(mut context) = PACKERS.take().or_else(new_packer) else { return false };
    let mut packed = Vec::with_capacity(plain.len());
    // Too little room is the only way to fail, and as good as not being shorter.
    let is_shorter = context.compress_to_buffer(plain, &mut packed).is_ok_and(|len| len < plain.len());
    PACKERS.give_back(context);
    if is_shorter {
        out.extend_from_slice(&packed);
    }
    is_shorter
}

fn new_packer() -> Option<Compressor<'static>> {
    let mut context = Compressor::with_prepared_dictionary(TO_PACK.as_ref()?).ok()?;
    // The version byte names the dictionary already, and the buffer bounds the size.
    context.set_parameter(CParameter::DictIdFlag(false)).ok()?;
    context.set_parameter(CParameter::ContentSizeFlag(false)).ok()?;
    Some(context)
}

/// Shows `read` a record as it was before it was packed.
pub(super) fn unpack<T>(packed: &[u8], read: impl FnOnce(&[u8]) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let failed = |detail: &str| DecodeError::Layout(format!("packed: {detail}"));
    let kept = UNPACKERS.take().or_else(new_unpacker);
    let mut unpacker = kept.ok_or_else(|| failed("the dictionary can not be read"))?;
    unpacker.buffer.clear();
    let result = match unpacker.context.decompress_to_buffer(packed, &mut unpacker.buffer) {
        Ok(_) => read(&unpacker.buffer),
        Err(error) => Err(failed(&error.to_string())),
    };
    UNPACKERS.give_back(unpacker);
    result
}

fn new_unpacker() -> Option<Unpacker> {
    let context = Decompressor::with_prepared_dictionary(TO_UNPACK.as_ref()?).ok()?;
    Some(Unpacker { context, buffer: Vec::with_capacity(RECORD_BYTES_MAX) })
}

#[cfg(test)]
mod tests;
