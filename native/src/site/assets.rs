//! The files of the page itself: those that were built into the program, or those of a folder.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::Embed;

use crate::exit::{Coded, Exit};
use crate::files::{read, sorted_entries};

/// What builds the page.
pub const BUILD: &str = "web/build.sh";

/// The page as `web/build.sh` left it when this program was built.
#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/../web/dist"]
#[allow_missing = true]
struct Page;

/// Name and content of a file.
pub type NamedFile = (String, Cow<'static, [u8]>);

/// The files of the page by name.
pub struct Assets(BTreeMap<String, Asset>);

/// One file.
pub struct Asset {
    /// Its content.
    pub bytes: Cow<'static, [u8]>,
    /// Its media type.
    pub media_type: &'static str,
    /// Its entity tag, with quotes.
    pub tag: String,
    gzip: OnceLock<Vec<u8>>,
}

impl Assets {
    /// What is inside this program.
    ///
    /// # Errors
    /// A program that was built before the page.
    pub fn embedded() -> anyhow::Result<Self> {
        let files = Page::iter().filter_map(|name| Some((name.to_string(), Asset::new(&name, Page::get(&name)?.data))));
        Self::complete(files.collect(), "this program was built without the page")
    }

    /// What a folder holds, folders in it aside.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for path in sorted_entries(folder)?.iter().filter(|path| path.is_file()) {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                files.insert(name.to_owned(), Asset::new(name, read(path)?.into()));
            }
        }
        Self::complete(files, &format!("{} holds no built page", folder.display()))
    }

    fn complete(files: BTreeMap<String, Asset>, otherwise: &str) -> anyhow::Result<Self> {
        if files.contains_key("index.html") {
            return Ok(Self(files));
        }
        let message = format!("{otherwise}: run {BUILD}, then give --page web/dist, or build the program again");
        Err(Coded::error(Exit::Usage, message))
    }

    /// The file of a name; the page itself for the empty one.
    pub fn get(&self, name: &str) -> Option<&Asset> {
        self.0.get(if name.is_empty() { "index.html" } else { name })
    }

    /// Puts more files beside the page, by name.
    pub fn extend(&mut self, files: Vec<NamedFile>) {
        self.0.extend(files.into_iter().map(|(name, bytes)| (name.clone(), Asset::new(&name, bytes))));
    }

    /// All names and contents.
    pub fn files(&self) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
        self.0.iter().map(|(name, asset)| (name.as_str(), Cow::Borrowed(&*asset.bytes)))
    }
}

impl Asset {
    fn new(name: &str, bytes: Cow<'static, [u8]>) -> Self {
        let tag = format!("\"{}\"", blake3::hash(&bytes).to_hex());
        Self { bytes, media_type: media_type(name), tag, gzip: OnceLock::new() }
    }

    /// Whether compressing is worth it: text and WebAssembly.
    pub fn compresses(&self) -> bool {
        !matches!(self.media_type, "image/png" | "application/octet-stream")
    }

    /// The content compressed, once for all readers.
    pub fn gzip(&self) -> &[u8] {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&self.bytes).and_then(|()| encoder.finish()).expect("memory takes every write")
        })
    }
}

/// Media types of the page's files: WebAssembly is compiled while it arrives only under its own.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}
