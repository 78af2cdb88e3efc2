//! `site.json`: what stands beside the page, on `anaume serve` or on a static site: models, results, runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, Version, parse, require_known_version};
use crate::error::Result;

/// What the page can open without the reader's own files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SiteModel {
    /// Shown name.
    pub name: String,
    /// Its files, those of the weights in any number.
    pub files: Vec<SiteFile>,
    /// How the weights are stored, of an exported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<ExportType>,
    /// What the model answers, of an exported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<SelfCheck>,
    /// How far it answers as the model that was exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
}

/// How the weights of an exported model are stored. All are computed with in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportType {
    /// 4 bytes a parameter.
    F32,
    /// 2 bytes.
    F16,
    /// 1 byte in embeddings and linear layers, with a scale in f16 for each 32; f32 in the rest.
    Q8,
}

/// What a model is asked when its answers are recorded.
pub const CHECKED_TEXT: &str = "日本の首都は[MASK]です。";

/// What a model answered when it was exported; who loads it compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfCheck {
    /// A text with a mask.
    pub text: String,
    /// Some token ids.
    pub token_ids: Vec<u32>,
    /// Their logits at the mask; empty of a model without a head for it, as are the ids.
    pub logits: Vec<f32>,
    /// The text's vector, the mean of its tokens.
    pub vector: Vec<f32>,
}

/// Answers of an exported model against those of the model that it was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// Masks that both filled.
    pub num_masks: usize,
    /// Those where the likeliest token is the same.
    pub num_same_top_1: usize,
}

/// Name of the list of an exported model.
pub const WEB_MODEL: &str = "web.json";

/// `web.json`: an exported model, the addresses of its files relative to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebModel {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The model.
    #[serde(flatten)]
    pub model: SiteModel,
}

impl WebModel {
    /// Reads `web.json`.
    ///
    /// # Errors
    /// As of [`SiteIndex::from_json`].
    pub fn from_json(text: &str) -> Result<Self> {
        read_versioned("web model", text)
    }

    /// The text of the file, indented, with a final newline.
    pub fn to_json(&self) -> String {
        written_versioned(&Self { format_version: FORMAT_VERSION, ..self.clone() })
    }
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

/// A hash in hexadecimal digits, as [`SiteFile::sha256`] has it.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl SiteIndex {
    /// Reads `site.json`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a newer format, [`crate::Error::Format`] for text that is no index.
    pub fn from_json(text: &str) -> Result<Self> {
        read_versioned("site index", text)
    }

    /// The text of the file, indented, with a final newline.
    pub fn to_json(&self) -> String {
        written_versioned(&Self { format_version: FORMAT_VERSION, ..self.clone() })
    }
}

fn read_versioned<T: serde::de::DeserializeOwned>(format: &'static str, text: &str) -> Result<T> {
    let found: Version = parse(format, text)?;
    require_known_version(format, found.format_version)?;
    parse(format, text)
}

fn written_versioned(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).expect("it has string keys only, so it is always JSON") + "\n"
}
