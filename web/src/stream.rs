//! Long work in small pieces, so that the page never stands still, and large files read that way.

use js_sys::{Promise, Reflect, Uint8Array};
use leptos::prelude::{set_timeout, window};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

use crate::fetch::reason;
use crate::protocol::{Failure, Result};

/// Milliseconds that a piece of work may take; a frame has 16.
const PIECE_MS: f64 = 10.0;

/// Lets the page draw and listen before what follows.
pub async fn pause() {
    let later = Promise::new(&mut |resolve, _| {
        let resolve = move || _ = resolve.call0(&JsValue::UNDEFINED);
        set_timeout(resolve, std::time::Duration::ZERO);
    });
    // A timer always comes.
    let _ = JsFuture::from(later).await;
}

/// The time since the last pause.
pub struct Piece(f64);

impl Piece {
    /// A piece of work that starts now.
    pub fn start() -> Self {
        Self(now())
    }

    /// Pauses if the piece is long enough, and starts the next.
    pub async fn rest(&mut self) {
        if now() - self.0 > PIECE_MS {
            pause().await;
            self.0 = now();
        }
    }
}

fn now() -> f64 {
    window().performance().map_or(0.0, |performance| performance.now())
}

/// Reads a text; `line` gets each of its lines that has an end, with a pause now and then. What stands behind the last
/// end, such as a line that is still being written, comes back.
pub async fn lines(stream: &ReadableStream, mut line: impl FnMut(&str) -> Result<()>) -> Result<String> {
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let (mut rest, mut piece) = (Vec::new(), Piece::start());
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(|cause| Failure::new(reason(&cause)))?;
        let field = |name: &str| Reflect::get(&chunk, &name.into()).unwrap_or(JsValue::UNDEFINED);
        if field("done").is_truthy() {
            return text(&rest).map(str::to_owned);
        }
        let chunk: Uint8Array = field("value").unchecked_into();
        let start = rest.len();
        rest.resize(start + chunk.length() as usize, 0);
        chunk.copy_to(&mut rest[start..]);
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            line(text(&rest[from..from + length])?)?;
            from += length + 1;
            piece.rest().await;
        }
        rest.drain(..from);
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(Failure::new)
}
