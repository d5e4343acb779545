//! Everything that is tested through the public surface, in one binary.

// Under `cfg(test)`, so that the lints that are lenient in tests are lenient with helpers too.
#[cfg(test)]
mod legacy;
#[cfg(test)]
mod legacy_tree;
