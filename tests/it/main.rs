//! What holds for the whole program, tested through what others may use of it. One binary, so that it links once.

// Marked as tests, so that the lints that are lenient in tests are so in their helpers too.
#[cfg(test)]
mod props;
#[cfg(test)]
mod tidy;
