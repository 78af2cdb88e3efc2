//! The helpers of the tests that need no tensors.

#[path = "../../src/plain.rs"]
mod plain;

pub use plain::*;
