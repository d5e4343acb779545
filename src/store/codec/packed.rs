//! Records of signals in few bytes: zstd, with a dictionary that all of them share.
//!
//! Signals are what a file grows by: one record of some 300 bytes a signal, for ever, of which most is names and words
//! that stand in every other one too. A record alone is too short for a compressor to learn them from, so they stand in
//! a dictionary, which is prepared once. That brings a record to about a fourth, and costs some microseconds.
//!
//! The dictionary is part of the file format, like the structs of the records: a record can not be read without the one
//! that it was written with. So it never changes; another one is another file in `data/` and another version byte. It
//! was trained on signals that the test below makes up, which shows how it can be made again from its source.
//!
//! What is unpacked is bounded by a buffer of the largest record's size. A frame that asks for more, or that is none,
//! is an error.

use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::CParameter;

use super::{DecodeError, RECORD_BYTES_MAX};

const DICTIONARY: &[u8] = include_bytes!("../../../data/signals-1.zdict");
/// Higher levels take longer and win a few bytes in a hundred.
const LEVEL: i32 = 3;

static TO_PACK: LazyLock<Option<EncoderDictionary<'static>>> =
    LazyLock::new(|| EncoderDictionary::try_copy(DICTIONARY, LEVEL).ok());
static TO_UNPACK: LazyLock<Option<DecoderDictionary<'static>>> =
    LazyLock::new(|| DecoderDictionary::try_copy(DICTIONARY).ok());

/// Appends a record in packed form to `out`; returns whether it did, which it does not if that would not be shorter.
pub(super) fn pack(plain: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(mut context) = new_packer() else { return false };
    let mut packed = Vec::with_capacity(plain.len());
    // It fails only if the buffer is too small: then it is not shorter.
    let is_shorter = context.compress_to_buffer(plain, &mut packed).is_ok_and(|len| len < plain.len());
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

/// Unpacks records one after the other; most of what the first one costs is the memory that the others use again.
#[derive(Default)]
pub(in crate::store) struct Unpacker {
    context: Option<Decompressor<'static>>,
    plain: Vec<u8>,
}

impl Unpacker {
    /// Returns a record as it was before it was packed.
    pub(super) fn unpack(&mut self, packed: &[u8]) -> Result<&[u8], DecodeError> {
        let failed = |detail: &str| DecodeError::Layout(format!("packed: {detail}"));
        let context = match &mut self.context {
            Some(context) => context,
            none => {
                let dictionary = TO_UNPACK.as_ref().ok_or_else(|| failed("the dictionary can not be read"))?;
                let made = Decompressor::with_prepared_dictionary(dictionary);
                none.insert(made.map_err(|error| failed(&error.to_string()))?)
            }
        };
        self.plain.clear();
        self.plain.reserve(RECORD_BYTES_MAX);
        context.decompress_to_buffer(packed, &mut self.plain).map_err(|error| failed(&error.to_string()))?;
        Ok(&self.plain)
    }
}

#[cfg(test)]
mod tests;
