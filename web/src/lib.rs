//! Anaume in the browser: the page, and the worker in which the same `core` computes that the command line calls.

#![cfg_attr(not(feature = "worker"), allow(dead_code, reason = "the worker calls what the page does not"))]

pub mod app;
#[cfg(feature = "worker")]
mod download;
mod dropped;
mod engine;
mod fetch;
#[cfg(feature = "worker")]
mod files;
mod look_up;
mod models;
mod offline;
mod pages;
mod passages;
#[cfg(feature = "worker")]
mod prepare;
mod protocol;
mod record;
mod share;
mod store;
mod stream;
mod texts;
#[cfg(feature = "worker")]
pub mod worker;

#[cfg(target_family = "wasm")]
unsafe extern "C" {
    /// Runs what registers itself before `main`, such as the parts of the kernel compiler.
    fn __wasm_call_ctors();
}

/// What both programs do first.
pub fn begin() {
    // A linker that finds no such call puts one before every export, the many small ones of wasm-bindgen among them, and
    // the page stands still for a tenth of a second at each change.
    // SAFETY: it is called once, before anything that it registers is used.
    #[cfg(target_family = "wasm")]
    unsafe {
        __wasm_call_ctors();
    }
    console_error_panic_hook::set_once();
}
