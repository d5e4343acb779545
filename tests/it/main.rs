//! Everything that drives the program from outside, in one binary.
//!
//! What is pure is tested where it stands; here are properties held against oracles, the rules of the source tree
//! itself, and the program as its users meet it: as a library, over HTTP and as a process.
#![cfg(test)]

mod access;
mod ages;
mod answers;
mod backup;
mod browser;
mod cache;
mod calculator;
mod changes;
mod cli;
mod clients;
mod conditions;
mod copies;
mod cors;
mod crash;
mod damage;
mod deploy;
mod docs;
mod doctor;
mod export;
mod failed_sync;
mod faults;
mod file;
mod foreign;
mod format;
mod full_disk;
mod hostile;
mod http;
mod kill;
mod kit;
mod legacy;
mod legacy_cli;
mod legacy_kill;
mod legacy_left;
mod legacy_packs;
mod legacy_shapes;
mod life;
mod model;
mod neighbours;
mod openapi;
mod overlays;
mod page;
mod paging;
mod props;
mod readme;
mod records;
mod replace;
mod request_log;
mod runs;
mod senders;
mod start;
mod stats;
mod store;
mod symbols;
mod tags;
mod tidy;
mod tokens;
mod writes;
mod year;
