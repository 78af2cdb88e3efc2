//! A fuzzer of the parser that `ANAUME_FUZZ` names.

#![no_main]

use std::sync::OnceLock;

use anaume_fuzz::{Limited, TARGETS};

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// The parser.
fn target() -> fn(&[u8]) {
    let name = std::env::var("ANAUME_FUZZ").unwrap_or_default();
    if ["parquet", "tokenizer"].contains(&name.as_str()) {
        // Where their libraries panic the readers make an error of that; libFuzzer would end the process before.
        std::panic::set_hook(Box::new(|_| ()));
    }
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("ANAUME_FUZZ must be one of {:?}", TARGETS.map(|(name, _)| name))).1
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(target)(bytes);
});
