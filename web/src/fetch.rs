//! The bytes of a model: from this site, with progress and checked, or from files of the reader's machine.

use std::time::Duration;

use anaume_core::report::site::SiteFile;
use js_sys::{Array, Reflect, Uint8Array};
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, HtmlAnchorElement, HtmlInputElement, ReadableStreamDefaultReader, Response, Url, WorkerGlobalScope,
};

use crate::protocol::{Failure, Hint, Result};

/// Names of the files of a model folder.
pub const FILES: [&str; 4] = ["config.json", "tokenizer.json", "model.safetensors", OPTIONAL_FILE];
/// The one of them that may be missing.
pub const OPTIONAL_FILE: &str = "tokenizer_config.json";

/// How long a file is kept for its download.
const DOWNLOAD_TIME: Duration = Duration::from_secs(60);

/// The words of a JavaScript error.
pub fn reason(value: &JsValue) -> String {
    value.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{value:?}"), |error| String::from(error.message()))
}

fn failed(url: &str, cause: &JsValue) -> Failure {
    Failure::new(format!("{url}: {}", reason(cause))).with(Hint::TryAgain)
}

/// The answer of the server, if it has the file.
async fn response(url: &str) -> Result<Response> {
    // The page's scope fetches under the same name.
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    let response = JsFuture::from(scope.fetch_with_str(url)).await.map_err(|cause| failed(url, &cause))?;
    let response: Response = response.unchecked_into();
    if response.ok() {
        return Ok(response);
    }
    Err(Failure::new(format!("{url}: HTTP {}", response.status())).with(Hint::TryAgain))
}

/// The file beside the page, checked against what is known of it; `progress` hears the bytes so far.
pub async fn from_url(file: &SiteFile, progress: impl Fn(u64)) -> Result<Vec<u8>> {
    let url = &file.url;
    let response = response(url).await?;
    let body = response.body().ok_or_else(|| Failure::new(format!("{url}: no body")))?;
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    let (mut bytes, mut hash) = (Vec::new(), Sha256::new());
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(|cause| failed(url, &cause))?;
        let field = |name: &str| Reflect::get(&chunk, &name.into()).unwrap_or(JsValue::UNDEFINED);
        if field("done").is_truthy() {
            break;
        }
        let start = bytes.len();
        let chunk: Uint8Array = field("value").unchecked_into();
        bytes.resize(start + chunk.length() as usize, 0);
        chunk.copy_to(&mut bytes[start..]);
        hash.update(&bytes[start..]);
        progress(bytes.len() as u64);
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match &file.sha256 {
        Some(expected) if *expected != found => {
            let what = format!("{url}: SHA-256 {found} is not {expected}: the file is damaged or has changed");
            Err(Failure::new(what).with(Hint::TryAgain))
        }
        _ => Ok(bytes),
    }
}

/// A text beside the page.
pub async fn text(url: &str) -> Result<String> {
    let failed = |cause| failed(url, &cause);
    let text = response(url).await?.text().map_err(failed)?;
    let text = JsFuture::from(text).await.map_err(failed)?;
    Ok(text.as_string().unwrap_or_default())
}

/// The files that a reader chose. The choice is taken back from the page, so that the same file can be chosen again.
pub fn chosen(event: &leptos::ev::Event) -> Vec<File> {
    let Some(input) = event.target().map(|target| target.unchecked_into::<HtmlInputElement>()) else {
        return Vec::new();
    };
    let files = input.files().map(|files| Array::from(&files).iter().map(JsCast::unchecked_into).collect());
    input.set_value("");
    files.unwrap_or_default()
}

/// The text of a file of the reader's machine.
pub async fn text_of(file: &File) -> Result<String> {
    let failed = |cause| Failure::new(format!("{}: {}", file.name(), reason(&cause)));
    let text = JsFuture::from(file.text()).await.map_err(failed)?;
    Ok(text.as_string().unwrap_or_default())
}

/// The file of this name among those that were chosen, `None` where there is none.
pub async fn from_files(files: &[File], name: &str) -> Result<Option<Vec<u8>>> {
    match files.iter().find(|file| file.name() == name) {
        Some(file) => bytes_of(file).await.map(Some),
        None => Ok(None),
    }
}

/// The bytes of a file of the reader's machine.
pub async fn bytes_of(file: &File) -> Result<Vec<u8>> {
    let failed = |cause| Failure::new(format!("{}: {}", file.name(), reason(&cause)));
    let buffer = JsFuture::from(file.array_buffer()).await.map_err(failed)?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// Gives what stands under the address of a blob to the reader as a file.
pub fn save_as(name: &str, url: &str) {
    let Ok(link) = leptos::prelude::document().create_element("a") else { return };
    let link: HtmlAnchorElement = link.unchecked_into();
    link.set_href(url);
    link.set_download(name);
    link.click();
    // The browser reads it after the click; then its memory can go.
    let url = url.to_owned();
    leptos::prelude::set_timeout(move || _ = Url::revoke_object_url(&url), DOWNLOAD_TIME);
}
