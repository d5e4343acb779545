//! Drives the program from outside: through its public library surface, over HTTP, and as a process.

mod cli;
mod hostile;
mod http;
mod process;
mod readme;
