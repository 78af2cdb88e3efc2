//! Answers of servers, and files of the reader's machine.

use std::time::Duration;

use anaume_core::report::site::SiteIndex;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, DomException, File, HtmlAnchorElement, HtmlInputElement, ReadableStream, RequestInit,
    RequestMode, Response, Url, WorkerGlobalScope,
};

use crate::protocol::{Failure, Hint, Result};

/// How long a file is kept for its download.
const DOWNLOAD_TIME: Duration = Duration::from_secs(60);

/// The words of a JavaScript error.
pub fn reason(value: &JsValue) -> String {
    value.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{value:?}"), |error| String::from(error.message()))
}

/// The answer of a server, whatever it says.
///
/// # Errors
/// A server that cannot be reached or does not let this page read.
pub async fn answer(url: &str, options: &RequestInit) -> Result<Response> {
    // The page's scope fetches under the same name.
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    match JsFuture::from(scope.fetch_with_str_and_init(url, options)).await {
        Ok(response) => Ok(response.unchecked_into()),
        Err(cause) => Err(unreachable(url, &cause).await),
    }
}

/// Whether the answer is the file.
///
/// # Errors
/// Every other answer, in words.
pub fn successful(url: &str, response: &Response) -> Result<()> {
    let hint = match response.status() {
        _ if response.ok() => return Ok(()),
        401 | 403 => Hint::TakePublic,
        404 | 410 => Hint::CheckAddress,
        _ => Hint::TryAgain,
    };
    Err(Failure::new(format!("{url}: HTTP {}", response.status())).with(hint))
}

/// Why no answer came: browsers tell pages the same words for all reasons.
async fn unreachable(url: &str, cause: &JsValue) -> Failure {
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    let failure = Failure::new(format!("{url}: {}", reason(cause)));
    if cause.dyn_ref::<DomException>().is_some_and(|cause| cause.name() == "AbortError") {
        return failure;
    }
    if !scope.navigator().on_line() {
        return failure.with(Hint::GoOnline);
    }
    let blind = RequestInit::new();
    blind.set_method("HEAD");
    blind.set_mode(RequestMode::NoCors);
    let is_there = JsFuture::from(scope.fetch_with_str_and_init(url, &blind)).await.is_ok();
    failure.with(if is_there { Hint::AllowOrigins } else { Hint::TryAgain })
}

/// The content of a file from the network, as it comes.
pub async fn stream(url: &str) -> Result<ReadableStream> {
    let response = answer(url, &RequestInit::new()).await?;
    successful(url, &response)?;
    response.body().ok_or_else(|| Failure::new(format!("{url}: no body")))
}

/// A text from the network.
pub async fn text(url: &str) -> Result<String> {
    let failed = |cause| Failure::new(format!("{url}: {}", reason(&cause))).with(Hint::TryAgain);
    let response = answer(url, &RequestInit::new()).await?;
    successful(url, &response)?;
    let text = JsFuture::from(response.text().map_err(failed)?).await.map_err(failed)?;
    Ok(text.as_string().unwrap_or_default())
}

/// What stands beside the page; a site without an index offers nothing, and the reader's own files remain.
pub async fn site_index() -> SiteIndex {
    text("site.json").await.ok().and_then(|text| SiteIndex::from_json(&text).ok()).unwrap_or_default()
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

/// The bytes of a file of the reader's machine.
pub async fn bytes_of(file: &File) -> Result<Vec<u8>> {
    let failed = |cause| Failure::new(format!("{}: {}", file.name(), reason(&cause)));
    let buffer = JsFuture::from(file.array_buffer()).await.map_err(failed)?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// A text as a file.
pub fn blob(media_type: &str, text: &str) -> std::result::Result<Blob, JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    let parts = Array::of1(&Uint8Array::from(text.as_bytes()));
    Blob::new_with_u8_array_sequence_and_options(&parts, &options)
}

/// Gives a file to the reader; in a browser without downloads its content is to be seen on the page.
pub fn save(name: &str, file: std::result::Result<Blob, JsValue>) {
    if let Ok(url) = file.and_then(|file| Url::create_object_url_with_blob(&file)) {
        save_as(name, &url);
    }
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
