//! The program from the outside: what is in here drives the public surface only, in one binary.
#![cfg(test)]

mod cache;
mod direct;
mod file;
mod format;
mod model;
mod paging;
mod records;
mod store;
mod world;
