//! What a model is made of that a reader names by address: its files and their exact sizes, before any of them is downloaded.
//!
//! A folder on a server, exported for the browser (`web.json`) or as Hugging Face has it, or `owner/name` on the Hub.

use std::collections::{BTreeMap, BTreeSet};

use anaume_core::config::Config;
use anaume_core::report::FORMAT_VERSION;
use anaume_core::report::site::{WEB_MODEL, WebModel};
use serde::Deserialize;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestCache, RequestInit, Response, Url, UrlSearchParams};

use crate::fetch;
use crate::protocol::{Failure, Hint, Result};
use crate::record::{ModelFile, ModelRecord};

/// Where `owner/name` is.
const HUB: &str = "https://huggingface.co";
/// Files of a model beside its weights; the last may be missing.
const FILES: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];
/// The file of weights, and the list of files where there are several.
const WEIGHTS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// What the Hub says of a repository at a revision.
#[derive(Deserialize)]
struct Repository {
    /// The commit.
    sha: String,
    siblings: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: u64,
    blob_id: String,
    lfs: Option<Lfs>,
}

/// What is known of a large file.
#[derive(Deserialize)]
struct Lfs {
    sha256: String,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct WeightIndex {
    weight_map: BTreeMap<String, String>,
}

/// The model at an address: `owner/name`, `owner/name@revision`, or the URL of a folder or of a page of the Hub.
///
/// # Errors
/// An address that is none, a server that does not answer, a folder that holds no model that can be computed here.
pub async fn look_up(address: &str) -> Result<ModelRecord> {
    let (address, hub) = (address.trim(), hub());
    if let Some((repository, revision)) = on_hub(address, &hub) {
        return from_hub(&hub, repository, revision).await;
    }
    let no_address = || Failure::new(format!("{address}: no address of a model")).with(Hint::CheckAddress);
    let url = Url::new(address).map_err(|_| no_address())?;
    let is_allowed = url.protocol() == "https:" || is_loopback(&url) || url.origin() == origin();
    if !is_allowed || !matches!(url.protocol().as_str(), "https:" | "http:") {
        return Err(no_address());
    }
    url.set_hash("");
    url.set_search("");
    let path = url.pathname();
    let last = path.rsplit('/').next().unwrap_or_default();
    let folder = if last.ends_with(".json") { path.trim_end_matches(last) } else { path.trim_end_matches('/') };
    url.set_pathname(&format!("{}/", folder.trim_end_matches('/')));
    from_folder(&url.href()).await
}

fn origin() -> String {
    leptos::prelude::window().location().origin().unwrap_or_default()
}

fn is_loopback(url: &Url) -> bool {
    url.protocol() == "http:" && matches!(url.hostname().as_str(), "localhost" | "127.0.0.1")
}

/// The Hub, or a stand-in on this machine that `?hub=` names.
fn hub() -> String {
    let search = leptos::prelude::window().location().search().unwrap_or_default();
    let named = UrlSearchParams::new_with_str(&search).ok().and_then(|all| all.get("hub"));
    let url = named.and_then(|named| Url::new(&named).ok()).filter(is_loopback);
    url.map_or_else(|| HUB.into(), |url| url.origin())
}

/// Repository and revision of an address of the Hub.
fn on_hub<'a>(address: &'a str, hub: &str) -> Option<(&'a str, &'a str)> {
    let path = match address.strip_prefix(hub) {
        Some(path) => path.trim_matches('/'),
        None if address.contains("://") => return None,
        None => address,
    };
    // A page of the Hub: owner/name/tree/revision.
    let (path, default) = path.split_once("/tree/").unwrap_or((path, "main"));
    let (repository, revision) = path.split_once('@').unwrap_or((path, default));
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    let (owner, name) = repository.split_once('/')?;
    (is_name(owner) && is_name(name)).then_some((repository, revision))
}

async fn from_hub(hub: &str, repository: &str, revision: &str) -> Result<ModelRecord> {
    let escaped = String::from(js_sys::encode_uri_component(revision));
    let text = fetch::text(&format!("{hub}/api/models/{repository}/revision/{escaped}?blobs=true")).await?;
    let found: Repository = parse(repository, &text)?;
    // By commit: what a branch names may change during a download.
    let base = format!("{hub}/{repository}/resolve/{}/", found.sha);
    let listed: BTreeMap<&str, &Sibling> = found.siblings.iter().map(|file| (file.rfilename.as_str(), file)).collect();
    let address = if revision == "main" { repository.to_owned() } else { format!("{repository}@{revision}") };
    if listed.contains_key(WEB_MODEL) {
        return from_list(&base, &fetch::text(&format!("{base}{WEB_MODEL}")).await?, address);
    }
    let known = |name: String| {
        let file = listed.get(name.as_str()).map(|file| ModelFile {
            url: format!("{base}{name}"),
            size_bytes: file.size,
            sha256: file.lfs.as_ref().map(|lfs| lfs.sha256.to_ascii_lowercase()),
            version: Some(file.blob_id.clone()),
        });
        async move { Ok(file) }
    };
    plain(&base, repository.to_owned(), address, known).await
}

