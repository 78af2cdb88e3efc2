//! The tests of `core/src/metrics` and `core/src/masking.rs`.

extern crate anaume_mutants as anaume_tests;

#[path = "../../comparison.rs"]
mod comparison;
#[path = "../../masking.rs"]
mod masking;
#[path = "../../metrics.rs"]
mod metrics;
#[path = "../../plot.rs"]
#[allow(dead_code, reason = "another test uses its helpers")]
mod plot;
