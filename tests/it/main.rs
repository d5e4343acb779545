//! Everything that is tested through the public surface, in one binary.

mod legacy;
mod legacy_tree;
