//! Everything that drives the program from outside, in one binary.
//!
//! What is pure is tested where it stands; here are properties held against oracles, the rules of the source tree itself, and the
//! program as its users meet it: over HTTP and as a process.

// Under `cfg(test)`, so that the lints that are lenient in tests are lenient with helpers too.
#[cfg(test)]
mod cli;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod process;
#[cfg(test)]
mod props;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod tidy;
