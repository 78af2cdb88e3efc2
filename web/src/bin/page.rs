//! The page.

fn main() {
    anaume_web::begin();
    leptos::mount::mount_to_body(anaume_web::app::App);
}
