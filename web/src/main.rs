//! Anaume in the browser: fills masks with the same `core` functions that the command line calls.

mod engine;
mod fetch;
mod page;
mod texts;

fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(page::FillMaskPage);
}
