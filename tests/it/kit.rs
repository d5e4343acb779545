//! What several tests need, each once: a server process, an HTTP client, records, trees of old files, and stores to
//! write to.
//!
//! What one test alone needs stands with that test. Nothing here is a test.

mod browser;
mod client;
mod command;
mod dice;
mod direct;
mod disk;
mod events;
mod machine;
mod records;
mod server;
mod trees;
mod world;

pub(crate) use browser::Browser;
pub(crate) use client::{Answer, Connection, answers_to, request, with_member};
pub(crate) use command::{
    code, create_token, done, error, export, files_in, json, program, run, run_token, shown, text, value,
};
pub(crate) use dice::{Dice, effort, in_parallel, seed};
pub(crate) use direct::{Direct, Written, effects, plug_json, seq_of, submit_to, write_to};
pub(crate) use disk::{Fault, MemoryDisk, SECTOR, SHORT_PAUSES, Step};
pub(crate) use events::{Event, Events};
pub(crate) use machine::{SmallDisk, has_tool, run_with_rights, skipped};
pub(crate) use records::{
    EURUSD, EURUSD_PIPS, OUTCOME, OVERLAY, SAMPLES, SIGNAL, delete_overlay, long_overlay, long_signal, object, overlay,
    patch_overlay, patch_signal, pips_signal, put_outcome, put_overlay, put_rate, put_signal, rate, signal, signal_id,
    start, token, user_id,
};
pub(crate) use server::Server;
pub(crate) use trees::{
    MISSION, flat, shapes, small_tree, tree_entries, write_day, write_old, write_pack, write_shapes, write_unusable,
};
pub(crate) use world::{ServedWorld, World, batch};
