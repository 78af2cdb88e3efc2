//! The tests of `core/src/metrics` and `core/src/masking.rs`.

extern crate anaume_mutants as anaume_tests;

#[path = "../../comparison.rs"]
mod comparison;
#[path = "../../masking.rs"]
mod masking;
#[path = "../../metrics.rs"]
mod metrics;
// For its readers of figures, which `comparison.rs` uses; the rest of them are used by tests of figures, which are not here.
#[path = "../../plot.rs"]
#[allow(dead_code, reason = "tests of figures use the rest")]
mod plot;
