//! The program's allocator: quick to give large blocks again, and orderly when memory is exhausted.

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

use crate::exit::Exit;

/// mimalloc, which keeps what tensors gave back: the system's allocator returns large blocks at once, and every operation
/// would wait for fresh pages that the kernel fills with zeros. Where nothing is left, the program says so and ends with its
/// documented code instead of aborting. A run goes on from its last checkpoint.
struct Orderly;

#[global_allocator]
static ALLOCATOR: Orderly = Orderly;

// SAFETY: every call goes to mimalloc as it came; a null pointer never returns.
unsafe impl GlobalAlloc for Orderly {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `MiMalloc` asks for; likewise below.
        checked(unsafe { MiMalloc.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see `alloc`.
        checked(unsafe { MiMalloc.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: see `alloc`.
        checked(unsafe { MiMalloc.realloc(pointer, layout, new_size) }, new_size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: see `alloc`.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

fn checked(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        crate::say::untranslated(format_args!(
            "error: out of memory: {bytes} bytes more cannot be had; lower the batch or the length"
        ));
        std::process::exit(Exit::Resource as i32);
    }
    pointer
}
