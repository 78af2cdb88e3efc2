//! `site.json`: what stands beside the page, on `anaume serve` or on a static site: models, results, runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, Version, parse, require_known_version};
use crate::error::Result;

/// What the page can open without the reader's own files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteIndex {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Models, the first of which the page loads.
    pub models: Vec<SiteModel>,
    /// Reports of evaluations, each with its predictions in `samples.jsonl` beside it.
    pub results: Vec<SiteFile>,
    /// `metrics.jsonl` of training runs.
    pub runs: Vec<SiteFile>,
}

/// A model that the page can load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteModel {
    /// Shown name.
    pub name: String,
    /// Its files.
    pub files: Vec<SiteFile>,
}

/// A file beside the page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteFile {
    /// Address relative to the page, percent-encoded.
    pub url: String,
    /// Size.
    pub size_bytes: u64,
    /// SHA-256 of the content in hex, for files that are checked after their download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl SiteIndex {
    /// Reads `site.json`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a newer format, [`crate::Error::Format`] for text that is no index.
    pub fn from_json(text: &str) -> Result<Self> {
        let found: Version = parse("site index", text)?;
        require_known_version("site index", found.format_version)?;
        parse("site index", text)
    }

    /// The text of the file, indented, with a final newline.
    pub fn to_json(&self) -> String {
        let index = Self { format_version: FORMAT_VERSION, ..self.clone() };
        serde_json::to_string_pretty(&index).expect("an index has string keys only, so it is always JSON") + "\n"
    }
}
