//! The bytes of a model: from this site, with progress, or from files of the reader's machine.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, FileList, ReadableStreamDefaultReader, Response};

/// What could not be read, and why.
pub type Result<T> = std::result::Result<T, String>;

/// Names of the files of a model folder.
pub const FILES: [&str; 4] = ["config.json", "tokenizer.json", "model.safetensors", OPTIONAL_FILE];
/// The one of them that may be missing.
pub const OPTIONAL_FILE: &str = "tokenizer_config.json";

fn reason(value: &JsValue) -> String {
    value.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{value:?}"), |error| String::from(error.message()))
}

/// The body of `url`, `None` where the server has no such file; `progress` hears the bytes so far and, where the server says it, their number in the end.
pub async fn from_url(url: &str, progress: impl Fn(u64, Option<u64>)) -> Result<Option<Vec<u8>>> {
    let failed = |cause: &JsValue| format!("{url}: {}", reason(cause));
    let response = JsFuture::from(leptos::prelude::window().fetch_with_str(url)).await.map_err(|e| failed(&e))?;
    let response: Response = response.unchecked_into();
    if response.status() == 404 {
        return Ok(None);
    }
    if !response.ok() {
        return Err(format!("{url}: HTTP {}", response.status()));
    }
    let length = response.headers().get("content-length").ok().flatten();
    let total = length.and_then(|length| length.parse().ok());
    let body = response.body().ok_or_else(|| format!("{url}: no body"))?;
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(|e| failed(&e))?;
        let field = |name: &str| Reflect::get(&chunk, &name.into()).unwrap_or(JsValue::UNDEFINED);
        if field("done").is_truthy() {
            return Ok(Some(bytes));
        }
        let start = bytes.len();
        let chunk: Uint8Array = field("value").unchecked_into();
        bytes.resize(start + chunk.length() as usize, 0);
        chunk.copy_to(&mut bytes[start..]);
        progress(bytes.len() as u64, total);
    }
}

/// The file of this name among those that were chosen, `None` where there is none.
pub async fn from_files(files: &FileList, name: &str) -> Result<Option<Vec<u8>>> {
    let mut all = (0..files.length()).filter_map(|index| files.item(index));
    let Some(file): Option<File> = all.find(|file| file.name() == name) else { return Ok(None) };
    let buffer = JsFuture::from(file.array_buffer()).await.map_err(|cause| format!("{name}: {}", reason(&cause)))?;
    Ok(Some(Uint8Array::new(&buffer).to_vec()))
}
