//! The worker.

fn main() {
    anaume_web::begin();
    anaume_web::worker::start();
}