async fn from_folder(base: &str) -> Result<ModelRecord> {
    match fetch::text(&format!("{base}{WEB_MODEL}")).await {
        Ok(text) => return from_list(base, &text, base.to_owned()),
        // There is no list; some servers forbid what is not there.
        Err(failure) if matches!(failure.hint, Some(Hint::CheckAddress | Hint::TakePublic)) => {}
        Err(failure) => return Err(failure),
    }
    let name = ModelFile { url: base.trim_end_matches('/').into(), size_bytes: 0, sha256: None, version: None }.name();
    plain(base, name, base.to_owned(), |name| measured(format!("{base}{name}"))).await
}

fn from_list(base: &str, text: &str, address: String) -> Result<ModelRecord> {
    let listed = WebModel::from_json(text).map_err(|cause| Failure::new(cause).with(Hint::NotAModel))?;
    ModelRecord::from_list(&listed.model, base, address)
}

/// The model of a plain folder; `file` says what is known of a file of it, `None` where there is none.
async fn plain<F: Future<Output = Result<Option<ModelFile>>>>(
    base: &str,
    name: String,
    address: String,
    file: impl Fn(String) -> F,
) -> Result<ModelRecord> {
    let missing = |name: &str| Failure::new(format!("{address}: no {name}")).with(Hint::NotAModel);
    let mut files = Vec::new();
    for name in FILES {
        match file(name.into()).await? {
            Some(found) => files.push(found),
            None if name == FILES[2] => {}
            None => return Err(missing(name)),
        }
    }
    // A model that cannot be computed is refused before its weights are downloaded.
    let unsupported = |cause| Failure::new(cause).with(Hint::TakeSupported);
    Config::from_json(fetch::text(&format!("{base}{}", FILES[0])).await?.as_bytes()).map_err(unsupported)?;
    match file(WEIGHTS[0].into()).await? {
        Some(weights) => files.push(weights),
        None if file(WEIGHTS[1].into()).await?.is_none() => return Err(missing(WEIGHTS[0])),
        None => {
            let index: WeightIndex = parse(WEIGHTS[1], &fetch::text(&format!("{base}{}", WEIGHTS[1])).await?)?;
            for shard in index.weight_map.into_values().collect::<BTreeSet<_>>() {
                files.push(file(shard.clone()).await?.ok_or_else(|| missing(&shard))?);
            }
        }
    }
    Ok(ModelRecord { format_version: FORMAT_VERSION, name, address, files, ..ModelRecord::default() })
}

fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|cause| Failure::new(format!("{what}: {cause}")).with(Hint::NotAModel))
}

/// Size and version of a file on a server, from the answer to a request for its first byte; `None` where there is no file.
async fn measured(url: String) -> Result<Option<ModelFile>> {
    let failed = |cause: JsValue| Failure::new(format!("{url}: {}", fetch::reason(&cause)));
    let headers = Headers::new().map_err(failed)?;
    headers.set("range", "bytes=0-0").map_err(failed)?;
    let first = ask(&url, "GET", Some(&headers)).await?;
    if let Some(body) = first.body() {
        // A server that knows no ranges would send all of it.
        let _ = JsFuture::from(body.cancel()).await;
    }
    if matches!(first.status(), 404 | 410) {
        return Ok(None);
    }
    fetch::successful(&url, &first)?;
    let header = |response: &Response, name: &str| response.headers().get(name).ok().flatten();
    let range = header(&first, "content-range").and_then(|range| range.rsplit('/').next().map(str::to_owned));
    let size = match (range, first.status()) {
        (Some(total), _) => Some(total),
        // Other sites may hide the range.
        (None, 206) => header(&ask(&url, "HEAD", None).await?, "content-length"),
        _ => header(&first, "content-length"),
    };
    let size_bytes = size.and_then(|size| size.parse().ok());
    let unknown = || Failure::new(format!("{url}: the server does not tell the size")).with(Hint::AllowOrigins);
    let version = header(&first, "etag").or_else(|| header(&first, "last-modified"));
    Ok(Some(ModelFile { size_bytes: size_bytes.ok_or_else(unknown)?, url, sha256: None, version }))
}

async fn ask(url: &str, method: &str, headers: Option<&Headers>) -> Result<Response> {
    let options = RequestInit::new();
    options.set_method(method);
    options.set_cache(RequestCache::NoStore);
    if let Some(headers) = headers {
        options.set_headers(headers);
    }
    fetch::answer(url, &options).await
}
