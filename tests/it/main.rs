//! Tests that drive the public surface, in one binary.

#[cfg(test)]
mod http_plumbing;
