//! Properties: what holds for every input, checked on many random ones against oracles written independently.

mod json;
mod numbers;
mod sizing;
