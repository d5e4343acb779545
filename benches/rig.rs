//! What all benchmark programs need: made-up data, the server as a process, a load generator, and what the kernel says.
//!
//! The load generator must be cheaper than any server it loads, or it would be what is measured. So it keeps raw
//! connections open, sends requests that were put together beforehand, and reads no more of an answer than its status
//! and its length.

pub(crate) mod client;
pub(crate) mod data;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod wire;
